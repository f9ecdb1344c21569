import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { UsageRecord } from "../../src/store/usage-record.ts";
import { assertRollupsAgree, MODEL_RECORD, selectUsage, usageWriter } from "../support/usage-fixture.ts";

/** Columns of the only row that are about the answer. */
async function usedColumns(t: TestContext, changes: Partial<UsageRecord>): Promise<Record<string, unknown>> {
  const { path, writer } = usageWriter(t);
  writer.record({ ...MODEL_RECORD, ...changes });
  await writer.close();
  const [row] = selectUsage<Record<string, unknown>>(path, "SELECT * FROM usage");
  assert.ok(row !== undefined);
  assertRollupsAgree(path);
  return Object.fromEntries(Object.entries(row).slice(Object.keys(row).indexOf("operation")));
}

test("what a call used arrives by kind and by unit, with its cost and where that is from", async (t) => {
  const whole = {
    operation: "chat",
    model: "gpt-4o-mini",
    tier: "flex",
    tokens_input: 176,
    tokens_cached_input: 1024,
    tokens_cache_write: 7,
    tokens_output: 230,
    tokens_reasoning: 120,
    units: '{"request":1,"input":176,"cached_input":1024,"cache_write":7,"output":230,"reasoning":120}',
    quality: "exact",
    partial: 0,
    cost_nano: 1_234_567,
    unpriced: 0,
    price_table: "2025-05-01",
    limits: '{"requests":{"remaining":499}}',
    meaning: "ok",
    scrubbed: 0,
  };
  assert.deepEqual(await usedColumns(t, {}), whole);
  const rest = { partial: true, unpriced: true, scrubbed: 2, quality: "estimated", costNano: 0 } as const;
  const changed = { partial: 1, unpriced: 1, scrubbed: 2, quality: "estimated", cost_nano: 0 };
  assert.deepEqual(await usedColumns(t, rest), { ...whole, ...changed });
});

test("each thing that an answer says arrives without the others", async (t) => {
  const silent = { operation: null, model: null, tier: null, tokens: null, units: null, quality: "none" } as const;
  const none = { ...silent, costNano: null, priceTable: null, limits: null, meaning: null };
  const nothing = await usedColumns(t, none);
  const each: [Partial<UsageRecord>, Record<string, unknown>][] = [
    [{ operation: "quote" }, { operation: "quote" }],
    [{ model: "m" }, { model: "m" }],
    [{ units: { request: 1 } }, { units: '{"request":1}' }],
    [{ quality: "estimated" }, { quality: "estimated" }],
    [{ costNano: 0 }, { cost_nano: 0 }],
    [{ unpriced: true }, { unpriced: 1 }],
    [{ limits: "{}" }, { limits: "{}" }],
    [{ meaning: "limited" }, { meaning: "limited" }],
    [{ scrubbed: 1 }, { scrubbed: 1 }],
    [{ partial: true }, { partial: 1 }],
  ];
  for (const [said, columns] of each) {
    assert.deepEqual(await usedColumns(t, { ...none, ...said }), { ...nothing, ...columns });
  }
});

test("figures and names that make no sense are bounded, and spoil neither their row nor the sums", async (t) => {
  const columns = await usedColumns(t, {
    operation: "o".repeat(200),
    model: `${"m".repeat(127)}\u{1f600}`,
    tier: "",
    meaning: "x\ud800",
    limits: `"${"l".repeat(499)}"`,
    priceTable: "p".repeat(129),
    tokens: { input: Number.NaN, cachedInput: 1e300, cacheWrite: -5, output: 2.9, reasoning: Number.POSITIVE_INFINITY },
    units: { request: 1, input: Number.NaN, output: -1, cached_input: 1e300, credit: 0.5, reasoning: 2.9 },
    costNano: 9e15,
    scrubbed: -1,
  });
  assert.deepEqual(columns, {
    operation: "o".repeat(128),
    model: `${"m".repeat(127)}\ufffd`,
    tier: null,
    tokens_input: 0,
    tokens_cached_input: 1e12,
    tokens_cache_write: 0,
    tokens_output: 2,
    tokens_reasoning: 1e12,
    units: '{"request":1,"cached_input":1000000000000,"reasoning":2}',
    quality: "exact",
    partial: 0,
    cost_nano: 1e13,
    unpriced: 0,
    price_table: "p".repeat(128),
    limits: null,
    meaning: "x\ufffd",
    scrubbed: 0,
  });
});
