import assert from "node:assert/strict";
import { test } from "node:test";
import { callCost } from "../../src/policy/call-cost.ts";
import { NO_PRICES } from "../../src/policy/price-table.ts";
import { modelYaml, tableOf } from "./price-fixture.ts";

const table = tableOf(modelYaml("{ from: 2026-01-01, input: 2 }"));
const call = { provider: "p", model: "m", tier: null, units: { input: 3 }, atMs: Date.UTC(2026, 5, 1) };

test("a call that is priced whole costs what the table says, also when that is nothing", () => {
  assert.deepEqual(callCost(table, call), { costNano: 6_000, unpriced: false, table: table.version });
  assert.deepEqual(callCost(table, { ...call, units: { request: 1 } }), {
    costNano: 0,
    unpriced: false,
    table: table.version,
  });
});

test("what has no price makes a call unpriced: the rest of it still costs, nothing is null and never 0", () => {
  const partly = callCost(table, { ...call, units: { input: 3, web_search: 1 } });
  assert.deepEqual(partly, { costNano: 6_000, unpriced: true, table: table.version });
  for (const unknown of [{ model: "other" }, { provider: null }, { provider: "q" }, { atMs: 0 }, { tier: "odd" }]) {
    assert.deepEqual(callCost(table, { ...call, ...unknown }), {
      costNano: null,
      unpriced: true,
      table: table.version,
    });
  }
  assert.deepEqual(callCost(NO_PRICES, call), { costNano: null, unpriced: true, table: "none" });
});
