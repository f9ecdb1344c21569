import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { WAITS } from "../../../src/daemon/ingress/waits.ts";
import { connectRaw, type RawConnection } from "../../support/raw-client.ts";
import { type RunningIngress, startIngress } from "./running-ingress.ts";

const TIMEOUT = { timeout: 20_000 };
const SHORT = { headMs: 200, handshakeMs: 200, slowMs: 200 };

/** Sends `text` a byte at a time until the other side hangs up; returns what it said. */
async function trickle(connection: RawConnection, text: string): Promise<string> {
  let open = true;
  const reply = connection.read(undefined, 15_000).then((whole) => {
    open = false;
    return whole;
  });
  for (let n = 0; open; n++) await connection.write([text[n % text.length] ?? "", ""], 20);
  return (await reply).text;
}

const ENDLESS_HEAD = `GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ${"a".repeat(10_000)}`;

test("the time that a client has is what the documentation says", () => {
  assert.deepEqual(WAITS, { headMs: 10_000, handshakeMs: 5_000, slowMs: 30_000 });
});

test("a request head that takes too long is answered with 408 and closed", TIMEOUT, async (t) => {
  const run = await startIngress(t, undefined, { waits: SHORT });
  const said = await trickle(await connectRaw(t, { port: run.port }), ENDLESS_HEAD);
  assert.match(said, /^HTTP\/1\.1 408 Request Timeout\r\n.*\r\nSidekey-Error: bad_request\r\n/s);
  assert.deepEqual([run.seen.length, run.refusals], [0, ["malformed"]]);
});

test("so is the head of a later request, inside a CONNECT as well", TIMEOUT, async (t) => {
  const run = await startIngress(t, undefined, { waits: SHORT });
  const tunnel = await run.connect(t);
  const secure = await tunnel.startTls({ ca: run.caPem, servername: "api.p.test" });
  await secure.write("GET /first HTTP/1.1\r\nHost: api.p.test\r\n\r\n");
  await secure.read((bytes) => bytes.includes("/first"));
  secure.discard();
  assert.match(await trickle(secure, ENDLESS_HEAD), /^HTTP\/1\.1 408 /);
  assert.equal(run.seen.length, 1);
});

test("a connection that says nothing at all is closed", TIMEOUT, async (t) => {
  const run = await startIngress(t, undefined, { waits: SHORT });
  const connection = await connectRaw(t, { port: run.port });
  assert.equal((await connection.read(undefined, 15_000)).ended, "close");
});

test("a client that closes its half before it has asked anything leaves nothing open", TIMEOUT, async (t) => {
  const run = await startIngress(t);
  for (const start of ["", "GET / HT", "CONNECT api.p.test:443 HTTP/1.1\r\nHost: api.p.test:443\r\n\r\n"]) {
    const connection = await connectRaw(t, { port: run.port });
    if (start !== "") await connection.write(start);
    connection.socket.end();
    assert.equal((await connection.read()).ended, "close", start);
  }
  await closed(run);
});

async function closed(run: RunningIngress): Promise<void> {
  while (run.ingress.connections > 0) await new Promise((resolve) => setImmediate(resolve));
}

test("a CONNECT whose TLS does not come is closed", TIMEOUT, async (t) => {
  const run = await startIngress(t, undefined, { waits: SHORT });
  for (const start of ["", "\x16\x03\x01\x02\x00\x01"]) {
    const tunnel = await run.connect(t);
    await tunnel.write(start);
    assert.equal((await tunnel.read(undefined, 15_000)).ended, "close");
  }
  assert.deepEqual(run.refusals, ["tls_handshake", "tls_handshake"]);
  await closed(run);
});

test("a tunnel whose first bytes do not come is refused", TIMEOUT, async (t) => {
  const outcome = Promise.withResolvers<unknown>();
  const run = await startIngress(t, undefined, {
    waits: SHORT,
    runTunnel: async ({ accept, firstBytes }) => {
      const socket = accept();
      await firstBytes(socket, "unrouted.test").then(outcome.resolve, outcome.reject);
    },
  });
  await run.connect(t, "unrouted.test:443");
  await assert.rejects(outcome.promise, { code: "authority_mismatch", reason: "tunnel_sni" });
});

test("a tunnel counts as open until it closes, and its client has to read", TIMEOUT, async (t) => {
  const run = await startIngress(t, undefined, {
    waits: SHORT,
    runTunnel: async ({ accept }) => {
      const socket = accept();
      // What fits into the kernel's buffers does not wait for the client.
      while (socket.write(Buffer.alloc(64 * 1024)) || socket.writableLength < 100_000) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  });
  const tunnel = await slowConnect(t, run);
  while (run.ingress.unfinished === 0) await new Promise((resolve) => setImmediate(resolve));
  await closed(run);
  assert.deepEqual([run.refusals, run.ingress.unfinished], [["slow_reader"], 0]);
  tunnel.close();
});

/** A CONNECT whose client does not read what comes behind its answer. */
async function slowConnect(t: TestContext, run: RunningIngress): Promise<RawConnection> {
  const connection = await connectRaw(t, { port: run.port });
  connection.socket.pause();
  await connection.write("CONNECT unrouted.test:443 HTTP/1.1\r\nHost: unrouted.test:443\r\n\r\n");
  return connection;
}
