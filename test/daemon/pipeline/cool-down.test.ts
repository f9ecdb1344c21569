import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CoolDown } from "../../../src/daemon/pipeline/cool-down.ts";

const SPAN = { firstMs: 1_000, longestMs: 60_000 };
const NOW = 1_700_000_000_000;

function coolDown(toldMs: number | null = null, random = 0): CoolDown {
  return new CoolDown(SPAN, NOW, toldMs, () => random);
}

test("it is left alone for its span, then tried one at a time, twice as long after each failed trial", () => {
  const cool = coolDown();
  let atMs = NOW;
  for (const spanMs of [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]) {
    assert.deepEqual(cool.standing(atMs + spanMs - 1), { untilMs: atMs + spanMs });
    atMs += spanMs;
    assert.equal(cool.standing(atMs), "trial");
    assert.equal(cool.try(), true);
    assert.notEqual(cool.standing(atMs), "trial");
    assert.equal(cool.try(), false);
    cool.fail(atMs, null);
  }
});

test("a trial that told nothing is given back, and the next may begin", () => {
  const cool = coolDown();
  assert.equal(cool.try(), true);
  cool.giveBack();
  assert.equal(cool.standing(NOW + 1_000), "trial");
  assert.equal(cool.try(), true);
});

test("what was told is kept to exactly, and jitter only ever makes a guess longer", () => {
  assert.equal(coolDown(NOW + 7_777, 0.9).untilMs, NOW + 7_777);
  assert.equal(coolDown(NOW + 10, 0.9).untilMs, NOW + 10, "sooner than the first span, because it was told");
  assert.equal(coolDown(null, 0.5).untilMs, NOW + 1_100);
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (random) => {
      const { untilMs } = coolDown(null, random);
      assert.ok(untilMs >= NOW + 1_000 && untilMs <= NOW + 1_200);
    }),
  );
});

test("a time in the past is no time, and one a year away is cut to the longest span", () => {
  assert.equal(coolDown(NOW - 1).untilMs, NOW + 1_000);
  assert.equal(coolDown(NOW).untilMs, NOW + 1_000);
  for (const told of [NOW + 365 * 86_400_000, Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY]) {
    assert.equal(coolDown(told).untilMs, NOW + 60_000);
  }
});

test("news from what was sent before lengthens it and never shortens it", () => {
  const cool = coolDown(NOW + 5_000);
  cool.told(NOW + 100, NOW + 2_000);
  assert.equal(cool.untilMs, NOW + 5_000);
  cool.told(NOW + 100, null);
  assert.equal(cool.untilMs, NOW + 5_000);
  cool.told(NOW + 100, NOW + 9_000);
  assert.equal(cool.untilMs, NOW + 9_000);
  cool.told(NOW + 100, NOW + 900_000);
  assert.equal(cool.untilMs, NOW + 60_100);
});

test("a clock that was set back does not keep it away", () => {
  const cool = coolDown();
  assert.equal(cool.standing(NOW - 86_400_000), "trial");
});

test("whatever happens there is at most one trial, and it comes back within the longest span", () => {
  const steps = fc.array(
    fc.record({
      waitMs: fc.integer({ min: 0, max: 90_000 }),
      do: fc.constantFrom("try", "fail", "giveBack", "told"),
      toldMs: fc.option(fc.integer({ min: -1_000_000, max: 10_000_000 })),
    }),
  );
  fc.assert(
    fc.property(steps, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (list, random) => {
      const cool = coolDown(null, random);
      let nowMs = NOW;
      let trials = 0;
      for (const step of list) {
        nowMs += step.waitMs;
        const told = step.toldMs === null ? null : nowMs + step.toldMs;
        if (step.do === "try" && cool.standing(nowMs) === "trial" && cool.try()) trials += 1;
        if (step.do === "told") cool.told(nowMs, told);
        if (trials > 0 && step.do === "fail") cool.fail(nowMs, told);
        if (trials > 0 && step.do === "giveBack") cool.giveBack();
        if (step.do === "fail" || step.do === "giveBack") trials = 0;
        assert.ok(trials <= 1);
        assert.ok(cool.untilMs <= nowMs + 72_000);
        if (trials === 0) assert.equal(cool.standing(nowMs + 72_000), "trial");
      }
    }),
  );
});
