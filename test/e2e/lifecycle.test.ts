import assert from "node:assert/strict";
import { once } from "node:events";
import { Readable } from "node:stream";
import { type TestContext, test } from "node:test";
import { connectRaw, type RawConnection, sendRaw } from "../support/raw-client.ts";
import { startSidekey } from "../support/running-sidekey.ts";
import { startStandIn } from "../support/stand-in.ts";
import {
  type Answer,
  type Ask,
  FORMS,
  type Form,
  type FormClient,
  formClient,
  proxyAuthorization,
} from "./form-client.ts";
import { END_STREAM, FRAME, type Frame, frame, headersFrame, openingFrames, readFrame } from "./h2-frames.ts";
import { HOST, type OneRoute, oneRoute, recordsAgree } from "./one-route.ts";
import { type ProviderCall, type RawProvider, startRawProvider } from "./raw-provider.ts";

const TIMEOUT = { timeout: 20_000 };
/** From the client's close to the provider's; far above what it takes, far below any timeout of ours. */
const AT_ONCE_MS = 1_000;
const MEGABYTE = 1024 * 1024;
const CHUNK = Buffer.alloc(64 * 1024, " ");

interface Setup {
  readonly provider: RawProvider;
  readonly sidekey: OneRoute;
  readonly client: FormClient;
}

async function start(t: TestContext, form: Form, serve?: (call: ProviderCall) => void): Promise<Setup> {
  const provider = await startRawProvider(t, HOST, serve);
  const sidekey = await oneRoute(t, provider);
  return { provider, sidekey, client: formClient(t, form, sidekey) };
}

async function closedAtOnce(call: ProviderCall): Promise<void> {
  call.socket.resume();
  const since = performance.now();
  await call.closed;
  assert.ok(performance.now() - since < AT_ONCE_MS, "the provider's connection was closed late");
}

/** Sends `size` bytes as the other side takes them, and stops when it answers or hangs up. */
async function upload(client: FormClient, ask: Ask, size: number): Promise<Answer> {
  const exchange = await client.open({ method: "POST", ...ask, body: "later" });
  const chunks = Array.from({ length: size / CHUNK.length }, () => CHUNK);
  Readable.from(chunks)
    .on("error", () => {})
    .pipe(exchange.request);
  return exchange.whole();
}

async function endedAs(sidekey: OneRoute, outcome: string): Promise<void> {
  const [line] = await sidekey.requestsLogged(1);
  assert.equal(line?.outcome, outcome, JSON.stringify(line));
  await recordsAgree(sidekey, 1);
}

for (const form of FORMS) {
  test(
    `${form}: a client that leaves before the answer takes the provider's connection with it`,
    TIMEOUT,
    async (t) => {
      const { provider, sidekey, client } = await start(t, form);
      const exchange = await client.open({});
      exchange.request.end();
      const call = await provider.call(1);
      exchange.abort();
      await closedAtOnce(call);
      await endedAs(sidekey, "client_closed");
    },
  );

  test(`${form}: a client that leaves in the middle of a download ends it`, TIMEOUT, async (t) => {
    const { provider, sidekey, client } = await start(t, form);
    const exchange = await client.open({});
    exchange.request.end();
    const call = await provider.call(1);
    call.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\npart");
    const answer = await exchange.answer;
    await once(answer.body, "data");
    exchange.abort();
    await closedAtOnce(call);
    await endedAs(sidekey, "client_closed");
  });

  test(`${form}: a client that leaves in the middle of an upload ends it`, TIMEOUT, async (t) => {
    const { provider, sidekey, client } = await start(t, form);
    const exchange = await client.open({ method: "POST", headers: { "content-length": "1000000" } });
    exchange.request.write("part");
    const call = await provider.call(1);
    exchange.abort();
    await closedAtOnce(call);
    await endedAs(sidekey, "client_closed");
  });

  for (const [what, cut] of Object.entries<(call: ProviderCall) => void>({
    "shorter than its length": ({ socket }) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"),
    "without its last chunk": ({ socket }) =>
      socket.end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"),
    "with a broken chunk": ({ socket }) =>
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nxyz\r\n"),
    "reset in its body": ({ socket }) =>
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", () => socket.destroy()),
  })) {
    test(`${form}: an answer ${what} is never complete`, TIMEOUT, async (t) => {
      const { sidekey, client } = await start(t, form, cut);
      const answer = await client.ask().catch(() => null);
      assert.notEqual(answer?.complete, true);
      if (answer) assert.equal(answer.status, 200);
      await endedAs(sidekey, "truncated");
    });
  }

  test(`${form}: an answer that comes before the upload has ended reaches the client`, TIMEOUT, async (t) => {
    const refusal = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\ntoo large";
    const { sidekey, client } = await start(t, form, ({ socket }) => socket.write(refusal));
    for (let n = 0; n < 2; n++) {
      const answer = await upload(client, {}, 20 * MEGABYTE);
      assert.equal(`${answer.status} ${answer.body} ${answer.complete}`, "413 too large true");
    }
    await recordsAgree(sidekey, 2);
  });

  test(`${form}: sidekey's own refusal of a large upload reaches the client`, TIMEOUT, async (t) => {
    const { provider, sidekey, client } = await start(t, form);
    for (let n = 0; n < 2; n++) {
      const answer = await upload(client, { path: "/a/../b" }, 20 * MEGABYTE);
      assert.equal(`${answer.status} ${answer.complete}`, "400 true");
    }
    assert.equal(provider.connections(), 0);
    await recordsAgree(sidekey, 2);
  });

  test(`${form}: a body too large to carry the key is refused, with an answer`, TIMEOUT, async (t) => {
    const host = "api.taapi.io";
    const standIn = await startStandIn(t, { hostnames: [host] });
    const sidekey = await startSidekey(t, {
      policy:
        "version: 1\nclients: { app: { token: true } }\n" +
        "routes: { taapi: { provider: taapi, credentials: [main], clients: [app] } }\n",
      credentials: { main: { provider: "taapi", hosts: [host], fields: { secret: "eyJ0" } } },
      hosts: { [host]: { port: standIn.port, caPem: standIn.caPem } },
    });
    const client = formClient(t, form, { ...sidekey, host, route: "taapi" });
    for (const framing of form === "connect-h2"
      ? [{}]
      : [{ "content-length": String(3 * MEGABYTE) }, { "transfer-encoding": "chunked" }]) {
      const answer = await upload(client, { path: "/bulk", headers: framing }, 3 * MEGABYTE);
      assert.equal(`${answer.status} ${answer.values("sidekey-error")}`, "413 body_too_large");
    }
    assert.equal(standIn.connections(), 0);
  });
}

/** A connection inside a CONNECT, with an HTTP/2 request of the test's own frames on it. */
async function h2Connection(t: TestContext, sidekey: OneRoute, method: string, flags: number): Promise<RawConnection> {
  const outer = await connectRaw(t, { port: sidekey.port });
  await outer.write(`CONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}:443\r\n\r\n`);
  await outer.read((bytes) => bytes.includes("\r\n\r\n"));
  outer.discard();
  const connection = await outer.startTls({ ca: sidekey.caPem, servername: HOST, alpn: ["h2"] });
  const pseudo = { ":method": method, ":scheme": "https", ":authority": HOST, ":path": "/v1/data" };
  const fields = { ...pseudo, "proxy-authorization": proxyAuthorization(sidekey) };
  await connection.write([openingFrames(), headersFrame(1, fields, flags)]);
  return connection;
}

test("a stream that its client resets without an error is no complete upload", TIMEOUT, async (t) => {
  const { provider, sidekey } = await start(t, "connect-h2");
  const connection = await h2Connection(t, sidekey, "POST", 0);
  await connection.write(frame(FRAME.data, 0, 1, Buffer.from("part")));
  const call = await provider.call(1);
  const chunks: Buffer[] = [call.rest];
  call.socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await connection.write(frame(FRAME.reset, 0, 1, Buffer.alloc(4)));
  await closedAtOnce(call);
  assert.doesNotMatch(Buffer.concat(chunks).toString("latin1"), /0\r\n\r\n$/);
  await endedAs(sidekey, "client_closed");
});

test("a complete answer ends its stream with a flag, a cut one with a reset", TIMEOUT, async (t) => {
  const { provider, sidekey } = await start(t, "connect-h2");
  const ends = ({ type, flags }: Frame): boolean =>
    type === FRAME.reset || (type === FRAME.data && (flags & END_STREAM) !== 0);
  for (const [n, length] of [5, 10].entries()) {
    const connection = await h2Connection(t, sidekey, "GET", END_STREAM);
    const { socket } = await provider.call(n + 1);
    socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\nConnection: close\r\n\r\n12345`);
    const last = await readFrame(connection, ends);
    assert.equal(last.type, length === 5 ? FRAME.data : FRAME.reset);
  }
});

test("an answer to HTTP/1.0 that breaks off ends with a reset", TIMEOUT, async (t) => {
  const provider = await startRawProvider(t, HOST, ({ socket }) =>
    socket.end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"),
  );
  const sidekey = await oneRoute(t, provider);
  const authorization = `Proxy-Authorization: ${proxyAuthorization(sidekey)}`;
  const bytes = `GET http://${HOST}/v1/data HTTP/1.0\r\n${authorization}\r\n\r\n`;
  const reply = await sendRaw(t, { port: sidekey.port, bytes });
  assert.equal(reply.ended, "error");
  assert.equal((reply.error as NodeJS.ErrnoException).code, "ECONNRESET");
});

test("a body that ends with the connection is not complete when the connection is reset", TIMEOUT, async (t) => {
  const { sidekey, client } = await start(t, "absolute", ({ socket }) => {
    socket.write("HTTP/1.1 200 OK\r\n\r\nsome bytes", () => {
      const { _parent: raw } = socket as unknown as { _parent?: { resetAndDestroy(): void } };
      if (raw) raw.resetAndDestroy();
      else socket.destroy();
    });
  });
  const answer = await client.ask().catch(() => null);
  assert.notEqual(answer?.complete, true);
  await endedAs(sidekey, "truncated");
});

test("many requests on one connection, some cut, leave one record each", TIMEOUT, async (t) => {
  const standIn = await startStandIn(t, {
    hostnames: [HOST],
    handler: ({ target }, socket) => {
      if (target !== "/cut") return { body: "ok" };
      socket.destroy();
      return undefined;
    },
  });
  const sidekey = await oneRoute(t, standIn);
  const asked = FORMS.flatMap((form) => {
    const client = formClient(t, form, sidekey);
    return Array.from({ length: 20 }, (_, n) => client.ask({ path: n % 4 === 0 ? "/cut" : "/ok" }));
  });
  const statuses = (await Promise.all(asked)).map(({ status }) => status);
  assert.deepEqual(
    statuses.map((status) => (status === 200 ? "ok" : status)),
    statuses.map((_, n) => (n % 4 === 0 ? 502 : "ok")),
  );
  await recordsAgree(sidekey, asked.length);
});

test("a connection that sends half a head and leaves is no exchange", TIMEOUT, async (t) => {
  const { sidekey } = await start(t, "absolute");
  const connection = await connectRaw(t, { port: sidekey.port });
  await connection.write("GET http://api.openai");
  connection.close();
  await recordsAgree(sidekey, 0);
});
