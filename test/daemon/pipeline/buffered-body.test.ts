import assert from "node:assert/strict";
import { PassThrough, Readable } from "node:stream";
import { test } from "node:test";
import { bufferBody, MAX_BUFFERED_BODY } from "../../../src/daemon/pipeline/buffered-body.ts";

const MIB = Buffer.alloc(1024 * 1024);

test("a body is read whole, up to the bound", async () => {
  assert.equal((await bufferBody(Readable.from([Buffer.from("ab"), Buffer.from("cd")]), 4)).toString(), "abcd");
  assert.equal((await bufferBody(Readable.from([]), null)).length, 0);
  assert.equal((await bufferBody(Readable.from([MIB]), null)).length, MAX_BUFFERED_BODY);
});

test("more than the bound is refused: at once when announced, else as soon as it has come", async () => {
  const announced = new PassThrough();
  await assert.rejects(bufferBody(announced, MAX_BUFFERED_BODY + 1), { code: "body_too_large" });
  let given = 0;
  const endless = new Readable({
    read() {
      given++;
      this.push(Buffer.alloc(64 * 1024));
    },
  });
  await assert.rejects(bufferBody(endless, null), { code: "body_too_large", reason: "buffered_body" });
  assert.ok(given < 40, `${given} chunks were read`);
});

test("a body that breaks off is the client's doing", async () => {
  const broken = new PassThrough();
  const result = bufferBody(broken, 10);
  broken.write("half");
  broken.destroy(new Error("reset"));
  await assert.rejects(result, { code: "client_closed" });
  const silent = new PassThrough();
  const other = bufferBody(silent, 10);
  silent.destroy();
  await assert.rejects(other, { code: "client_closed" });
});

test("G11 exact-limits: all bodies together have a bound, and every way out gives its bytes back", async () => {
  const waiting = Array.from({ length: 64 }, () => new PassThrough({ highWaterMark: 2 * MIB.length }));
  const results = waiting.map((body) => bufferBody(body, null).catch((error: { code: string }) => error.code));
  for (const body of waiting) body.write(MIB);
  await new Promise((resolve) => setTimeout(resolve, 50));
  await assert.rejects(bufferBody(Readable.from([Buffer.from("x")]), 1), { code: "overloaded" });
  for (const [index, body] of waiting.entries()) {
    if (index % 3 === 0) body.end();
    else if (index % 3 === 1) body.destroy();
    else body.write("one byte too many");
  }
  const outcomes = await Promise.all(results);
  assert.deepEqual(
    outcomes.slice(0, 3).map((one) => (typeof one === "string" ? one : one.length)),
    [MIB.length, "client_closed", "body_too_large"],
  );
  assert.equal((await bufferBody(Readable.from([Buffer.from("x")]), 1)).toString(), "x");
});
