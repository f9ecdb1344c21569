import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { openUsageDatabase } from "../../src/store/database.ts";
import { startUsageWriter } from "../../src/store/usage.ts";
import { queryCredentialUse, queryUsage, reportUsage, type UsageGroup } from "../../src/store/usage-query.ts";
import type { UsageRecord } from "../../src/store/usage-record.ts";
import { USAGE_MIGRATIONS } from "../../src/store/usage-schema.ts";
import { tempDir } from "../support/temp-dir.ts";
import { DAY_MS, HOUR_MS, MODEL_RECORD, PLAIN_RECORD } from "../support/usage-fixture.ts";

const MIDNIGHT = Date.UTC(2025, 4, 10);

const record: UsageRecord = {
  ...PLAIN_RECORD,
  atMs: MIDNIGHT,
  path: "/",
  bytesUp: 10,
  bytesDown: 100,
  totalMs: 20,
  upstreamMs: 19,
  overheadMs: 1,
};

const NOTHING_USED = {
  tokens: { input: 0, cachedInput: 0, cacheWrite: 0, output: 0, reasoning: 0 },
  exactNano: 0n,
  estimatedNano: 0n,
  exact: 0,
  estimated: 0,
  unpriced: 0,
  partial: 0,
};

async function written(t: TestContext, records: readonly UsageRecord[]): Promise<string> {
  const path = join(tempDir(t), "usage.db");
  const writer = startUsageWriter(path, { now: () => MIDNIGHT });
  for (const one of records) writer.record(one);
  await writer.close();
  return path;
}

test("a missing usage.db is no usage, and is not created", (t) => {
  const path = join(tempDir(t), "usage.db");
  assert.deepEqual(queryUsage(path, { by: "route", sinceMs: 0 }), []);
  assert.deepEqual(queryUsage(path, { by: "day", sinceMs: 0 }), []);
});

test("usage is added up by name, the busiest first, with unnamed requests as (none)", async (t) => {
  const path = await written(t, [
    record,
    { ...record, outcome: "upstream_timeout", error: true, status: 504, totalMs: 40, bytesDown: 0 },
    { ...record, client: "batch" },
    { ...record, route: null, client: null, outcome: "client_unknown", denied: true, status: 407 },
  ]);
  const byRoute = queryUsage(path, { by: "route", sinceMs: 0 });
  assert.deepEqual(
    byRoute.map(({ p95Ms: _, ...row }) => row),
    [
      { key: "fmp", requests: 3, errors: 1, denied: 0, bytesUp: 30, bytesDown: 200, avgMs: 80 / 3, ...NOTHING_USED },
      { key: "(none)", requests: 1, errors: 0, denied: 1, bytesUp: 10, bytesDown: 100, avgMs: 20, ...NOTHING_USED },
    ],
  );
  assert.deepEqual(
    queryUsage(path, { by: "client", sinceMs: 0 }).map(({ key, requests }) => [key, requests]),
    [
      ["app", 2],
      ["(none)", 1],
      ["batch", 1],
    ],
  );
});

test("days and hours come in order, in UTC", async (t) => {
  const path = await written(t, [
    record,
    { ...record, atMs: MIDNIGHT - 1 },
    { ...record, atMs: MIDNIGHT + 90 * 60_000 },
  ]);
  assert.deepEqual(
    queryUsage(path, { by: "day", sinceMs: 0 }).map(({ key, requests }) => [key, requests]),
    [
      ["2025-05-09", 1],
      ["2025-05-10", 2],
    ],
  );
  assert.deepEqual(
    queryUsage(path, { by: "hour", sinceMs: MIDNIGHT + 1 }).map(({ key }) => key),
    ["2025-05-10T00:00Z", "2025-05-10T01:00Z"],
  );
});

test("since is exact to the hour however hours and days are combined", async (t) => {
  const records = Array.from({ length: 96 }, (_, n) => ({
    ...record,
    atMs: MIDNIGHT - 2 * 24 * HOUR_MS + n * HOUR_MS,
  }));
  const path = await written(t, records);
  for (let hour = 0; hour <= 96; hour++) {
    const sinceMs = MIDNIGHT - 2 * 24 * HOUR_MS + hour * HOUR_MS + 59_000;
    const total = queryUsage(path, { by: "provider", sinceMs }).reduce((sum, row) => sum + row.requests, 0);
    assert.equal(total, Math.max(0, 96 - hour), `since hour ${hour}`);
  }
});

test("until is exact to the hour too, and since with until counts what lies between them alone", async (t) => {
  const begin = MIDNIGHT - DAY_MS;
  const records = Array.from({ length: 60 }, (_, n) => ({ ...record, atMs: begin + n * HOUR_MS }));
  const path = await written(t, records);
  const count = (since: number, until: number): number => {
    const range = { sinceMs: begin + since * HOUR_MS, untilMs: begin + until * HOUR_MS - 59_000 };
    return reportUsage(path, { by: "provider", ...range }).total.requests;
  };
  for (const since of [0, 1, 23, 24, 25, 47, 48, 59]) {
    for (const until of [0, 1, 2, 24, 25, 26, 48, 49, 60, 61]) {
      const expected = Math.max(0, Math.min(until, 60) - since);
      assert.equal(count(since, until), expected, `hours ${since} to ${until}`);
    }
  }
  const days = reportUsage(path, { by: "day", sinceMs: begin + 5, untilMs: begin + DAY_MS + 5 });
  assert.deepEqual(
    days.rows.map(({ key, requests }) => [key, requests]),
    [
      ["2025-05-09", 24],
      ["2025-05-10", 24],
    ],
  );
});

test("exact, estimated and unpriced calls are told apart, in every group and in the total", async (t) => {
  const path = await written(t, [
    { ...MODEL_RECORD, atMs: MIDNIGHT, costNano: 1_234_500_000 },
    { ...MODEL_RECORD, atMs: MIDNIGHT, quality: "estimated", costNano: 200_000_000, partial: true },
    { ...MODEL_RECORD, atMs: MIDNIGHT, model: "new-model", costNano: null, unpriced: true },
    { ...MODEL_RECORD, atMs: MIDNIGHT, model: null, tokens: null, units: null, quality: "none", costNano: null },
  ]);
  const told = {
    exactNano: 1_234_500_000n,
    estimatedNano: 200_000_000n,
    exact: 2,
    estimated: 1,
    unpriced: 1,
    partial: 1,
    tokens: { input: 528, cachedInput: 3072, cacheWrite: 21, output: 690, reasoning: 360 },
  };
  const groups: UsageGroup[] = ["route", "client", "credential", "provider", "user", "day", "hour"];
  for (const by of groups) {
    const { rows, total } = reportUsage(path, { by, sinceMs: 0 });
    assert.equal(rows.length, 1, by);
    for (const row of [...rows, total]) assert.partialDeepStrictEqual(row, { requests: 4, ...told }, by);
  }
  const { rows, total } = reportUsage(path, { by: "model", sinceMs: 0 });
  assert.partialDeepStrictEqual(total, told);
  assert.deepEqual(
    rows.map((row) => [row.key, row.exactNano, row.estimatedNano, row.unpriced, row.exact, row.estimated]),
    [
      ["gpt-4o-mini", 1_234_500_000n, 200_000_000n, 0, 1, 1],
      ["(none)", 0n, 0n, 0, 0, 0],
      ["new-model", 0n, 0n, 1, 1, 0],
    ],
  );
});

test("by user, single requests are added up to the same sums and latencies as rollups", async (t) => {
  const records = Array.from({ length: 400 }, (_, n) => ({
    ...(n % 3 === 0 ? record : MODEL_RECORD),
    atMs: MIDNIGHT + n * 60_000,
    user: n % 4 === 0 ? null : "u1",
    totalMs: [0, 5, 5.001, 30_000, 30_000.001, 700][n % 6] ?? 0,
    costNano: n % 5 === 0 ? null : n * 1_000_003,
    quality: (["exact", "estimated", "none"] as const)[n % 3] ?? "none",
    error: n % 7 === 0,
  }));
  const path = await written(t, records);
  const sinceMs = MIDNIGHT + 90 * 60_000;
  const [byUser, byHour] = (["user", "hour"] as const).map((by) => reportUsage(path, { by, sinceMs }));
  assert.deepEqual(byUser?.total, byHour?.total);
  assert.deepEqual(
    byUser?.rows.map(({ key, requests }) => [key, requests]),
    [
      ["u1", 255],
      ["(none)", 85],
    ],
  );
});

test("sums beyond 2^53 are told exactly, and beyond 2^63 without failing", async (t) => {
  const path = await written(t, [
    MODEL_RECORD,
    { ...MODEL_RECORD, route: "second" },
    { ...MODEL_RECORD, route: "third" },
  ]);
  const db = openUsageDatabase(path, USAGE_MIGRATIONS);
  db.exec("UPDATE usage_hourly SET cost_exact_nano = 9007199254740993, tokens_input = 9007199254740993");
  const [row] = queryUsage(path, { by: "hour", sinceMs: 0 });
  assert.equal(row?.exactNano, 3n * 9_007_199_254_740_993n);
  assert.equal(row?.tokens.input, Number.MAX_SAFE_INTEGER);
  db.exec("UPDATE usage_hourly SET cost_exact_nano = 4611686018427387904, tokens_input = 4611686018427387904");
  db.close();
  assert.equal(reportUsage(path, { by: "hour", sinceMs: 0 }).total.exactNano, 3n * 2n ** 62n);
});

test("the 95th percentile is within its latency class", async (t) => {
  const fast = Array.from({ length: 94 }, () => ({ ...record, totalMs: 8 }));
  const slow = Array.from({ length: 6 }, () => ({ ...record, totalMs: 700 }));
  const [row] = queryUsage(await written(t, [...fast, ...slow]), { by: "route", sinceMs: 0 });
  assert.ok(row !== undefined && row.p95Ms > 500 && row.p95Ms <= 1000, String(row?.p95Ms));
  const [endless] = queryUsage(await written(t, [{ ...record, totalMs: 90_000 }]), { by: "route", sinceMs: 0 });
  assert.equal(endless?.p95Ms, 30_000);
});

test("who used a credential is told by client and route, for one version too, and not from before", async (t) => {
  const path = await written(t, [
    { ...record, atMs: MIDNIGHT - HOUR_MS },
    record,
    { ...record, atMs: MIDNIGHT + HOUR_MS + 5, version: 2 },
    { ...record, client: "batch", route: null },
    { ...record, credential: "fmp-spare" },
    { ...record, credential: null, denied: true },
  ]);
  const credential = "fmp-main";
  assert.deepEqual(queryCredentialUse(path, { credential, sinceMs: MIDNIGHT + 1 }), [
    { client: "app", route: "fmp", requests: 2, lastMs: MIDNIGHT + HOUR_MS },
    { client: "batch", route: "(none)", requests: 1, lastMs: MIDNIGHT },
  ]);
  assert.deepEqual(queryCredentialUse(path, { credential, version: 2, sinceMs: 0 }), [
    { client: "app", route: "fmp", requests: 1, lastMs: MIDNIGHT + HOUR_MS },
  ]);
  assert.deepEqual(queryCredentialUse(path, { credential: "nobody", sinceMs: 0 }), []);
  assert.deepEqual(queryCredentialUse(join(tempDir(t), "usage.db"), { credential, sinceMs: 0 }), []);
});
