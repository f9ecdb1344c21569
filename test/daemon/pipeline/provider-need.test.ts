import assert from "node:assert/strict";
import { test } from "node:test";
import { amountOf, needOf, ONE_CALL, outputTokens } from "../../../src/daemon/pipeline/provider-need.ts";
import { LIMIT_THINGS } from "../../../src/providers/limits/limit-kind.ts";

test("what a call is expected to use, as providers count it", () => {
  const need = needOf({ input: 100, cached_input: 20, cache_write: 3, input_audio: 1, output: 40, reasoning: 6 });
  assert.deepEqual(need, { requests: 1, credits: 1, input: 124, output: 46 });
  const amounts = LIMIT_THINGS.map((thing) => [thing, amountOf(need, thing)]);
  assert.deepEqual(Object.fromEntries(amounts), {
    requests: 1,
    tokens: 170,
    input_tokens: 124,
    output_tokens: 46,
    credits: 1,
    weight: 1,
    orders: 1,
  });
});

test("credits are those of the call, where its dialect knows them", () => {
  assert.equal(amountOf(needOf({ request: 1, credit: 8 }), "credits"), 8);
  assert.deepEqual(needOf({}), ONE_CALL);
});

test("tokens that were written are those of all kinds of output", () => {
  assert.equal(outputTokens({ input: 9, output: 1, reasoning: 2, output_audio: 3, output_image: 4 }), 10);
});
