import assert from "node:assert/strict";
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { startUsageWriter } from "../../src/store/usage.ts";
import type { UsageRecord } from "../../src/store/usage-record.ts";
import { tempDir } from "../support/temp-dir.ts";
import {
  assertRollupsAgree,
  DAY_MS,
  MODEL_RECORD,
  USAGE_NOW_MS as NOW_MS,
  PLAIN_RECORD as record,
  selectUsage as select,
  usageWriter,
} from "../support/usage-fixture.ts";

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
  const { path, writer } = usageWriter(t);
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

test("rollups equal the sum of the raw rows, by hour and by day, over many batches", async (t) => {
  const { path, writer } = usageWriter(t);
  const records = mixedRecords(3000);
  for (const [at, one] of records.entries()) {
    writer.record(one);
    if (at % 701 === 0) await writer.flush();
  }
  await writer.flush();
  assert.equal(writer.dropped(), 0);
  assert.ok(assertRollupsAgree(path) > 50);
});

test("a full queue drops and counts, and recording never throws or waits", async (t) => {
  const { path, writer } = usageWriter(t, { maxQueue: 700 });
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
  const { path, writer } = usageWriter(t, { flushMs: 20 });
  writer.record(record);
  for (let n = 0; n < 200 && writer.queued() > 0; n++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(writer.queued(), 0);
  assert.deepEqual(select(path, "SELECT COUNT(*) AS n FROM usage"), [{ n: 1 }]);
});

test("close writes what waits; what comes later is counted as dropped", async (t) => {
  const { path, writer } = usageWriter(t);
  writer.record(record);
  writer.record(record);
  await Promise.all([writer.close(), writer.close()]);
  assert.deepEqual(select(path, "SELECT COUNT(*) AS n FROM usage"), [{ n: 2 }]);
  writer.record(record);
  assert.equal(writer.dropped(), 1);
  await writer.flush();
});

test("retention deletes whole days in slices, raw rows and rollups alike", async (t) => {
  const { path, writer } = usageWriter(t, { keepDays: 2 });
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
  assertRollupsAgree(path);
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
  const { path, writer } = usageWriter(t, { onProblem: (problem) => problems.push(problem) });
  const broken = { ...record, host: undefined } as unknown as UsageRecord;
  writer.record(record);
  writer.record(broken);
  await writer.flush();
  assert.equal(writer.dropped(), 2);
  assert.equal(problems.length, 1);
  writer.record(record);
  await writer.flush();
  assert.deepEqual(select(path, "SELECT COUNT(*) AS n FROM usage"), [{ n: 1 }]);
  assertRollupsAgree(path);
});

test("a file that is deleted while records come is made again and told about; later records are in the new one", async (t) => {
  const problems: string[] = [];
  const { path, writer } = usageWriter(t, { onProblem: (problem) => problems.push(problem) });
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
