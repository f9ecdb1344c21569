import assert from "node:assert/strict";
import test from "node:test";
import { WarnedLevels } from "../../src/policy/budget-warning.ts";

const WARN = [50, 80, 95];

/** A budget of 100 whose window is 10 long. */
function budget(levels = new WarnedLevels(), limit = 100) {
  return {
    levels,
    /** From `before` to `after` at a time. */
    go: (nowUs: number, before: number, after: number) =>
      levels.moved(WARN, limit, { before, after }, { nowUs, cutoffUs: nowUs - 10 }),
  };
}

test("a level is told when the use reaches it, and not again while the use stays there", () => {
  const { go } = budget();
  assert.deepEqual(go(1, 0, 49), []);
  assert.deepEqual(go(2, 49, 50), [50]);
  assert.deepEqual(go(3, 50, 79), []);
  assert.deepEqual(go(4, 79, 100), [80, 95]);
  assert.deepEqual(go(500, 100, 120), []);
});

test("one step over several levels tells them all, lowest first", () => {
  assert.deepEqual(budget().go(1, 0, 1000), [50, 80, 95]);
});

test("falling below is silent, and passing again tells again, but once per window", () => {
  const { go } = budget();
  assert.deepEqual(go(1, 0, 60), [50]);
  assert.deepEqual(go(4, 30, 55), [], "within the window it was told in");
  assert.deepEqual(go(10, 40, 45), []);
  assert.deepEqual(go(11, 40, 55), [50], "the window has moved on");
});

test("what was passed inside the window is told when it ends, if it still holds", () => {
  const { go } = budget();
  assert.deepEqual(go(1, 0, 60), [50]);
  assert.deepEqual(go(4, 30, 55), []);
  assert.deepEqual(go(9, 55, 56), []);
  assert.deepEqual(go(12, 56, 57), [50]);
  assert.deepEqual(go(30, 57, 58), []);
});

test("a changed limit is told anew", () => {
  const { levels, go } = budget();
  assert.deepEqual(go(1, 0, 60), [50]);
  assert.deepEqual(budget(levels, 200).go(2, 60, 101), [50]);
  assert.deepEqual(budget(levels, 200).go(3, 101, 102), []);
  assert.deepEqual(budget(levels, 50).go(4, 102, 103), [50, 80, 95]);
});

test("a restart repeats nothing", () => {
  const { levels, go } = budget();
  assert.deepEqual(go(1, 0, 85), [50, 80]);
  const { limit, levels: saved } = levels.exportState();
  const after = budget(WarnedLevels.from(limit, saved));
  assert.deepEqual(after.go(2, 85, 86), []);
  assert.deepEqual(after.go(3, 86, 96), [95]);
  assert.deepEqual(after.go(4, 40, 85), []);
});
