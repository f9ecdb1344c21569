import assert from "node:assert/strict";
import { test } from "node:test";
import { openUsageDatabase } from "../../src/store/database.ts";
import { startUsageWriter } from "../../src/store/usage.ts";
import { USAGE_MIGRATIONS } from "../../src/store/usage-schema.ts";
import { MODEL_RECORD, USAGE_NOW_MS as NOW_MS, selectUsage as select, usageWriter } from "../support/usage-fixture.ts";

const NO_TOKENS = { input: 0, cachedInput: 0, cacheWrite: 0, output: 0, reasoning: 0 };

test("sums go on exactly beyond 2^53, and stop at 2^62 instead of failing", async (t) => {
  const { path, writer } = usageWriter(t);
  const most = { ...MODEL_RECORD, costNano: 1e13 - 1, tokens: { ...NO_TOKENS, input: 1e12 - 1 } };
  // Odd sums, which a fraction number could not hold.
  const calls = 999;
  for (let n = 1; n <= calls; n++) {
    writer.record(most);
    if (n % 333 === 0) await writer.flush();
  }
  const daily = "SELECT cost_exact_nano AS cost, tokens_input AS input FROM usage_daily";
  const sums = { cost: BigInt(calls) * (10n ** 13n - 1n), input: calls * (1e12 - 1) };
  assert.ok(sums.cost > Number.MAX_SAFE_INTEGER && sums.cost % 2n === 1n);
  assert.deepEqual(select(path, daily), [sums]);
  await writer.close();
  const db = openUsageDatabase(path, USAGE_MIGRATIONS);
  db.exec("UPDATE usage_daily SET cost_exact_nano = 4611686018427387904 - 5, tokens_input = 4611686018427387904");
  db.close();
  const next = startUsageWriter(path, { now: () => NOW_MS });
  next.record(most);
  next.record({ ...most, route: "other" });
  await next.close();
  assert.equal(next.dropped(), 0);
  const [full] = select<{ cost: bigint; input: bigint }>(path, `${daily} WHERE route = 'openai'`);
  assert.deepEqual(full, { cost: 2n ** 62n, input: 2n ** 62n });
});
