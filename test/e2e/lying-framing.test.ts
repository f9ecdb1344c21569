import assert from "node:assert/strict";
import { test } from "node:test";
import { brotliCompressSync, gzipSync } from "node:zlib";
import {
  assertNotCompleted,
  EXPECTED,
  eachLie,
  jsonAnswer,
  type Lie,
  startLyingProvider,
  truth,
} from "./lying-provider.ts";

const OK = "HTTP/1.1 200 OK\r\n";
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n\r\n`;
const end = (bytes: string | Uint8Array): Lie => ({ bytes, after: "end" });

eachLie(
  "a broken answer is never completed, and costs no more than was expected of it",
  {
    "a length that is longer than the body": end(`${OK}Content-Length: 100\r\n\r\nshort`),
    "the same, without an end of TLS": { bytes: `${OK}Content-Length: 100\r\n\r\nshort`, after: "drop" },
    "two lengths": end(`${OK}Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc`),
    "gzip as a transfer coding": end(`${OK}Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`),
    "chunks in chunks": end(`${OK}Transfer-Encoding: chunked, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`),
    "a negative length": end(`${OK}Content-Length: -1\r\n\r\nabc`),
    "a length of many digits": end(`${OK}Content-Length: ${"9".repeat(40)}\r\n\r\nabc`),
    "a length and chunks": end(`${OK}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`),
    "a chunk size that is none": end(`${CHUNKED}zz\r\nabc\r\n0\r\n\r\n`),
    "a chunk size beyond all numbers": end(`${CHUNKED}${"f".repeat(40)}\r\nabc`),
    "a chunk that is longer than its size": end(`${CHUNKED}2\r\nabcdef\r\n0\r\n\r\n`),
    "no last chunk": end(`${CHUNKED}3\r\nabc\r\n`),
    "a last chunk without its end": end(`${CHUNKED}3\r\nabc\r\n0\r\n`),
    "a chunk extension without end": end(`${CHUNKED}3;${"x".repeat(200_000)}`),
    "trailers without end": end(`${CHUNKED}0\r\n${"X-A: b\r\n".repeat(30_000)}`),
    "a trailer of one endless line": end(`${CHUNKED}0\r\nX-A: ${"b".repeat(300_000)}`),
    "not HTTP at all": end("hello\r\n\r\n"),
    nothing: end(""),
    "HTTP/0.9": end("<html>hi</html>"),
    "a status that is none": end("HTTP/1.1 999999 X\r\n\r\n"),
    "a zero byte in a field": end(`${OK}X-A: a\0b\r\nContent-Length: 2\r\n\r\nok`),
    "a field of 100 KB": end(`${OK}X-A: ${"b".repeat(100_000)}\r\nContent-Length: 2\r\n\r\nok`),
    "fields without end": end(`${OK}${"X-A: b\r\n".repeat(30_000)}`),
    "a field without a name": end(`${OK}: b\r\nContent-Length: 2\r\n\r\nok`),
    "a field without a colon": end(`${OK}oops\r\nContent-Length: 2\r\n\r\nok`),
    "a space before a colon": end(`${OK}Content-Length : 2\r\n\r\nok`),
    "interim answers without end": end("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(500)),
    "102 without end": end("HTTP/1.1 102 Processing\r\n\r\n".repeat(500)),
    "101 that nobody asked for": end("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhi"),
    "a status of 1xx as the only answer": end("HTTP/1.1 150 Odd\r\n\r\n"),
  },
  (told, name) => {
    const own = told.answer.values("sidekey-error")[0];
    if (own === "upstream_connect") assert.equal(told.line.code, "reset", name);
    else assertNotCompleted(told, name);
    assert.ok(told.charged <= EXPECTED, `${name}: charged ${told.charged}`);
  },
);

const SHORT = Buffer.from('{"usage":{"prompt_tokens":1,"completion_tokens":2}}');
const coded = (coding: string, body: Uint8Array, more = ""): Lie => ({
  bytes: Buffer.concat([
    Buffer.from(
      `${OK}Content-Type: application/json\r\nContent-Encoding: ${coding}\r\nContent-Length: ${body.length}\r\n${more}\r\n`,
    ),
    body,
  ]),
});
const BOMB = Buffer.alloc(40_000_000, " ");

eachLie(
  "what cannot be decoded does not pass, and a bomb is not unpacked",
  {
    "gzip that is not gzip": coded("gzip", SHORT),
    "gzip that breaks off": coded("gzip", gzipSync(SHORT).subarray(0, -9)),
    "gzip with a wrong sum": coded("gzip", Buffer.concat([gzipSync(SHORT).subarray(0, -8), Buffer.alloc(8)])),
    "deflate that is none": coded("deflate", SHORT),
    "brotli that is none": coded("br", SHORT),
    "zstd that is none": coded("zstd", SHORT),
    "gzip inside gzip": coded("gzip, gzip", gzipSync(gzipSync(SHORT))),
    "twenty layers": coded(Array(20).fill("gzip").join(", "), gzipSync(SHORT)),
    "a coding that nobody knows": coded("rot13", SHORT),
    "a coding with a parameter": coded("gzip;q=1", gzipSync(SHORT)),
    "a gzip bomb": coded("gzip", gzipSync(BOMB)),
    "a brotli bomb": coded("br", brotliCompressSync(BOMB)),
    "gzip with something behind it": coded("gzip", Buffer.concat([gzipSync(SHORT), Buffer.from("garbage")])),
  },
  (told, name) => {
    if (name === "gzip with something behind it" && told.answer.status === 200) {
      assert.deepEqual([String(told.answer.body), told.answer.complete], [String(SHORT), true]);
      return;
    }
    assertNotCompleted(told, name);
    assert.ok(told.charged <= EXPECTED, `${name}: charged ${told.charged}`);
    assert.ok(told.answer.body.length < 4_000_000, `${name}: ${told.answer.body.length} bytes came through`);
  },
);

test("what comes behind an answer is never an answer to anybody", { timeout: 20_000 }, async (t) => {
  const provider = await startLyingProvider(t);
  for (const behind of ["garbage", `${OK}Content-Length: 6\r\n\r\nstolen`, truth(900, 90)]) {
    const { answer, charged } = await provider.tell({ bytes: truth(20, 5) + behind });
    assert.deepEqual([answer.status, answer.complete], [200, true]);
    assert.equal(JSON.parse(String(answer.body)).usage.total_tokens, 25);
    assert.equal(charged, 25);
  }
});

const EVENTS = [
  { object: "chat.completion.chunk", model: "gpt-t", choices: [{ index: 0, delta: { content: "hello there" } }] },
  { object: "chat.completion.chunk", model: "gpt-t", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] },
  { object: "chat.completion.chunk", model: "gpt-t", choices: [], usage: { prompt_tokens: 11, completion_tokens: 4 } },
];
const STREAM = `${EVENTS.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("")}data: [DONE]\n\n`;
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;

/** Whole answers, and what they use. */
const TRANSCRIPTS: Readonly<Record<string, { bytes: Uint8Array; tokens: number }>> = {
  "with a length": { bytes: Buffer.from(truth(11, 4), "latin1"), tokens: 15 },
  "a stream in chunks, with a trailer": {
    bytes: Buffer.from(
      `${OK}Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n${chunk(STREAM)}0\r\nX-Sum: 1\r\n\r\n`,
      "latin1",
    ),
    tokens: 15,
  },
  "in gzip": { bytes: Buffer.from(coded("gzip", gzipSync(truth(11, 4).split("\r\n\r\n")[1] ?? "")).bytes), tokens: 15 },
};

for (const [name, { bytes, tokens }] of Object.entries(TRANSCRIPTS)) {
  test(`${name}: cut at any byte it is not completed, and the charge is what was delivered or expected`, {
    timeout: 120_000,
  }, async (t) => {
    const provider = await startLyingProvider(t);
    for (let cut = 0; cut < bytes.length; cut += cut < 12 || cut > bytes.length - 12 ? 1 : 11) {
      const told = await provider.tell({ bytes: bytes.subarray(0, cut), after: cut % 2 === 0 ? "end" : "drop" });
      assert.ok(!told.answer.complete || told.answer.status >= 500, `cut at ${cut}: completed`);
      assert.notEqual(told.line.outcome, "ok", `cut at ${cut}`);
      assert.ok(told.charged <= Math.max(tokens, EXPECTED), `cut at ${cut}: charged ${told.charged}`);
    }
    const whole = await provider.tell({ bytes });
    assert.deepEqual([whole.answer.complete, whole.line.outcome, whole.charged], [true, "ok", tokens]);
  });
}

test("a body that is not UTF-8 passes as it came", { timeout: 20_000 }, async (t) => {
  const provider = await startLyingProvider(t);
  const body = `{"x":"\xff\xfe\xc3(","usage":{"prompt_tokens":5,"completion_tokens":1}}`;
  const { answer, charged } = await provider.tell({ bytes: jsonAnswer(body) });
  assert.deepEqual([answer.body.toString("latin1"), charged], [body, 6]);
});
