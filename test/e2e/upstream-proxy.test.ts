import assert from "node:assert/strict";
import { connect, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { Secret } from "../../src/secret.ts";
import { type StandIn, startStandIn } from "../support/stand-in.ts";
import { FORMS, type Form, formClient } from "./form-client.ts";
import { HOST, KEY, type OneRoute, oneRoute, recordsAgree } from "./one-route.ts";

const TIMEOUT = { timeout: 20_000 };
const PASSWORD = "pass:word+/";

interface ProxyStandIn {
  readonly port: number;
  /** Heads of the CONNECTs that came. */
  readonly heads: readonly string[];
  /** Resolves when the last connection has been closed from the other side. */
  readonly closed: Promise<void>;
}

/** A corporate proxy: joins every CONNECT with `targetPort`, or answers it with `refusal`. */
async function startProxy(t: TestContext, targetPort: number, refusal: string | null = null): Promise<ProxyStandIn> {
  const heads: string[] = [];
  const sockets = new Set<Socket>();
  let gone = (): void => {};
  const closed = new Promise<void>((resolve) => {
    gone = resolve;
  });
  const server = createServer((client) => {
    sockets.add(client);
    client.on("error", () => client.destroy()).once("close", gone);
    client.once("data", (head: Buffer) => {
      heads.push(head.toString("latin1"));
      if (refusal !== null) {
        client.resume();
        if (refusal !== "") client.write(refusal);
        return;
      }
      const target = connect({ host: "127.0.0.1", port: targetPort }, () => {
        client.write("HTTP/1.1 200 Connection established\r\nProxy-Agent: test\r\n\r\n");
        client.pipe(target).pipe(client);
      });
      sockets.add(target);
      target.on("error", () => client.destroy());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as { port: number }).port, heads, closed };
}

/** A sidekey that chains through the proxy; names are resolved by the proxy alone. */
async function chained(t: TestContext, proxy: ProxyStandIn, user: string | null, more = ""): Promise<OneRoute> {
  const password = user === null ? null : Secret.copyOf(Buffer.from(PASSWORD, "latin1"));
  return oneRoute(t, { port: 0, caPem: null }, more, {
    hosts: {},
    config: { upstream: { hosts: new Map(), proxy: { host: "127.0.0.1", port: proxy.port, user, password } } },
    resolve: async () => {
      throw new Error("a name was resolved beside the proxy");
    },
  });
}

/** Makes the stand-in trusted as the system's roots are: behind a proxy no host has an authority of its own. */
function trust(t: TestContext, standIn: StandIn): void {
  const before = getCACertificates("default");
  setDefaultCACertificates([...before, standIn.caPem]);
  t.after(() => setDefaultCACertificates(before));
}

for (const form of FORMS) {
  test(
    `${form}: goes through the upstream proxy, with its password, and TLS ends at the provider`,
    TIMEOUT,
    async (t) => {
      const standIn = await startStandIn(t, { hostnames: [HOST], handler: () => ({ body: "answer" }) });
      trust(t, standIn);
      const proxy = await startProxy(t, standIn.port);
      const sidekey = await chained(t, proxy, "me");
      const client = formClient(t, form, sidekey);
      for (let n = 0; n < 2; n++) {
        const answer = await client.ask();
        assert.equal(`${answer.status} ${answer.body}`, "200 answer");
      }
      const basic = Buffer.from(`me:${PASSWORD}`).toString("base64");
      assert.deepEqual(proxy.heads, [
        `CONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}:443\r\nProxy-Authorization: Basic ${basic}\r\n\r\n`,
      ]);
      assert.deepEqual(standIn.requests[0]?.values("authorization"), [`Bearer ${KEY}`]);
      assert.equal(standIn.requests[0]?.servername, HOST);
      await recordsAgree(sidekey, 2);
    },
  );
}

test("a proxy without a password is asked without one", TIMEOUT, async (t) => {
  const standIn = await startStandIn(t, { hostnames: [HOST], handler: () => ({ body: "answer" }) });
  trust(t, standIn);
  const proxy = await startProxy(t, standIn.port);
  const sidekey = await chained(t, proxy, null);
  assert.equal((await formClient(t, "absolute", sidekey).ask()).status, 200);
  assert.deepEqual(proxy.heads, [`CONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}:443\r\n\r\n`]);
});

for (const [what, refusal] of Object.entries({
  "refuses the tunnel": "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
  "wants a password": 'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n',
  "speaks no HTTP": "SSH-2.0-x\r\n\r\n",
  "says more than its 200": "HTTP/1.1 200 OK\r\n\r\nextra",
  "answers without an end": "HTTP/1.1 200 OK\r\n".padEnd(20_000, "x"),
})) {
  test(`a proxy that ${what} is a 502, and its connection is closed`, TIMEOUT, async (t) => {
    const proxy = await startProxy(t, 0, refusal);
    const sidekey = await chained(t, proxy, null);
    const answer = await formClient(t, "absolute", sidekey).ask();
    assert.equal(`${answer.status} ${answer.values("sidekey-error")}`, "502 upstream_connect");
    assert.doesNotMatch(String(answer.body), /realm|SSH/);
    await proxy.closed;
    await recordsAgree(sidekey, 1);
  });
}

test("a proxy that never answers is a 504, and its connection is closed", TIMEOUT, async (t) => {
  const proxy = await startProxy(t, 0, "");
  const sidekey = await chained(t, proxy, null, "timeouts: { connect: 200ms }");
  const answer = await formClient(t, "absolute", sidekey).ask();
  assert.equal(`${answer.status} ${answer.values("sidekey-error")}`, "504 upstream_timeout");
  await proxy.closed;
  await recordsAgree(sidekey, 1);
});

test("the proxy's own certificate for a provider is not accepted", TIMEOUT, async (t) => {
  const standIn = await startStandIn(t, { hostnames: [HOST] });
  const proxy = await startProxy(t, standIn.port);
  const sidekey = await chained(t, proxy, null);
  const answer = await formClient(t, "absolute", sidekey).ask();
  assert.equal(`${answer.status} ${answer.values("sidekey-error")}`, "502 upstream_tls");
  assert.equal(Buffer.concat(standIn.received()).length, 0);
});

async function direct(
  t: TestContext,
  form: Form,
  certificate: "good" | "wrong-name" | "expired" | "self-signed",
  trusted = true,
) {
  const standIn = await startStandIn(t, { hostnames: [HOST], certificate, handler: () => ({ body: "answer" }) });
  const sidekey = await oneRoute(t, { port: standIn.port, caPem: trusted ? standIn.caPem : null });
  const answer = await formClient(t, form, sidekey).ask();
  return { standIn, sidekey, answer };
}

for (const form of FORMS) {
  test(`${form}: an override of upstream.hosts is trusted by its own authority only`, TIMEOUT, async (t) => {
    const { answer } = await direct(t, form, "good");
    assert.equal(`${answer.status} ${answer.body}`, "200 answer");
    const untrusted = await direct(t, form, "good", false);
    assert.equal(`${untrusted.answer.status} ${untrusted.answer.values("sidekey-error")}`, "502 upstream_tls");
    assert.equal(Buffer.concat(untrusted.standIn.received()).length, 0);
    await recordsAgree(untrusted.sidekey, 1);
  });
}

test("a wrong name, an expired and a self-signed certificate are a 502, and no byte is sent", TIMEOUT, async (t) => {
  for (const certificate of ["wrong-name", "expired", "self-signed"] as const) {
    const { answer, standIn } = await direct(t, "absolute", certificate);
    assert.equal(`${answer.status} ${answer.values("sidekey-error")}`, "502 upstream_tls", certificate);
    assert.equal(Buffer.concat(standIn.received()).length, 0);
  }
});

test("a host that accepts and never shakes hands is a 504, and its connection is closed", TIMEOUT, async (t) => {
  const silent = await startProxy(t, 0, "");
  const sidekey = await oneRoute(t, { port: silent.port, caPem: null }, "timeouts: { connect: 200ms }");
  const answer = await formClient(t, "absolute", sidekey).ask();
  assert.equal(`${answer.status} ${answer.values("sidekey-error")}`, "504 upstream_timeout");
  await silent.closed;
});

test("a port where nobody listens is a 502", TIMEOUT, async (t) => {
  const gone = await startProxy(t, 0);
  const sidekey = await oneRoute(t, { port: 1, caPem: null });
  const answer = await formClient(t, "absolute", sidekey).ask();
  assert.equal(`${answer.status} ${answer.values("sidekey-error")}`, "502 upstream_connect");
  assert.equal(gone.heads.length, 0);
});
