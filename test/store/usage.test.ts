import assert from "node:assert/strict";
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { openUsageDatabase } from "../../src/store/database.ts";
import { startUsageWriter, type UsageOptions, type UsageWriter } from "../../src/store/usage.ts";
import type { UsageRecord } from "../../src/store/usage-record.ts";
import { USAGE_MIGRATIONS } from "../../src/store/usage-schema.ts";
import { tempDir } from "../support/temp-dir.ts";
import {
  DAY_MS,
  HOUR_MS,
  MODEL_RECORD,
  USAGE_NOW_MS as NOW_MS,
  rawUsageSums as rawSums,
  PLAIN_RECORD as record,
  rollupSums as rollup,
  selectUsage as select,
} from "../support/usage-fixture.ts";

const NO_TOKENS = { input: 0, cachedInput: 0, cacheWrite: 0, output: 0, reasoning: 0 };

/** A writer whose timer never fires by itself: tests flush. */
function writerFor(t: TestContext, options: UsageOptions = {}): { path: string; writer: UsageWriter } {
  const path = join(tempDir(t), "usage.db");
  const writer = startUsageWriter(path, { flushMs: 60_000, now: () => NOW_MS, ...options });
  t.after(() => writer.close());
  return { path, writer };
}

/** A fixed mix of names, outcomes, times over three days, models and costs. */
function mixedRecords(count: number): UsageRecord[] {
  return Array.from({ length: count }, (_, n) => ({
    ...(n % 2 === 0 ? record : modelCall(n)),
    atMs: NOW_MS - (n % 3) * DAY_MS - (n % 7) * 3_000_000,
    route: n % 11 === 0 ? null : `route-${n % 4}`,
    client: `client-${n % 3}`,
    credential: n % 5 === 0 ? null : "fmp-main",
    outcome: n % 13 === 0 ? "limit_exceeded" : "ok",
    denied: n % 13 === 0,
    error: n % 17 === 0 && n % 13 !== 0,
    totalMs: ((n * 7919) % 40_000) / 3,
    bytesDown: n * 31,
  }));
}

function modelCall(n: number): UsageRecord {
  return {
    ...MODEL_RECORD,
    model: n % 19 === 0 ? null : `model-${n % 9}`,
    quality: n % 3 === 0 ? "exact" : n % 3 === 1 ? "estimated" : "none",
    costNano: n % 4 === 0 ? null : n * 1_000_003,
    unpriced: n % 5 === 0,
    partial: n % 7 === 0,
    tokens: { input: n, cachedInput: n * 3, cacheWrite: n % 2, output: n * 7, reasoning: n % 11 },
  };
}

test("a record arrives with every field, times in whole microseconds", async (t) => {
  const { path, writer } = writerFor(t);
  writer.record(record);
  assert.equal(writer.queued(), 1);
  await writer.flush();
  assert.equal(writer.queued(), 0);
  const [row] = select<Record<string, unknown>>(path, "SELECT * FROM usage");
  assert.deepEqual(
    { ...row },
    {
      id: 1,
      at_ms: NOW_MS,
      route: "fmp",
      provider: "fmp",
      credential: "fmp-main",
      version: 1,
      client: "app",
      user: null,
      form: "connect",
      method: "GET",
      host: "api.example.test",
      path: "/v1/quote",
      status: 200,
      outcome: "ok",
      denied: 0,
      error: 0,
      bytes_up: 100,
      bytes_down: 2000,
      total_us: 41_250,
      upstream_us: 40_000,
      overhead_us: 1250,
      wait_us: 0,
      attempts: 1,
      operation: null,
      model: null,
      tier: null,
      tokens_input: 0,
      tokens_cached_input: 0,
      tokens_cache_write: 0,
      tokens_output: 0,
      tokens_reasoning: 0,
      units: null,
      quality: "none",
      partial: 0,
      cost_nano: null,
      unpriced: 0,
      price_table: null,
      limits: null,
      meaning: null,
      scrubbed: 0,
    },
  );
});

/** Columns of the only row that are about the answer. */
async function usedColumns(t: TestContext, changes: Partial<UsageRecord>): Promise<Record<string, unknown>> {
  const { path, writer } = writerFor(t);
  writer.record({ ...MODEL_RECORD, ...changes });
  await writer.flush();
  const [row] = select<Record<string, unknown>>(path, "SELECT * FROM usage");
  assert.ok(row !== undefined);
  assert.deepEqual(rollup(path, "usage_daily"), rawSums(path, DAY_MS));
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
    operation: "o".repeat(100),
    model: `${"m".repeat(127)}\u{1f600}`,
    tier: "",
    meaning: "x\ud800",
    limits: `"${"l".repeat(499)}"`,
    priceTable: "p".repeat(65),
    tokens: { input: Number.NaN, cachedInput: 1e300, cacheWrite: -5, output: 2.9, reasoning: Number.POSITIVE_INFINITY },
    units: { request: 1, input: Number.NaN, output: -1, cached_input: 1e300, credit: 0.5, reasoning: 2.9 },
    costNano: 9e15,
    scrubbed: -1,
  });
  assert.deepEqual(columns, {
    operation: "o".repeat(64),
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
    price_table: "p".repeat(64),
    limits: null,
    meaning: "x\ufffd",
    scrubbed: 0,
  });
});

test("sums go on exactly beyond 2^53, and stop at 2^62 instead of failing", async (t) => {
  const { path, writer } = writerFor(t);
  const most = { ...MODEL_RECORD, costNano: 1e13 - 1, tokens: { ...NO_TOKENS, input: 1e12 - 1 } };
  const calls = 1200;
  for (let n = 0; n < calls; n++) writer.record(most);
  await writer.flush();
  const daily = "SELECT cost_exact_nano AS cost, tokens_input AS input FROM usage_daily";
  const sums = { cost: BigInt(calls) * (10n ** 13n - 1n), input: calls * (1e12 - 1) };
  assert.ok(sums.cost > Number.MAX_SAFE_INTEGER);
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

test("rollups tell 200 models of a provider and day apart, whatever names are made up, over restarts too", async (t) => {
  const { path, writer } = writerFor(t);
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
  assert.deepEqual(rollup(path, "usage_hourly"), rawSums(path, HOUR_MS));
  assert.deepEqual(rollup(path, "usage_daily"), rawSums(path, DAY_MS));
});

test("models of a batch that could not be written are let in again by the next one", async (t) => {
  const { path, writer } = writerFor(t);
  writer.record({ ...MODEL_RECORD, model: "first" });
  writer.record({ ...MODEL_RECORD, model: "second", host: undefined } as unknown as UsageRecord);
  await writer.flush();
  assert.equal(writer.dropped(), 2);
  writer.record({ ...MODEL_RECORD, model: "first" });
  await writer.flush();
  assert.deepEqual(select(path, "SELECT model FROM usage_models"), [{ model: "first" }]);
  assert.deepEqual(rollup(path, "usage_daily"), rawSums(path, DAY_MS));
});

test("rollups equal the sum of the raw rows, by hour and by day, over many batches", async (t) => {
  const { path, writer } = writerFor(t);
  const records = mixedRecords(3000);
  for (const [at, one] of records.entries()) {
    writer.record(one);
    if (at % 701 === 0) await writer.flush();
  }
  await writer.flush();
  assert.equal(writer.dropped(), 0);
  const hours = rawSums(path, HOUR_MS);
  assert.ok(hours.length > 50);
  assert.deepEqual(rollup(path, "usage_hourly"), hours);
  assert.deepEqual(rollup(path, "usage_daily"), rawSums(path, DAY_MS));
});

test("a full queue drops and counts, and recording never throws or waits", async (t) => {
  const { path, writer } = writerFor(t, { maxQueue: 700 });
  for (let n = 0; n < 1000; n++) writer.record(record);
  assert.equal(writer.queued(), 700);
  assert.equal(writer.dropped(), 300);
  await writer.flush();
  assert.equal(writer.queued(), 0);
  assert.deepEqual(select(path, "SELECT COUNT(*) AS n FROM usage"), [{ n: 700 }]);
  writer.record(record);
  assert.equal(writer.dropped(), 300);
});

test("records are written by the timer without anybody flushing", async (t) => {
  const { path, writer } = writerFor(t, { flushMs: 20 });
  writer.record(record);
  for (let n = 0; n < 200 && writer.queued() > 0; n++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(writer.queued(), 0);
  assert.deepEqual(select(path, "SELECT COUNT(*) AS n FROM usage"), [{ n: 1 }]);
});

test("close writes what waits; what comes later is counted as dropped", async (t) => {
  const { path, writer } = writerFor(t);
  writer.record(record);
  writer.record(record);
  await Promise.all([writer.close(), writer.close()]);
  assert.deepEqual(select(path, "SELECT COUNT(*) AS n FROM usage"), [{ n: 2 }]);
  writer.record(record);
  assert.equal(writer.dropped(), 1);
  await writer.flush();
});

test("retention deletes whole days in slices, raw rows and rollups alike", async (t) => {
  const { path, writer } = writerFor(t, { keepDays: 2 });
  const edge = Math.floor(NOW_MS / DAY_MS) * DAY_MS - 2 * DAY_MS;
  for (let n = 0; n < 1300; n++) writer.record({ ...record, atMs: edge - 1 - n * 1000 });
  writer.record({ ...record, atMs: edge });
  writer.record(record);
  await writer.close();
  // The next start looks for old usage at once; flush waits for that too.
  const next = startUsageWriter(path, { keepDays: 2, now: () => NOW_MS });
  await next.flush();
  await next.close();
  assert.deepEqual(select(path, "SELECT at_ms FROM usage ORDER BY at_ms"), [{ at_ms: edge }, { at_ms: NOW_MS }]);
  assert.deepEqual(rollup(path, "usage_hourly"), rawSums(path, HOUR_MS));
  assert.deepEqual(rollup(path, "usage_daily"), rawSums(path, DAY_MS));
});

test("a worker that dies is restarted once; records on their way are counted as lost", async (t) => {
  const dir = tempDir(t);
  const problems: string[] = [];
  chmodSync(dir, 0o755);
  const writer = startUsageWriter(join(dir, "usage.db"), {
    flushMs: 60_000,
    onProblem: (problem) => {
      problems.push(problem);
      chmodSync(dir, 0o700);
    },
  });
  t.after(() => writer.close());
  writer.record(record);
  await writer.flush();
  assert.match(problems.join("\n"), /mode 755 lets other users in; run: chmod 700/);
  assert.equal(writer.dropped(), 1);
  writer.record(record);
  await writer.flush();
  assert.equal(writer.dropped(), 1);
  assert.deepEqual(select(join(dir, "usage.db"), "SELECT COUNT(*) AS n FROM usage"), [{ n: 1 }]);
});

test("a database that stays unusable costs the records, not the proxy", async (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, "usage.db"), "this is not a database, and it is longer than one header is", { mode: 0o600 });
  const problems: string[] = [];
  const writer = startUsageWriter(join(dir, "usage.db"), { onProblem: (problem) => problems.push(problem) });
  t.after(() => writer.close());
  for (let n = 0; n < 3; n++) {
    writer.record(record);
    await writer.flush();
  }
  writer.record(record);
  assert.equal(writer.queued(), 0);
  assert.equal(writer.dropped(), 4);
  assert.match(problems.join("\n"), /usage\.db: is damaged; restore it from a backup/);
  assert.match(problems.join("\n"), /usage is not recorded any more/);
});

test("a batch that cannot be written is lost and counted, and the next one is written", async (t) => {
  const problems: string[] = [];
  const { path, writer } = writerFor(t, { onProblem: (problem) => problems.push(problem) });
  const broken = { ...record, host: undefined } as unknown as UsageRecord;
  writer.record(record);
  writer.record(broken);
  await writer.flush();
  assert.equal(writer.dropped(), 2);
  assert.equal(problems.length, 1);
  writer.record(record);
  await writer.flush();
  assert.deepEqual(select(path, "SELECT COUNT(*) AS n FROM usage"), [{ n: 1 }]);
  assert.deepEqual(rollup(path, "usage_daily"), rawSums(path, DAY_MS));
});

test("a file that is deleted while records come is made again and told about; later records are in the new one", async (t) => {
  const problems: string[] = [];
  const { path, writer } = writerFor(t, { onProblem: (problem) => problems.push(problem) });
  writer.record(record);
  await writer.flush();
  for (const suffix of ["", "-wal", "-shm"]) rmSync(`${path}${suffix}`, { force: true });
  writer.record({ ...record, client: "second" });
  await writer.flush();
  assert.deepEqual(select(path, "SELECT client FROM usage"), [{ client: "second" }]);
  assert.equal(problems.length, 1);
  assert.match(problems[0] ?? "", /usage\.db: was deleted or replaced/);
  assert.equal(writer.dropped(), 0);
});
