import assert from "node:assert/strict";
import { test } from "node:test";
import { openUsageDatabase } from "../../src/store/database.ts";
import { startUsageWriter } from "../../src/store/usage.ts";
import { rollupModels } from "../../src/store/usage-models.ts";
import type { UsageRecord } from "../../src/store/usage-record.ts";
import { USAGE_MIGRATIONS } from "../../src/store/usage-schema.ts";
import {
  assertRollupsAgree,
  DAY_MS,
  MODEL_RECORD,
  USAGE_NOW_MS as NOW_MS,
  selectUsage as select,
  usageWriter,
} from "../support/usage-fixture.ts";

test("rollups tell 200 models of a provider and day apart, whatever names are made up, over restarts too", async (t) => {
  const { path, writer } = usageWriter(t);
  const call = (n: number, changes: Partial<UsageRecord> = {}) => ({ ...MODEL_RECORD, model: `m${n}`, ...changes });
  for (let n = 0; n < 150; n++) writer.record(call(n));
  await writer.close();
  const next = startUsageWriter(path, { now: () => NOW_MS });
  for (let n = 100; n < 900; n++) next.record(call(n));
  for (let n = 0; n < 10; n++) next.record(call(n + 1000, { provider: "azure-openai" }));
  for (let n = 0; n < 10; n++) next.record(call(n + 2000, { atMs: NOW_MS - DAY_MS }));
  next.record(call(0, { model: "other" }));
  next.record(call(0, { model: null }));
  await next.close();
  const models =
    "SELECT provider, COUNT(DISTINCT model) AS models FROM usage_daily GROUP BY bucket, provider ORDER BY 2";
  assert.deepEqual(
    select<{ models: number }>(path, models).map((row) => row.models),
    [10, 10, 202],
  );
  const other = "SELECT SUM(requests) AS requests FROM usage_daily WHERE model = 'other'";
  assert.deepEqual(select(path, other), [{ requests: 701 }]);
  assertRollupsAgree(path);
});

test("models of a batch that could not be written are let in again by the next one", async (t) => {
  const { path, writer } = usageWriter(t);
  writer.record({ ...MODEL_RECORD, model: "first" });
  writer.record({ ...MODEL_RECORD, model: "second", host: undefined } as unknown as UsageRecord);
  await writer.flush();
  assert.equal(writer.dropped(), 2);
  writer.record({ ...MODEL_RECORD, model: "first" });
  await writer.flush();
  assert.deepEqual(select(path, "SELECT model FROM usage_models"), [{ model: "first" }]);
  assertRollupsAgree(path);
});

test("the name that a record went under can be told later, and telling lets nobody in", async (t) => {
  const { path, writer } = usageWriter(t);
  for (let n = 0; n < 250; n++) writer.record({ ...MODEL_RECORD, model: `m${n}` });
  await writer.close();
  const db = openUsageDatabase(path, USAGE_MIGRATIONS);
  t.after(() => db.close());
  const models = rollupModels(db);
  const names = ["m0", "m199", "m200", "m249", "unheard"].map((model) => models.nameOf(NOW_MS, "openai", model));
  assert.deepEqual(names, ["m0", "m199", "other", "other", "other"]);
  assert.equal(models.nameOf(NOW_MS, "openai", null), "");
  assert.equal(models.nameOf(NOW_MS - DAY_MS, "openai", "m0"), "other");
  assert.equal(models.nameFor(NOW_MS - DAY_MS, "openai", "m0"), "m0");
  assert.equal(models.nameOf(NOW_MS - DAY_MS, "openai", "m0"), "m0");
});

test("a day that was forgotten, because many others came, is read again", async (t) => {
  const { path, writer } = usageWriter(t);
  await writer.close();
  const db = openUsageDatabase(path, USAGE_MIGRATIONS);
  t.after(() => db.close());
  const models = rollupModels(db);
  for (let n = 0; n < 1000; n++) assert.equal(models.nameFor(NOW_MS + n * DAY_MS, "p", "m"), "m");
  for (let n = 0; n < 1000; n++) assert.equal(models.nameOf(NOW_MS + n * DAY_MS, "p", "m"), "m");
});
