import assert from "node:assert/strict";
import test from "node:test";
import { maxOutputOf } from "../../src/policy/price-table.ts";
import type { Units } from "../../src/providers/usage/usage.ts";
import { costIn, modelYaml, priceProblems, tableOf } from "./price-fixture.ts";

const MILLION: Units = { input: 1_000_000 };
const at = (text: string): number => Date.parse(text);

const TWO = modelYaml(
  "{ from: 2026-03-01T12:00Z, input: 2, maxOutput: 200 }",
  "{ from: 2026-01-01, input: 1, maxOutput: 100 }",
  "{ from: 2026-05-01, to: 2026-06-01, input: 3 }",
);

test("a price holds from its first millisecond to the last one before the next, in whatever order they are written", () => {
  const table = tableOf(TWO);
  const cost = (time: string) => {
    const { nanoUsd, unpriced } = costIn(table, { units: MILLION, atMs: at(time) });
    return unpriced.length > 0 ? null : nanoUsd / 1e9;
  };
  assert.equal(cost("2025-12-31T23:59:59.999Z"), null);
  assert.equal(cost("2026-01-01T00:00:00.000Z"), 1);
  assert.equal(cost("2026-03-01T11:59:59.999Z"), 1);
  assert.equal(cost("2026-03-01T12:00:00.000Z"), 2);
  assert.equal(cost("2026-04-30T23:59:59.999Z"), 2);
  assert.equal(cost("2026-05-01T00:00:00.000Z"), 3);
  assert.equal(cost("2026-05-31T23:59:59.999Z"), 3);
  assert.equal(cost("2026-06-01T00:00:00.000Z"), null);
});

test("the longest answer is that of the day, and unknown where the table does not say it", () => {
  const table = tableOf(TWO);
  assert.equal(maxOutputOf(table, "p", "m", at("2025-12-31")), null);
  assert.equal(maxOutputOf(table, "p", "m", at("2026-02-01")), 100);
  assert.equal(maxOutputOf(table, "p", "m", at("2026-04-01")), 200);
  assert.equal(maxOutputOf(table, "p", "m", at("2026-05-15")), null);
  assert.equal(maxOutputOf(table, "p", "n", at("2026-04-01")), null);
  assert.equal(maxOutputOf(table, "p", null, at("2026-04-01")), null);
  assert.equal(maxOutputOf(table, "q", "m", at("2026-04-01")), null);
});

const PRICES = "providers.p.models[0].prices";

test("periods of an entry that overlap, last no time or begin together are refused", () => {
  assert.deepEqual(
    priceProblems(
      modelYaml("{ from: 2026-01-01, to: 2026-03-01T00:00:01Z, input: 1 }", "{ from: 2026-03-01, input: 2 }"),
    ),
    [`prices.yaml:8 ${PRICES}[0].to: lies behind the beginning of prices[1]; end it there, or leave to out`],
  );
  assert.deepEqual(priceProblems(modelYaml("{ from: 2026-03-01, to: 2026-03-01, input: 1 }")), [
    `prices.yaml:8 ${PRICES}[0].to: is not after from; a period has to last`,
  ]);
  assert.deepEqual(
    priceProblems(modelYaml("{ from: 2026-03-01, input: 1 }", "{ from: '2026-03-01T00:00Z', input: 2 }")),
    [`prices.yaml:9 ${PRICES}[1].from: begins when prices[0] does; keep one`],
  );
  assert.deepEqual(
    priceProblems(modelYaml("{ from: 2026-01-01, to: 2026-03-01, input: 1 }", "{ from: 2026-03-01, input: 2 }")),
    [],
  );
});

const LONG = modelYaml(
  "{ from: 2026-01-01, input: 1, cached_input: 0.1, output: 5, above: [{ tokens: 200000, input: 2, cached_input: 0.2, output: 7 }, { tokens: 500000, input: 4, cached_input: 0.4, output: 9 }] }",
);

test("a long request is dearer as a whole, from the first token above the border on", () => {
  const table = tableOf(LONG);
  const nano = (units: Units) => costIn(table, { units }).nanoUsd;
  assert.equal(nano({ input: 200_000, output: 10 }), 200_000 * 1_000 + 10 * 5_000);
  assert.equal(nano({ input: 200_001, output: 10 }), 200_001 * 2_000 + 10 * 7_000);
  assert.equal(nano({ input: 500_000 }), 500_000 * 2_000);
  assert.equal(nano({ input: 500_001 }), 500_001 * 4_000);
  assert.equal(nano({ output: 600_000 }), 600_000 * 5_000);
});

test("everything that the model reads counts towards the length: cached, written to a cache, heard and seen", () => {
  const table = tableOf(
    modelYaml(
      "{ from: 2026-01-01, input: 1, input_audio: 1, input_image: 1, above: [{ tokens: 100, input: 2, input_audio: 2, input_image: 2 }] }",
    ),
  );
  const halves: readonly Units[] = [
    { input: 50, cached_input: 51 },
    { input: 50, cache_write: 51 },
    { input: 50, cache_write_1h: 51 },
    { input: 50, input_audio: 51 },
    { input: 50, input_image: 51 },
  ];
  for (const units of halves) assert.equal(costIn(table, { units }).nanoUsd, 101 * 2_000, JSON.stringify(units));
});

test("prices for long requests come in order and leave nothing open", () => {
  const above = (steps: string) =>
    modelYaml(`{ from: 2026-01-01, input: 1, output: 2, web_search: 1, above: [${steps}] }`);
  const here = `prices.yaml:8 ${PRICES}[0].above`;
  assert.deepEqual(priceProblems(above("{ tokens: 100, input: 2, output: 3 }")), []);
  assert.deepEqual(priceProblems(above("{ tokens: 100, input: 2 }")), [
    `${here}[0]: says nothing of output; write what it costs above 100 tokens`,
  ]);
  assert.deepEqual(priceProblems(above("{ tokens: 100, input: 2, output: 3 }, { tokens: 100, input: 4, output: 5 }")), [
    `${here}[1].tokens: is not above the 100 before it; write them in order`,
  ]);
  assert.deepEqual(priceProblems(above("")), [
    `${here}: is empty; write prices for long requests, such as [{ tokens: 200000, input: 4, output: 18 }], or leave the key out where it is optional`,
  ]);
});

const TIERED = modelYaml(
  "{ from: 2026-01-01, input: 2, cached_input: 1, output: 10, web_search: 10/1k, tiers: { batch: 0.5, flex: { input: 1.5 }, priority: '1.7' } }",
);

test("a tier is a factor for tokens, or the prices that differ", () => {
  const table = tableOf(TIERED);
  const units: Units = { input: 1_000, cached_input: 100, output: 10, web_search: 1 };
  const cost = (tier: string | null) => costIn(table, { units, tier });
  const search = 10_000_000;
  assert.equal(cost(null).nanoUsd, 2_000_000 + 100_000 + 100_000 + search);
  assert.equal(cost("batch").nanoUsd, 1_000_000 + 50_000 + 50_000 + search);
  assert.equal(cost("flex").nanoUsd, 1_500_000 + 100_000 + 100_000 + search);
  assert.equal(cost("priority").nanoUsd, 3_400_000 + 170_000 + 170_000 + search);
});

test("default and standard are no tiers, and one that the table does not know is unpriced", () => {
  const table = tableOf(TIERED);
  const cost = (tier: string) => costIn(table, { units: MILLION, tier });
  assert.equal(cost("default").nanoUsd, 2e9);
  assert.equal(cost("standard").nanoUsd, 2e9);
  for (const tier of ["turbo", "", "constructor", "__proto__", "Batch"]) {
    assert.deepEqual([cost(tier).nanoUsd, cost(tier).unpriced], [0, ["input"]], tier);
  }
});

test("a tier and the length of a request go together", () => {
  const table = tableOf(
    modelYaml(
      "{ from: 2026-01-01, input: 1, output: 2, above: [{ tokens: 100, input: 3, output: 4 }], tiers: { batch: 0.5, flex: { input: 0.9, above: [{ tokens: 50, input: 2.9, output: 3.9 }] } } }",
    ),
  );
  const nano = (tier: string | null, input: number) => costIn(table, { units: { input, output: 1 }, tier }).nanoUsd;
  assert.equal(nano("batch", 100), 50_000 + 1_000);
  assert.equal(nano("batch", 101), 151_500 + 2_000);
  assert.equal(nano("flex", 50), 45_000 + 2_000);
  assert.equal(nano("flex", 51), 51 * 2_900 + 3_900);
});

test("a tier with prices of its own says what long requests cost when others do", () => {
  const tier = (text: string) =>
    modelYaml(`{ from: 2026-01-01, input: 1, above: [{ tokens: 100, input: 3 }], tiers: { flex: ${text} } }`);
  assert.deepEqual(priceProblems(tier("{ input: 0.5 }")), [
    `prices.yaml:8 ${PRICES}[0].tiers.flex: does not say what long requests cost; write its own above, or a factor`,
  ]);
  assert.deepEqual(priceProblems(tier("{ above: [{ tokens: 100, input: 3 }] }")), [
    `prices.yaml:8 ${PRICES}[0].tiers.flex: has no price; write what differs, such as input: 1.25, or a factor`,
  ]);
  assert.deepEqual(priceProblems(tier("{ input: 0.5, above: [{ tokens: 100, input: 3 }] }")), []);
});

test("in peak hours tokens cost more, and the factor goes on top of the tier's", () => {
  const table = tableOf(
    modelYaml(
      "{ from: 2026-01-01, input: 1, web_search: 0.5, tiers: { batch: 0.333333333 }, peak: { hours: [mon-fri 01:00-04:00], factor: 3.000000003 } }",
    ),
  );
  const nano = (time: string, tier: string | null = null) => {
    return costIn(table, { units: { input: 1_000_000, web_search: 1 }, atMs: at(time), tier }).nanoUsd;
  };
  assert.equal(nano("2026-06-01T00:59:59.999Z"), 1_500_000_000);
  assert.equal(nano("2026-06-01T01:00:00.000Z"), 3_500_000_003);
  assert.equal(nano("2026-06-01T04:00:00.000Z"), 1_500_000_000);
  assert.equal(nano("2026-06-06T02:00:00.000Z"), 1_500_000_000);
  // 0.333333333 * 3.000000003 = 0.999999999999999999, which is a whole nano less only after rounding up.
  assert.equal(nano("2026-06-01T02:00:00.000Z", "batch"), 1_500_000_000);
});

test("an entry that has no price for anything is refused", () => {
  assert.deepEqual(priceProblems(modelYaml("{ from: 2026-01-01, maxOutput: 100 }")), [
    `prices.yaml:8 ${PRICES}[0]: has no price; write what its units cost, such as input: 2.50`,
  ]);
});
