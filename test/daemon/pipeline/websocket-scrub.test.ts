import assert from "node:assert/strict";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import { Needles } from "../../../src/daemon/pipeline/needles.ts";
import { replacementFor } from "../../../src/daemon/pipeline/scrub.ts";
import { formsOf } from "../../../src/daemon/pipeline/secret-forms.ts";
import { WebSocketScrub } from "../../../src/daemon/pipeline/websocket-scrub.ts";

const KEY = "sk-live-0123456789abcdef";

function scrub(): WebSocketScrub {
  return new WebSocketScrub({ needles: new Needles(formsOf(Buffer.from(KEY))), replacement: replacementFor("main") });
}

function frame(payload: Buffer, first = 0x81): Buffer {
  const { length } = payload;
  if (length < 126) return Buffer.concat([Buffer.from([first, length]), payload]);
  const size = Buffer.alloc(8);
  size.writeBigUInt64BE(BigInt(length));
  if (length > 65_535) return Buffer.concat([Buffer.from([first, 127]), size, payload]);
  return Buffer.concat([Buffer.from([first, 126]), size.subarray(6), payload]);
}

async function passed(chunks: readonly Buffer[]): Promise<Buffer> {
  const stream = scrub();
  const whole = buffer(stream);
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
  return whole;
}

test("a key in a frame is taken out, cut at every byte, and every frame keeps its length", async () => {
  const text = `{"echo":"${KEY}"}`;
  const bytes = Buffer.concat([
    frame(Buffer.from("before")),
    frame(Buffer.from(text)),
    frame(Buffer.from("after"), 0x82),
  ]);
  const expected = bytes.toString("latin1").replace(KEY, "[sidekey:main]".padEnd(KEY.length, "*"));
  for (let cut = 1; cut < bytes.length; cut++) {
    const out = await passed([Buffer.from(bytes.subarray(0, cut)), Buffer.from(bytes.subarray(cut))]);
    assert.equal(out.toString("latin1"), expected, `cut at ${cut}`);
  }
});

test("frames of any length pass as they are, however they arrive", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.nat(130), fc.constantFrom(0, 125, 126, 65_535, 65_536, 70_000)), { maxLength: 5 }),
      fc.array(fc.nat(200_000), { maxLength: 6 }),
      async (lengths, cuts) => {
        const bytes = Buffer.concat(lengths.map((length) => frame(Buffer.alloc(length, "x"))));
        const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
        const chunks = places.slice(1).map((end, at) => Buffer.from(bytes.subarray(places[at] ?? 0, end)));
        assert.ok((await passed(chunks)).equals(bytes));
      },
    ),
    { numRuns: 60 },
  );
});

test("the last byte of a frame is not held back, though a key begins with it", async () => {
  const stream = scrub();
  const passed: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => passed.push(chunk));
  await new Promise<void>((written) => stream.write(frame(Buffer.from("yes")), () => written()));
  await setImmediate();
  assert.equal(Buffer.concat(passed).toString("latin1"), "\x81\x03yes");
});

test("a frame that could not be searched ends the connection", async () => {
  for (const [what, bytes] of [
    ["masked", [0x81, 0x80 | 4, 1, 2, 3, 4, 5, 6, 7, 8]],
    ["compressed", [0xc1, 1, 0x61]],
    ["of another extension", [0x91, 1, 0x61]],
  ] as const) {
    await assert.rejects(
      passed([Buffer.from(bytes)]),
      (error) => error instanceof ProxyError && error.reason === "websocket_frame",
      what,
    );
  }
});
