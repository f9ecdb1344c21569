import assert from "node:assert/strict";
import { test } from "node:test";
import { TOKEN_UNITS, tokensOf, UNITS } from "../../../src/providers/usage/usage.ts";

test("the tokens of a call are the sum of all kinds of token and of nothing else", () => {
  assert.equal(tokensOf({}), 0);
  assert.equal(tokensOf({ input: 3, cached_input: 4, reasoning: 5, byte: 1000, request: 1, credit: 7 }), 12);
  assert.equal(tokensOf(Object.fromEntries(UNITS.map((unit) => [unit, 1]))), TOKEN_UNITS.length);
});
