import assert from "node:assert/strict";
import type { OutgoingHttpHeaders } from "node:http2";
import { type TestContext, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import type { Incoming, ParsedRequest } from "../../../src/daemon/pipeline/exchange.ts";
import { FRAME, frame, openingFrames } from "../../e2e/h2-frames.ts";
import { ask, startIngress, startSession } from "./running-ingress.ts";

type Reading = { incoming: Incoming; parsed: ParsedRequest | null; refusal: string | null };

/** An HTTP/2 session whose requests are answered 200 and kept as they were read. */
async function startReading(t: TestContext) {
  const readings: Reading[] = [];
  const run = await startIngress(t, (incoming, parse) => {
    try {
      const parsed = parse();
      parsed.body?.resume();
      readings.push({ incoming, parsed, refusal: null });
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error;
      readings.push({ incoming, parsed: null, refusal: `${error.code} ${error.reason}` });
    }
    incoming.downstream.sendHead(200, "", [], true);
    incoming.downstream.end([]);
  });
  const session = await startSession(t, run);
  const read = async (headers: OutgoingHttpHeaders, body?: Uint8Array): Promise<Reading> => {
    const before = readings.length;
    await ask(session, headers, body);
    const last = readings.at(-1);
    assert.ok(last);
    // What is no HTTP/2 at all is refused by the library and never becomes a request.
    return readings.length > before ? last : { ...last, parsed: null, refusal: "protocol" };
  };
  return { run, session, read, readings };
}

test("a stream becomes the same kind of request as one of HTTP/1.1 inside a CONNECT", async (t) => {
  const { read } = await startReading(t);
  const { incoming, parsed } = await read({ ":path": "/v1/x?y=%20", "X-A": "1", accept: "a, b" });
  assert.deepEqual([incoming.form, incoming.method, incoming.remoteAddress], ["connect", "GET", "127.0.0.1"]);
  assert.deepEqual(incoming.fields, ["x-a", "1", "accept", "a, b"]);
  assert.deepEqual(parsed, {
    target: { form: "connect", host: "api.p.test", port: 443, path: "/v1/x", query: "y=%20" },
    body: null,
    bodyLength: null,
    expectContinue: false,
    websocketKey: null,
  });
});

test("G1 right-origin: :authority must be the CONNECT's on every stream, and a Host beside it must say the same", async (t) => {
  const { read } = await startReading(t);
  const authorities: Record<string, string | null> = {
    "api.p.test": null,
    "API.P.test:443": null,
    "api.p.test.": null,
    "evil.test": "authority_mismatch null",
    "data.p.test": "authority_mismatch null",
    "api.p.test:8443": "authority_mismatch null",
    "user@api.p.test": "protocol",
    "": "protocol",
  };
  for (const [authority, refusal] of Object.entries(authorities)) {
    assert.equal((await read({ ":path": "/", ":authority": authority })).refusal, refusal, authority);
  }
  assert.equal((await read({ ":path": "/", ":authority": "api.p.test", host: "API.p.test" })).refusal, null);
  assert.equal(
    (await read({ ":path": "/", ":authority": "api.p.test", host: "evil.test" })).refusal,
    "bad_request pseudo_fields",
  );
  assert.equal((await read({ ":path": "/", host: "api.p.test" })).refusal, "bad_request pseudo_fields");
});

test("other schemes, paths that are no path, and CONNECT are refused", async (t) => {
  const { read } = await startReading(t);
  assert.equal((await read({ ":path": "/", ":scheme": "http" })).refusal, "bad_request pseudo_fields");
  for (const path of ["*", "http://evil.test/", "evil"]) {
    assert.match((await read({ ":path": path })).refusal ?? "", /^(bad_request target|protocol)$/, path);
  }
  assert.equal((await read({ ":path": "//evil.test/" })).parsed?.target.path, "//evil.test/");
  assert.equal((await read({ ":path": "/a b" })).refusal, "protocol");
  assert.equal((await read({ ":path": "/a#b" })).refusal, "bad_request url_fragment");
});

test("cookie crumbs are one cookie field again", async (t) => {
  const { read } = await startReading(t);
  const { incoming } = await read({ ":path": "/", cookie: ["a=1", "b=2", "c=3"] });
  assert.deepEqual(incoming.fields, ["cookie", "a=1; b=2; c=3"]);
});

test("a body is there unless the head ended the stream, with its length when it was announced", async (t) => {
  const { read } = await startReading(t);
  const counted = await read({ ":path": "/", ":method": "POST", "content-length": "2" }, Buffer.from("ok"));
  assert.deepEqual([counted.parsed?.body === null, counted.parsed?.bodyLength], [false, 2]);
  const open = await read({ ":path": "/", ":method": "POST" }, Buffer.from("ok"));
  assert.deepEqual([open.parsed?.body === null, open.parsed?.bodyLength], [false, null]);
  const none = await read({ ":path": "/", ":method": "POST" });
  assert.deepEqual([none.parsed?.body, none.parsed?.bodyLength], [null, null]);
});

test("too many fields are refused", async (t) => {
  const { read } = await startReading(t);
  const some = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`x-${index}`, "y"]));
  assert.equal((await read({ ":path": "/", ...some })).refusal, "headers_too_large null");
});

test("a body whose request was refused may be reset by its client without ending the process", async (t) => {
  const run = await startIngress(t, async (incoming, parse) => {
    parse();
    await pause(20);
    incoming.downstream.sendHead(407, "", [], false);
    incoming.downstream.end([]);
  });
  const session = await startSession(t, run);
  for (const early of [true, false]) {
    const stream = session.request({ ":path": "/", ":method": "POST" }, { endStream: false });
    stream.on("error", () => {});
    stream.write("half a body");
    await pause(early ? 5 : 60);
    stream.close(8);
    await pause(40);
  }
  assert.equal((await ask(session, { ":path": "/" })).status, 407);
});

/** POST, https, /, and :authority as a literal (RFC 7541 appendix A). */
const HEADERS = frame(
  FRAME.headers,
  4,
  1,
  Buffer.concat([Buffer.from([0x83, 0x87, 0x84, 0x41, 10]), Buffer.from("api.p.test")]),
);
const DATA = frame(FRAME.data, 0, 1, Buffer.from("half"));
const RESET = frame(FRAME.reset, 0, 1, Buffer.from([0, 0, 0, 8]));

test("a body that its client breaks off ends in an error, so no half body passes for a whole one", async (t) => {
  for (const ending of ["reset", "connection"]) {
    const bodies: NonNullable<ParsedRequest["body"]>[] = [];
    const run = await startIngress(t, (_incoming, parse) => {
      const { body } = parse();
      assert.ok(body);
      bodies.push(body);
    });
    const tunnel = await run.connect(t);
    const connection = await tunnel.startTls({ ca: run.caPem, servername: "api.p.test", alpn: ["h2"] });
    await connection.write(Buffer.concat([openingFrames(), HEADERS, DATA]));
    while (bodies.length === 0) await pause(5);
    const [body] = bodies;
    const events: string[] = [];
    const closed = new Promise((resolve) => body?.on("close", resolve));
    body?.on("data", (chunk: Buffer) => events.push(chunk.toString()));
    body?.on("end", () => events.push("end"));
    body?.on("error", (error) => events.push((error as ProxyError).code));
    await pause(10);
    if (ending === "reset") await connection.write(RESET);
    else connection.close();
    await closed;
    assert.deepEqual(events, ["half", "client_closed"], ending);
  }
});
