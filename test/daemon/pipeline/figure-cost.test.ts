import assert from "node:assert/strict";
import { test } from "node:test";
import { figureCost } from "../../../src/daemon/pipeline/figure-cost.ts";
import type { UsageFigure } from "../../../src/providers/usage/usage.ts";
import { modelYaml, tableOf } from "../../policy/price-fixture.ts";

const AT_MS = Date.UTC(2026, 5, 1);
const table = tableOf(modelYaml("{ from: 2026-01-01, input: 2 }"));
const figure: UsageFigure = {
  model: "m",
  tier: null,
  units: { input: 3 },
  quality: "exact",
  partial: false,
  charged: null,
  failure: null,
};

test("an exchange costs what the table says, by its provider, model, tier, units and time", () => {
  const priced = { costNano: 6_000, unpriced: false, priceTable: table.version };
  assert.deepEqual(figureCost(table, "p", figure, AT_MS), priced);
  const unpriced = { costNano: null, unpriced: true, priceTable: table.version };
  assert.deepEqual(figureCost(table, "q", figure, AT_MS), unpriced);
  assert.deepEqual(figureCost(table, "p", { ...figure, model: "n" }, AT_MS), unpriced);
  assert.deepEqual(figureCost(table, "p", { ...figure, tier: "odd" }, AT_MS), unpriced);
  assert.deepEqual(figureCost(table, "p", figure, 0), unpriced);
});

test("what the provider says it charged comes before every table", () => {
  const charged = { costNano: 5, unpriced: false, priceTable: "provider" };
  assert.deepEqual(figureCost(table, "p", { ...figure, charged: 5 }, AT_MS), charged);
  assert.deepEqual(figureCost(table, null, { ...figure, charged: 0 }, AT_MS), { ...charged, costNano: 0 });
});

test("an exchange whose answer nobody read has no cost and lacks no price", () => {
  assert.deepEqual(figureCost(table, "p", null, AT_MS), { costNano: null, unpriced: false, priceTable: null });
});
