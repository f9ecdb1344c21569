import assert from "node:assert/strict";
import { PassThrough, Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import { readWindow, WINDOW_BYTES } from "../../../src/daemon/pipeline/request-window.ts";

function bodyOf(...chunks: readonly string[]): PassThrough {
  const body = new PassThrough();
  for (const chunk of chunks) body.write(chunk);
  return body;
}

test("a short body is its own window", async () => {
  const body = bodyOf("one ", "two");
  const reading = readWindow(body, null);
  setImmediate(() => body.end(" three"));
  assert.deepEqual(await reading, { bytes: Buffer.from("one two three"), whole: true, length: 13 });
  const empty = bodyOf();
  empty.end();
  assert.deepEqual(await readWindow(empty, 0), { bytes: Buffer.alloc(0), whole: true, length: 0 });
});

function* pieces(whole: Buffer): Iterable<Buffer> {
  for (let at = 0; at < whole.length; at += 50_000) yield whole.subarray(at, at + 50_000);
}

test("a long body's window ends after a mebibyte, and nothing of the body is lost", async () => {
  const whole = Buffer.alloc(3 * WINDOW_BYTES, "0123456789");
  const body = Readable.from(pieces(whole), { objectMode: false });
  const window = await readWindow(body, whole.length);
  assert.equal(window.whole, false);
  assert.equal(window.length, whole.length);
  assert.ok(window.bytes.length > WINDOW_BYTES && window.bytes.length < 2 * WINDOW_BYTES);
  assert.ok((await buffer(body)).equals(whole));
});

test("a client that stops half-way ends the reading, before or during it", async () => {
  for (const when of ["before", "during"]) {
    const body = bodyOf("half");
    body.on("error", () => {});
    if (when === "before") body.destroy();
    const reading = readWindow(body, 8);
    setImmediate(() => body.destroy(new Error("reset")));
    await assert.rejects(reading, (error) => error instanceof ProxyError && error.code === "client_closed", when);
  }
});

test("a refusal that the body itself brings stays what it is", async () => {
  const body = bodyOf("half");
  const reading = readWindow(body, 8);
  setImmediate(() => body.destroy(new ProxyError("body_too_large", "it is too long")));
  await assert.rejects(reading, { code: "body_too_large" });
});
