import assert from "node:assert/strict";
import { test } from "node:test";
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { assertCharged, chatAsk, eventAnswer, jsonAnswer, type Lie, lyingScene } from "./lying-scene.ts";

const TIMEOUT = { timeout: 60_000 };

const BODY = JSON.stringify({
  model: "gpt-t",
  choices: [],
  usage: { prompt_tokens: 30, completion_tokens: 50, total_tokens: 80 },
});
const ZIPPED = gzipSync(BODY);
const ZEROS = Buffer.alloc(50_000_000);
const LAYERS = 20;

function layered(): Buffer {
  let bytes: Buffer = Buffer.from(BODY);
  for (let n = 0; n < LAYERS; n++) bytes = gzipSync(bytes);
  return bytes;
}

function coded(bytes: Buffer, ...codings: readonly string[]): Lie {
  return jsonAnswer(bytes, codings.map((coding) => `Content-Encoding: ${coding}\r\n`).join(""));
}

/** Chunked, so that it passes as it comes and not as a whole. */
function streamed(bytes: Buffer, coding: string): Lie {
  return (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: ${coding}\r\n`);
    socket.write("Transfer-Encoding: chunked\r\n\r\n");
    for (let at = 0; at < bytes.length; at += 16_384) {
      const chunk = bytes.subarray(at, at + 16_384);
      socket.write(Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from("\r\n")]));
    }
    socket.end("0\r\n\r\n");
  };
}

/** What the client of a route that scrubs gets: the body, sidekey's error, or a cut answer for the reason. */
const CODED: Readonly<Record<string, readonly [Lie, "passes" | "fails" | "cut", string?]>> = {
  gzip: [coded(ZIPPED, "gzip"), "passes"],
  "gzip in chunks": [streamed(ZIPPED, "gzip"), "passes"],
  "identity, gzip": [coded(ZIPPED, "identity, gzip"), "passes"],
  "nothing but commas": [coded(Buffer.from(BODY), ",,,"), "passes"],
  "two members": [coded(Buffer.concat([gzipSync(BODY.slice(0, 10)), gzipSync(BODY.slice(10))]), "gzip"), "passes"],
  "padding behind gzip": [coded(Buffer.concat([ZIPPED, Buffer.alloc(100)]), "gzip"), "passes"],
  "gzip that is not gzip": [coded(Buffer.from(BODY), "gzip"), "fails", "coding_broken"],
  "chunks that are not gzip": [streamed(Buffer.from(BODY), "gzip"), "cut", "coding_broken"],
  "another coding than named": [coded(ZIPPED, "br"), "fails", "coding_broken"],
  "gzip that is cut": [coded(ZIPPED.subarray(0, -10), "gzip"), "fails", "coding_broken"],
  "chunks of gzip that is cut": [streamed(ZIPPED.subarray(0, -10), "gzip"), "cut", "coding_broken"],
  "a wrong check sum": [
    coded(Buffer.concat([ZIPPED.subarray(0, -8), Buffer.alloc(8)]), "gzip"),
    "fails",
    "coding_broken",
  ],
  "garbage behind gzip": [coded(Buffer.concat([ZIPPED, Buffer.from("garbage")]), "gzip"), "fails", "coding_broken"],
  "a small bomb of gzip": [coded(gzipSync(ZEROS), "gzip"), "fails", "coding_ratio"],
  "a large bomb of gzip": [coded(gzipSync(Buffer.alloc(200_000_000)), "gzip"), "cut", "coding_ratio"],
  "a bomb of gzip in chunks": [streamed(gzipSync(Buffer.alloc(200_000_000)), "gzip"), "cut", "coding_ratio"],
  "a bomb of br": [coded(brotliCompressSync(ZEROS), "br"), "fails", "coding_ratio"],
  "a bomb of zstd": [coded(zstdCompressSync(ZEROS), "zstd"), "fails", "coding_ratio"],
  "a bomb of deflate": [coded(deflateSync(ZEROS), "deflate"), "fails", "coding_ratio"],
  "20 layers": [coded(layered(), new Array(LAYERS).fill("gzip").join(", ")), "fails", "coding_unknown"],
  "20 layers in 20 fields": [coded(layered(), ...new Array(LAYERS).fill("gzip")), "fails", "coding_unknown"],
  "an unknown coding": [coded(ZIPPED, "x-unknown"), "fails", "coding_unknown"],
  "a coding of 5 KB": [coded(ZIPPED, "g".repeat(5_000)), "fails", "coding_unknown"],
};

test(
  "where answers are searched, what cannot be unpacked fails or is cut, and costs no more than it may",
  TIMEOUT,
  async (t) => {
    const scene = await lyingScene(t);
    for (const [what, [lie, then, reason]] of Object.entries(CODED)) {
      const told = await scene.lie(lie);
      const { answer, line } = told;
      assertCharged(told);
      if (then === "passes") {
        assert.deepEqual([answer.status, String(answer.body), answer.complete], [200, BODY, true], what);
        assert.deepEqual([line.outcome, line.usage, told.charged], ["ok", "exact", 80], what);
      } else if (then === "fails") {
        assert.equal(told.text, "502 upstream_protocol whole", what);
        assert.equal(JSON.parse(String(answer.body)).reason, reason, what);
        assert.equal(line.outcome, "upstream_protocol", what);
      } else {
        assert.deepEqual([answer.status, answer.complete, line.outcome], [200, false, "truncated"], what);
        assert.equal(line.code, reason, what);
        // A hundred times what had come, of which the socket holds some.
        assert.ok(answer.body.length < 20_000_000, `${what}: ${answer.body.length}`);
      }
    }
  },
);

test("where they are not, every coding passes as it came", TIMEOUT, async (t) => {
  const scene = await lyingScene(t, "response: { scrub: off, tokens: pass }");
  const lies = { gzip: ZIPPED, "x-unknown": ZIPPED, br: Buffer.from("no br"), "identity, gzip": gzipSync(ZEROS) };
  for (const [coding, bytes] of Object.entries(lies)) {
    const told = await scene.lie(coded(bytes, coding));
    assert.ok(told.answer.body.equals(bytes), coding);
    assert.deepEqual(told.answer.values("content-encoding"), [coding]);
    assert.deepEqual([told.answer.complete, told.line.outcome, told.line.usage], [true, "ok", "estimated"]);
    assertCharged(told);
  }
});

test("a broken answer of any size costs no more than its request allowed", TIMEOUT, async (t) => {
  const scene = await lyingScene(t);
  for (const lie of [
    jsonAnswer(Buffer.alloc(8_000_000, "x")),
    jsonAnswer(JSON.stringify({ choices: [{ message: { content: "x".repeat(8_000_000) } }] })),
    eventAnswer(`data: ${JSON.stringify({ choices: [{ delta: { content: "x".repeat(8_000_000) } }] })}\n\n`),
  ]) {
    const told = await scene.lie(lie, { ask: chatAsk() });
    assert.deepEqual([told.answer.status, told.line.usage], [200, "estimated"]);
    assertCharged(told);
  }
});
