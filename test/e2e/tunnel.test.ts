import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { DEFAULT_LIMITS } from "../../src/daemon/config-limits.ts";
import { connectRaw, type RawConnection } from "../support/raw-client.ts";
import { type SidekeyOptions, startSidekey } from "../support/running-sidekey.ts";
import { startStandIn } from "../support/stand-in.ts";
import { type FormTarget, formClient, proxyAuthorization } from "./form-client.ts";
import { HOST, KEY, type OneRoute, recordsAgree } from "./one-route.ts";

const TIMEOUT = { timeout: 20_000 };
const OTHER = "tunnelled.example";

const POLICY = `version: 1
unmatched: tunnel
clients: { app: { token: true } }
routes: { openai: { provider: openai, credentials: [main], clients: [app] } }
`;

async function start(t: TestContext, options: Partial<SidekeyOptions> = {}): Promise<OneRoute> {
  const sidekey = await startSidekey(t, {
    policy: POLICY,
    credentials: { main: { provider: "openai", hosts: [HOST], fields: { api_key: KEY } } },
    ...options,
  });
  return { ...sidekey, host: HOST, route: "openai" };
}

/** Sends a CONNECT and gives the connection and the answer's head. */
async function connectTo(
  t: TestContext,
  sidekey: FormTarget,
  authority: string,
  authorization: string | null = proxyAuthorization(sidekey),
): Promise<{ connection: RawConnection; answer: string }> {
  const connection = await connectRaw(t, { port: sidekey.port });
  const shown = authorization === null ? "" : `Proxy-Authorization: ${authorization}\r\n`;
  await connection.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${shown}\r\n`);
  const reply = await connection.read((bytes) => bytes.includes("\r\n\r\n"));
  connection.discard();
  return { connection, answer: reply.text };
}

test("a tunnel is one of its client's requests in flight until it closes", TIMEOUT, async (t) => {
  const standIn = await startStandIn(t, { hostnames: [OTHER] });
  const sidekey = await start(t, {
    hosts: { [OTHER]: { port: standIn.port, caPem: null } },
    config: { limits: { ...DEFAULT_LIMITS, connectionsPerClient: 1 } },
  });
  const first = await connectTo(t, sidekey, `${OTHER}:443`);
  assert.match(first.answer, /^HTTP\/1\.1 200 /);
  const second = await connectTo(t, sidekey, `${OTHER}:443`);
  assert.match(second.answer, /^HTTP\/1\.1 503 .*\r\nSidekey-Error: overloaded\r\n/s);
  first.connection.close();
  await sidekey.requestsLogged(2);
  const third = await connectTo(t, sidekey, `${OTHER}:443`);
  assert.match(third.answer, /^HTTP\/1\.1 200 /);
});

test("a tunnel joins the client with the host, byte for byte and without a key", TIMEOUT, async (t) => {
  const standIn = await startStandIn(t, { hostnames: [OTHER], handler: ({ body }) => ({ body }) });
  const sidekey = await start(t, { hosts: { [OTHER]: { port: standIn.port, caPem: null } } });
  const { connection, answer } = await connectTo(t, sidekey, `${OTHER}:443`);
  assert.match(answer, /^HTTP\/1\.1 200 /);
  const inner = await connection.startTls({ ca: standIn.caPem, servername: OTHER });
  const body = "x".repeat(1_000_000);
  await inner.write(`POST / HTTP/1.1\r\nHost: ${OTHER}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  const reply = await inner.read((bytes) => bytes.length > body.length);
  assert.match(reply.text, /^HTTP\/1\.1 200 /);
  inner.close();
  const [line] = await sidekey.requestsLogged(1);
  assert.deepEqual([line?.form, line?.status, line?.outcome, line?.host], ["tunnel", 200, "ok", OTHER]);
  assert.ok(Number(line?.bytes_up) > body.length && Number(line?.bytes_down) > body.length, JSON.stringify(line));
  assert.doesNotMatch(Buffer.concat(standIn.received()).toString("latin1"), /skc_|sk-/);
  await recordsAgree(sidekey, 1);
});

test("the host's close closes a tunnel's client", TIMEOUT, async (t) => {
  const standIn = await startStandIn(t, { hostnames: [OTHER], handler: () => ({ body: "bye", close: true }) });
  const sidekey = await start(t, { hosts: { [OTHER]: { port: standIn.port, caPem: null } } });
  const { connection } = await connectTo(t, sidekey, `${OTHER}:443`);
  const inner = await connection.startTls({ ca: standIn.caPem, servername: OTHER });
  await inner.write(`GET / HTTP/1.1\r\nHost: ${OTHER}\r\n\r\n`);
  const reply = await inner.read();
  assert.equal(reply.ended, "close");
  assert.ok(reply.text.endsWith("bye"));
  await recordsAgree(sidekey, 1);
});

test("a tunnel that names another server or carries no TLS is closed", TIMEOUT, async (t) => {
  const standIn = await startStandIn(t, { hostnames: [OTHER] });
  const sidekey = await start(t, { hosts: { [OTHER]: { port: standIn.port, caPem: null } } });
  const wrong = await connectTo(t, sidekey, `${OTHER}:443`);
  await assert.rejects(wrong.connection.startTls({ ca: standIn.caPem, servername: "wrong.example" }));
  for (const bytes of ["GET / HTTP/1.1\r\nHost: tunnelled.example\r\n\r\n", "SSH-2.0-x\r\n", "\x16\x03\x01\xff\xff"]) {
    const { connection } = await connectTo(t, sidekey, `${OTHER}:443`);
    await connection.write(bytes);
    const reply = await connection.read();
    assert.deepEqual([reply.text, reply.ended === "timeout"], ["", false]);
  }
  await recordsAgree(sidekey, 4);
  assert.deepEqual([...new Set(sidekey.requests().map(({ code }) => code))], ["tunnel_sni"]);
  assert.equal(Buffer.concat(standIn.received()).length, 0);
});

test("a tunnel whose host hangs up before the client says hello ends the tunnel, not sidekey", TIMEOUT, async (t) => {
  const hangUp = createServer();
  const accepted = once(hangUp, "connection") as Promise<[Socket]>;
  await new Promise<void>((resolve) => hangUp.listen(0, "127.0.0.1", resolve));
  t.after(() => hangUp.close());
  const port = (hangUp.address() as { port: number }).port;
  const sidekey = await start(t, { hosts: { [OTHER]: { port, caPem: null } } });
  const { connection } = await connectTo(t, sidekey, `${OTHER}:443`);
  (await accepted)[0].resetAndDestroy();
  const reply = await connection.read();
  assert.notEqual(reply.ended, "timeout");
  const [line] = await sidekey.requestsLogged(1);
  assert.equal(line?.outcome, "upstream_connect");
  await recordsAgree(sidekey, 1);
});

test("a tunnel that its client leaves before a hello is dropped", TIMEOUT, async (t) => {
  let closed = (): void => {};
  const gone = new Promise<void>((resolve) => {
    closed = resolve;
  });
  const host = createServer(
    (socket: Socket) =>
      void socket
        .on("error", () => {})
        .once("close", closed)
        .resume(),
  );
  await new Promise<void>((resolve) => host.listen(0, "127.0.0.1", resolve));
  t.after(() => host.close());
  const port = (host.address() as { port: number }).port;
  const sidekey = await start(t, { hosts: { [OTHER]: { port, caPem: null } } });
  const { connection } = await connectTo(t, sidekey, `${OTHER}:443`);
  connection.close();
  await gone;
  await recordsAgree(sidekey, 1);
});

test("a tunnel is refused: address, port, name, token", TIMEOUT, async (t) => {
  const addresses: Record<string, string> = {
    "private.example": "10.0.0.1",
    "loopback.example": "127.0.0.1",
    "metadata.example": "169.254.169.254",
    "mixed.example": "192.168.1.1",
  };
  const resolved: string[] = [];
  const sidekey = await start(t, {
    resolve: async (host) => {
      resolved.push(host);
      return [...(host === "mixed.example" ? ["93.184.216.34"] : []), addresses[host] ?? "10.0.0.1"];
    },
  });
  for (const host of Object.keys(addresses)) {
    const { answer } = await connectTo(t, sidekey, `${host}:443`);
    assert.match(answer, /^HTTP\/1\.1 403 [\s\S]*^sidekey-error: upstream_refused_address/im);
  }
  assert.deepEqual(resolved, Object.keys(addresses));
  const refused: Record<string, [authority: string, status: number, authorization?: string | null]> = {
    "another port": [`${OTHER}:8443`, 403],
    "plain HTTP": [`${OTHER}:80`, 403],
    "an address": ["10.0.0.1:443", 403],
    "another port of a policy host": [`${HOST}:8443`, 403],
    "no port": [OTHER, 400],
    "no token": [`${OTHER}:443`, 407, null],
    "a wrong token": [`${OTHER}:443`, 407, `Basic ${Buffer.from("app:skc_wrong").toString("base64")}`],
  };
  for (const [what, [authority, status, authorization]] of Object.entries(refused)) {
    const { answer } = await connectTo(t, sidekey, authority, authorization);
    assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), what);
  }
  assert.equal(resolved.length, Object.keys(addresses).length, "a refused tunnel was resolved");
  await recordsAgree(sidekey, Object.keys(addresses).length + Object.keys(refused).length);
});

test("without `unmatched: tunnel` a host that no route names is refused", TIMEOUT, async (t) => {
  const sidekey = await start(t, { policy: POLICY.replace("unmatched: tunnel", "unmatched: deny") });
  const { answer } = await connectTo(t, sidekey, `${OTHER}:443`);
  assert.match(answer, /^HTTP\/1\.1 403 [\s\S]*^sidekey-error: no_route/im);
  await recordsAgree(sidekey, 1);
});

test(
  "a policy host is intercepted, never tunnelled, and its wrong inner name closes the connection",
  TIMEOUT,
  async (t) => {
    const standIn = await startStandIn(t, { hostnames: [HOST], handler: () => ({ body: "keyed" }) });
    const sidekey = await start(t, { hosts: { [HOST]: { port: standIn.port, caPem: standIn.caPem } } });
    const answer = await formClient(t, "connect-h1", sidekey).ask();
    assert.equal(String(answer.body), "keyed");
    assert.deepEqual(standIn.requests[0]?.values("authorization"), [`Bearer ${KEY}`]);
    const { connection } = await connectTo(t, sidekey, `${HOST}:443`, null);
    await assert.rejects(connection.startTls({ ca: sidekey.caPem, servername: OTHER }));
    await recordsAgree(sidekey, 1);
  },
);
