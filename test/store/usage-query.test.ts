import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { startUsageWriter } from "../../src/store/usage.ts";
import { queryCredentialUse, queryUsage } from "../../src/store/usage-query.ts";
import type { UsageRecord } from "../../src/store/usage-record.ts";
import { tempDir } from "../support/temp-dir.ts";

const MIDNIGHT = Date.UTC(2025, 4, 10);
const HOUR_MS = 3_600_000;

const record: UsageRecord = {
  atMs: MIDNIGHT,
  route: "fmp",
  provider: "fmp",
  credential: "fmp-main",
  version: 1,
  client: "app",
  user: null,
  form: "absolute",
  method: "GET",
  host: "api.example.test",
  path: "/",
  status: 200,
  outcome: "ok",
  denied: false,
  error: false,
  bytesUp: 10,
  bytesDown: 100,
  totalMs: 20,
  upstreamMs: 19,
  overheadMs: 1,
  waitMs: 0,
  attempts: 1,
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
      { key: "fmp", requests: 3, errors: 1, denied: 0, bytesUp: 30, bytesDown: 200, avgMs: 80 / 3 },
      { key: "(none)", requests: 1, errors: 0, denied: 1, bytesUp: 10, bytesDown: 100, avgMs: 20 },
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
