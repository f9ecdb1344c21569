import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import type { Incoming, ParsedRequest } from "../../../src/daemon/pipeline/exchange.ts";
import { sendRaw } from "../../support/raw-client.ts";
import { startIngress } from "./running-ingress.ts";

/** What the pipeline is given for these bytes: the reading, or the refusal. */
async function read(
  t: TestContext,
  bytes: string,
): Promise<{ incoming: Incoming; parsed: ParsedRequest | ProxyError }> {
  const results: { incoming: Incoming; parsed: ParsedRequest | ProxyError }[] = [];
  const run = await startIngress(t, (incoming, parse) => {
    try {
      results.push({ incoming, parsed: parse() });
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error;
      results.push({ incoming, parsed: error });
    }
    incoming.downstream.sendHead(204, "", [], false);
    incoming.downstream.end([]);
  });
  await sendRaw(t, { port: run.port, bytes, timeoutMs: 2_000 });
  const [first] = results;
  assert.ok(first && results.length === 1, `${results.length} exchanges`);
  return first;
}

async function parsed(t: TestContext, bytes: string): Promise<ParsedRequest> {
  const result = await read(t, bytes);
  assert.ok(!(result.parsed instanceof ProxyError), String(result.parsed));
  return result.parsed;
}

async function refusal(t: TestContext, bytes: string): Promise<string> {
  const result = await read(t, bytes);
  assert.ok(result.parsed instanceof ProxyError, "accepted");
  return `${result.parsed.code} ${result.parsed.reason}`;
}

const HOST = "Host: api.p.test\r\n";
const SOCKET =
  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

test("absolute-form and origin-form become one kind of request, with the fields as they were sent", async (t) => {
  const absolute = await read(t, `GET http://api.p.test/x?y=1 HTTP/1.1\r\n${HOST}X-a: 1\r\nx-A: 2\r\n\r\n`);
  assert.equal(absolute.incoming.form, "absolute");
  assert.equal(absolute.incoming.method, "GET");
  assert.equal(absolute.incoming.remoteAddress, "127.0.0.1");
  assert.equal(absolute.incoming.connectAuthorization, null);
  assert.deepEqual(absolute.incoming.fields, ["Host", "api.p.test", "X-a", "1", "x-A", "2"]);
  const origin = await read(t, "GET /p/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
  assert.equal(origin.incoming.form, "origin");
  assert.deepEqual((origin.parsed as ParsedRequest).target, {
    form: "origin",
    host: "api.p.test",
    port: 443,
    path: "/x",
    query: "",
  });
});

test("a body is there when the framing says so, with its length when that is known", async (t) => {
  const start = `POST http://api.p.test/ HTTP/1.1\r\n${HOST}`;
  const counted = await parsed(t, `${start}Content-Length: 2\r\n\r\nok`);
  assert.deepEqual([counted.body === null, counted.bodyLength], [false, 2]);
  const chunked = await parsed(t, `${start}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`);
  assert.deepEqual([chunked.body === null, chunked.bodyLength], [false, null]);
  const empty = await parsed(t, `${start}Content-Length: 0\r\n\r\n`);
  assert.deepEqual([empty.body, empty.bodyLength], [null, 0]);
  const none = await parsed(t, `${start}\r\n`);
  assert.deepEqual([none.body, none.bodyLength], [null, null]);
});

test("Expect reaches the pipeline instead of being answered by Node", async (t) => {
  const start = `POST http://api.p.test/ HTTP/1.1\r\n${HOST}Content-Length: 0\r\n`;
  assert.equal((await parsed(t, `${start}Expect: 100-continue\r\n\r\n`)).expectContinue, true);
  assert.equal((await parsed(t, `${start}\r\n`)).expectContinue, false);
  assert.equal(await refusal(t, `${start}Expect: 200-maybe\r\n\r\n`), "expectation_failed null");
});

test("what Node's parser lets through is refused here: two Hosts, none, `*`, one field too many", async (t) => {
  assert.equal(
    await refusal(t, `GET http://api.p.test/ HTTP/1.1\r\n${HOST}${HOST}\r\n`),
    "bad_request duplicate_field",
  );
  assert.equal(await refusal(t, "GET http://api.p.test/ HTTP/1.1\r\n\r\n"), "bad_request host");
  assert.equal(await refusal(t, `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`), "bad_request target");
  const many = "X: y\r\n".repeat(100);
  assert.equal(await refusal(t, `GET http://api.p.test/ HTTP/1.1\r\n${HOST}${many}\r\n`), "headers_too_large null");
});

test("a WebSocket handshake gives its key and the bytes behind it, not yet sent anywhere", async (t) => {
  const { incoming, parsed } = await read(t, `GET http://api.p.test/ws HTTP/1.1\r\n${HOST}${SOCKET}\r\nearly`);
  assert.equal((parsed as ParsedRequest).websocketKey, "dGhlIHNhbXBsZSBub25jZQ==");
  assert.equal(incoming.upgradeHead?.toString(), "early");
  const plain = await read(t, `GET http://api.p.test/ HTTP/1.1\r\n${HOST}\r\n`);
  assert.deepEqual([(plain.parsed as ParsedRequest).websocketKey, plain.incoming.upgradeHead], [null, null]);
});

test("an upgrade that is not exactly a WebSocket handshake is refused, or is no upgrade", async (t) => {
  const get = `GET http://api.p.test/ HTTP/1.1\r\n${HOST}`;
  const handshakes = [
    `${get}${SOCKET.replace("13", "8")}\r\n`,
    `${get}${SOCKET.replace("13", "1337")}\r\n`,
    `${get}${SOCKET.replace("dGhl", "")}\r\n`,
    `${get}${SOCKET.replace(/Sec-WebSocket-Key.*\r\n/, "")}\r\n`,
    `${get}${SOCKET.replace(/Sec-WebSocket-Version.*\r\n/, "")}\r\n`,
    `${get}${SOCKET}Content-Length: 2\r\n\r\nok`,
    `${get}${SOCKET}Content-Length: 0\r\n\r\n`,
    `${get}${SOCKET}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `POST http://api.p.test/ HTTP/1.1\r\n${HOST}${SOCKET}\r\n`,
  ];
  for (const bytes of handshakes) assert.equal(await refusal(t, bytes), "bad_request websocket_handshake", bytes);
  const twice = `${get}${SOCKET}Upgrade: websocket\r\n\r\n`;
  assert.equal(await refusal(t, twice), "bad_request duplicate_field");
  for (const other of ["h2c", "TLS/1.0", "foo"]) {
    const ignored = await parsed(t, `${get}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: ${other}\r\n\r\n`);
    assert.equal(ignored.websocketKey, null);
  }
});

test("a repeated WebSocket key or version is refused: two servers could take different ones", async (t) => {
  const start = `GET http://api.p.test/ HTTP/1.1\r\n${HOST}${SOCKET}`;
  for (const again of ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 8"]) {
    assert.equal(await refusal(t, `${start}${again}\r\n\r\n`), "bad_request websocket_handshake", again);
  }
});
