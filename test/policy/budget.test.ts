import assert from "node:assert/strict";
import test from "node:test";
import { isUncounted, MAX_AMOUNT, NOTHING_KNOWN, usedOf, wantedOf } from "../../src/policy/budget.ts";
import type { LimitSpec } from "../../src/policy/compile.ts";
import { concurrent, requestsPer, tokens, tokensPer, usdPer } from "./limit-steps.ts";

const cost = (expected: number, atMost: number | null = expected) => ({
  tokens: { expected: 7, atMost: 9 },
  usd: { expected, atMost },
});

test("a budget takes what is expected, a strict one what is possible, other limits take 1", () => {
  assert.equal(wantedOf(requestsPer(5, 1000), cost(100)), 1);
  assert.equal(wantedOf(concurrent(5), cost(100)), 1);
  assert.equal(wantedOf(tokensPer(50, 1000), cost(100)), 7);
  assert.equal(wantedOf(tokensPer(50, 1000, { strict: true }), cost(100)), 9);
  assert.equal(wantedOf(usdPer(500, 1000), cost(100, 400)), 100);
  assert.equal(wantedOf(usdPer(500, 1000, { strict: true }), cost(100, 400)), 400);
});

test("a call that can never pass says why", () => {
  const rows: readonly [LimitSpec, Parameters<typeof wantedOf>[1], ReturnType<typeof wantedOf>][] = [
    [tokensPer(50, 1000), tokens(50), 50],
    [tokensPer(50, 1000), tokens(51), "too_large"],
    [tokensPer(50, 1000, { strict: true }), tokens(1, 51), "too_large"],
    [tokensPer(50, 1000, { strict: true }), tokens(1, null), "unbounded"],
    [tokensPer(50, 1000), tokens(1, null), 1],
    [usdPer(50, 1000), tokens(1), "unpriced"],
    [usdPer(50, 1000, { unpriced: "allow" }), tokens(1), 0],
    [usdPer(50, 1000, { unpriced: "allow", strict: true }), tokens(1), 0],
    [tokensPer(50, 1000, { unpriced: "deny" }), tokens(1), 1],
  ];
  for (const [spec, ask, wanted] of rows) assert.equal(wantedOf(spec, ask), wanted, JSON.stringify([spec, ask]));
});

test("a call of which nothing is known is refused by dollars and by strict budgets", () => {
  assert.equal(wantedOf(usdPer(50, 1000), NOTHING_KNOWN), "unpriced");
  assert.equal(wantedOf(tokensPer(50, 1000, { strict: true }), NOTHING_KNOWN), "unbounded");
  assert.equal(wantedOf(tokensPer(50, 1000), NOTHING_KNOWN), 0);
});

test("only a dollar budget that allows it lets a call pass uncounted", () => {
  assert.equal(isUncounted(usdPer(50, 1000, { unpriced: "allow" }), tokens(1)), true);
  assert.equal(isUncounted(usdPer(50, 1000, { unpriced: "allow" }), cost(0)), false);
  assert.equal(isUncounted(usdPer(50, 1000), tokens(1)), false);
  assert.equal(isUncounted(tokensPer(50, 1000), tokens(1)), false);
});

test("a broken estimate is refused or rounded up, never free", () => {
  const loose = tokensPer(50, 1000);
  assert.equal(wantedOf(loose, tokens(Number.NaN)), "too_large");
  assert.equal(wantedOf(loose, tokens(Number.POSITIVE_INFINITY)), "too_large");
  assert.equal(wantedOf(loose, tokens(1e300)), "too_large");
  assert.equal(wantedOf(loose, tokens(1.2)), 2);
  assert.equal(wantedOf(loose, tokens(-5)), 0);
});

test("a broken figure is unknown, so that the estimate stands, or cut off", () => {
  const used = (amount: number | null) => usedOf(tokensPer(50, 1000), { tokens: amount, nanoUsd: 3 });
  assert.equal(used(7), 7);
  assert.equal(used(0), 0);
  assert.equal(used(7.1), 8);
  assert.equal(used(null), null);
  assert.equal(used(-1), null);
  assert.equal(used(Number.NaN), null);
  assert.equal(used(1e300), MAX_AMOUNT);
  assert.equal(used(Number.POSITIVE_INFINITY), MAX_AMOUNT);
  assert.equal(usedOf(usdPer(50, 1000), { tokens: 7, nanoUsd: 3 }), 3);
  assert.equal(usedOf(usdPer(50, 1000), { tokens: 7, nanoUsd: null }), null);
  assert.equal(usedOf(usdPer(50, 1000), null), null);
});
