import assert from "node:assert/strict";
import { test } from "node:test";
import { takeHeadBuffer, wipeHeadBuffer } from "../../../src/daemon/pipeline/head-buffers.ts";

test("a head's buffer is exactly as long as asked for, and never part of Node's shared pool", () => {
  for (const length of [0, 1, 200, 4096, 4097, 100_000]) {
    const buffer = takeHeadBuffer(length);
    assert.equal(buffer.length, length);
    assert.notEqual(buffer.buffer, Buffer.from("pooled").buffer);
    wipeHeadBuffer(buffer);
  }
});

test("G2 no-string: a wiped buffer is zero, and whoever gets its memory next finds no secret in it", () => {
  const first = takeHeadBuffer(100);
  first.fill("s");
  wipeHeadBuffer(first);
  assert.ok(first.every((byte) => byte === 0));
  const whole = takeHeadBuffer(4096);
  assert.equal(whole.includes("s"), false);
  const large = takeHeadBuffer(5_000);
  large.fill("s");
  wipeHeadBuffer(large);
  assert.ok(large.every((byte) => byte === 0));
});

test("two heads on their way never share memory", () => {
  const heads = Array.from({ length: 300 }, () => takeHeadBuffer(64));
  assert.equal(new Set(heads.map((head) => head.buffer)).size, 300);
  for (const [index, head] of heads.entries()) head.fill(index & 255);
  for (const [index, head] of heads.entries()) assert.ok(head.every((byte) => byte === (index & 255)));
  for (const head of heads) wipeHeadBuffer(head);
  const again = Array.from({ length: 300 }, () => takeHeadBuffer(64));
  assert.equal(new Set(again.map((head) => head.buffer)).size, 300);
});
