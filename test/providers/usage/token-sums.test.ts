import assert from "node:assert/strict";
import { test } from "node:test";
import { tokenSums, tokensBothWays } from "../../../src/providers/usage/token-sums.ts";
import { OTHER_UNITS, TOKEN_UNITS, tokensOf, type Units } from "../../../src/providers/usage/usage.ts";

test("every token unit is in exactly one of the sums, and on one way", () => {
  for (const unit of TOKEN_UNITS) {
    const sums = tokenSums({ [unit]: 7 });
    assert.ok(sums !== null, unit);
    assert.deepEqual(
      Object.values(sums).filter((count) => count > 0),
      [7],
      unit,
    );
    const { tokensIn, tokensOut } = tokensBothWays(sums);
    assert.deepEqual([tokensIn + tokensOut, tokensIn * tokensOut], [7, 0], unit);
  }
  const all: Units = Object.fromEntries(TOKEN_UNITS.map((unit, at) => [unit, 2 ** at]));
  const { tokensIn, tokensOut } = tokensBothWays(tokenSums(all) ?? assert.fail());
  assert.equal(tokensIn + tokensOut, tokensOf(all));
  assert.equal(tokensIn, 0b111111);
});

test("what is no token is in none of them", () => {
  assert.equal(tokenSums(Object.fromEntries(OTHER_UNITS.map((unit) => [unit, 1]))), null);
  assert.equal(tokenSums({}), null);
  assert.equal(tokenSums({ input: 0 }), null);
});
