import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SlidingCount } from "../../../../src/daemon/monitor/watch/sliding-count.ts";

const SLICES = 6;
const SLICE_MS = 1_000;

test("what is older than the window is forgotten slice by slice", () => {
  const count = new SlidingCount(SLICES, SLICE_MS);
  const start = 1_700_000_000_000;
  for (let n = 0; n < 3; n++) count.add(start);
  count.add(start + 4_999);
  assert.equal(count.sum(start + 5_999), 4);
  assert.equal(count.sum(start + 6_000), 1);
  assert.equal(count.sum(start + 10_000), 0);
});

test("a clock that goes back stands still", () => {
  const count = new SlidingCount(SLICES, SLICE_MS);
  count.add(100_000);
  count.add(50_000);
  assert.equal(count.sum(40_000), 2);
  assert.equal(count.sum(105_999), 2);
  assert.equal(count.sum(106_000), 0);
});

test("it is exact to a slice, whatever comes when (property)", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 4_000 }), { maxLength: 60 }), (gaps) => {
      const count = new SlidingCount(SLICES, SLICE_MS);
      const times: number[] = [];
      let nowMs = 1_700_000_000_000;
      for (const gap of gaps) {
        nowMs += gap;
        times.push(nowMs);
        count.add(nowMs);
        const firstSlice = Math.floor(nowMs / SLICE_MS) - SLICES + 1;
        assert.equal(count.sum(nowMs), times.filter((at) => Math.floor(at / SLICE_MS) >= firstSlice).length);
      }
    }),
  );
});
