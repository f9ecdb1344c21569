import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RetryBudget } from "../../../src/daemon/pipeline/retry-budget.ts";
import { routeWith } from "./pool-fixture.ts";

const ROUTE = routeWith("[a, b]");

function scene() {
  let nowMs = 5_000_000;
  const budget = new RetryBudget(() => nowMs);
  return {
    budget,
    wait: (ms: number) => {
      nowMs += ms;
    },
    first: (count: number, route = ROUTE) => {
      for (let n = 0; n < count; n++) budget.first(route);
    },
    take: (count: number, route = ROUTE) =>
      Array.from({ length: count }, () => budget.take(route)).filter(Boolean).length,
  };
}

test("with little traffic there are ten retries in ten seconds, and no more", () => {
  const { take, wait, first } = scene();
  first(1);
  assert.equal(take(100), 10);
  wait(9_000);
  assert.equal(take(100), 0);
  wait(2_000);
  assert.equal(take(100), 10);
});

test("with much traffic it is a fifth of it on top", () => {
  const { take, first } = scene();
  first(1_000);
  assert.equal(take(5_000), 210);
  first(50);
  assert.equal(take(5_000), 10);
});

test("first tries that are long ago allow nothing", () => {
  const { take, first, wait } = scene();
  first(100_000);
  wait(11_000);
  assert.equal(take(100), 10);
  wait(3_600_000);
  assert.equal(take(100), 10);
});

test("each route has its own", () => {
  const { take, first } = scene();
  const other = routeWith("[a]");
  first(1_000);
  assert.equal(take(1_000), 210);
  assert.equal(take(1_000, other), 10);
});

test("a clock that is set back neither gives nor takes anything", () => {
  const { take, wait } = scene();
  assert.equal(take(100), 10);
  wait(-3_600_000);
  assert.equal(take(100), 0);
  wait(3_600_000 + 11_000);
  assert.equal(take(100), 10);
});

const STEP = fc.record({
  waitMs: fc.integer({ min: 0, max: 4_000 }),
  first: fc.integer({ min: 0, max: 60 }),
  wanted: fc.integer({ min: 0, max: 60 }),
});

test("in the ten seconds before any retry there are at most a fifth of the first tries, and ten", () => {
  fc.assert(
    fc.property(fc.array(STEP, { maxLength: 80 }), (steps) => {
      const { take, first, wait } = scene();
      const firsts: number[] = [];
      const retries: number[] = [];
      let atMs = 5_000_000;
      for (const step of steps) {
        wait(step.waitMs);
        atMs += step.waitMs;
        first(step.first);
        for (let n = 0; n < step.first; n++) firsts.push(atMs);
        const taken = take(step.wanted);
        for (let n = 0; n < taken; n++) retries.push(atMs);
        if (taken === 0) continue;
        const recent = (times: readonly number[]) => times.filter((time) => time > atMs - 10_000).length;
        assert.ok(recent(retries) <= 0.2 * recent(firsts) + 10, `${recent(retries)} for ${recent(firsts)}`);
      }
    }),
  );
});
