import assert from "node:assert/strict";
import { join } from "node:path";
import type { TestContext } from "node:test";
import SQLite from "better-sqlite3";
import { startUsageWriter, type UsageOptions, type UsageWriter } from "../../src/store/usage.ts";
import type { UsageRecord } from "../../src/store/usage-record.ts";
import { ROLLUP_KEYS } from "../../src/store/usage-schema.ts";
import { tempDir } from "./temp-dir.ts";

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
export const USAGE_NOW_MS = Date.UTC(2025, 4, 10, 12, 30);

/** A request to a provider that says nothing of usage. */
export const PLAIN_RECORD: UsageRecord = {
  atMs: USAGE_NOW_MS,
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
  denied: false,
  error: false,
  bytesUp: 100,
  bytesDown: 2000,
  totalMs: 41.2501,
  upstreamMs: 40,
  overheadMs: 1.25,
  waitMs: 0,
  attempts: 1,
  operation: null,
  model: null,
  tier: null,
  tokens: null,
  units: null,
  quality: "none",
  partial: false,
  costNano: null,
  unpriced: false,
  priceTable: null,
  limits: null,
  meaning: null,
  scrubbed: 0,
};

/** A call of a model, as its provider told it. */
export const MODEL_RECORD: UsageRecord = {
  ...PLAIN_RECORD,
  route: "openai",
  provider: "openai",
  credential: "openai-main",
  operation: "chat",
  model: "gpt-4o-mini",
  tier: "flex",
  tokens: { input: 176, cachedInput: 1024, cacheWrite: 7, output: 230, reasoning: 120 },
  units: { request: 1, input: 176, cached_input: 1024, cache_write: 7, output: 230, reasoning: 120 },
  quality: "exact",
  costNano: 1_234_567,
  priceTable: "2025-05-01",
  limits: '{"requests":{"remaining":499}}',
  meaning: "ok",
};

/** A writer into an empty directory whose timer never fires by itself: tests flush. */
export function usageWriter(t: TestContext, options: UsageOptions = {}): { path: string; writer: UsageWriter } {
  const path = join(tempDir(t), "usage.db");
  const writer = startUsageWriter(path, { flushMs: 60_000, now: () => USAGE_NOW_MS, ...options });
  t.after(() => writer.close());
  return { path, writer };
}

/** All rows of a statement, read by a connection of its own. Integers beyond 2^53 come as bigint. */
export function selectUsage<T>(path: string, sql: string): T[] {
  const db = new SQLite(path, { readonly: true });
  try {
    return db.prepare(sql).safeIntegers().all().map(plainNumbers) as T[];
  } finally {
    db.close();
  }
}

function plainNumbers(row: unknown): unknown {
  const plain = (value: unknown): unknown =>
    typeof value === "bigint" && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
  return Object.fromEntries(Object.entries(row as object).map(([name, value]) => [name, plain(value)]));
}

/** The rollups are the sum of the single requests. Returns how many rows the hourly ones have. */
export function assertRollupsAgree(path: string): number {
  const hours = rawSums(path, HOUR_MS);
  assert.deepEqual(rollupRows(path, "usage_hourly"), hours);
  assert.deepEqual(rollupRows(path, "usage_daily"), rawSums(path, DAY_MS));
  return hours.length;
}

const SUMS = [
  "requests",
  "errors",
  "denied",
  "bytes_up",
  "bytes_down",
  "total_us",
  "tokens_input",
  "tokens_cached_input",
  "tokens_cache_write",
  "tokens_output",
  "tokens_reasoning",
  "cost_exact_nano",
  "cost_estimated_nano",
  "exact",
  "estimated",
  "unpriced",
  "partial",
].join(", ");

/** Sums of the single requests in the shape of a rollup table, so that the two can be compared as a whole. */
function rawSums(path: string, bucketMs: number): unknown[] {
  const names = ["route", "client", "credential", "provider", "outcome"].map(
    (key) => `coalesce(usage.${key}, '') AS ${key}`,
  );
  return selectUsage(
    path,
    `SELECT at_ms / ${bucketMs} * ${bucketMs} AS bucket, ${names.join(", ")},
       CASE WHEN usage.model IS NULL THEN '' WHEN known.model IS NULL THEN 'other' ELSE usage.model END AS model,
       COUNT(*) AS requests, SUM(error) AS errors, SUM(denied) AS denied, SUM(bytes_up) AS bytes_up,
       SUM(bytes_down) AS bytes_down, SUM(total_us) AS total_us,
       SUM(tokens_input) AS tokens_input, SUM(tokens_cached_input) AS tokens_cached_input,
       SUM(tokens_cache_write) AS tokens_cache_write, SUM(tokens_output) AS tokens_output,
       SUM(tokens_reasoning) AS tokens_reasoning,
       SUM(CASE WHEN quality = 'exact' THEN coalesce(cost_nano, 0) ELSE 0 END) AS cost_exact_nano,
       SUM(CASE WHEN quality <> 'exact' THEN coalesce(cost_nano, 0) ELSE 0 END) AS cost_estimated_nano,
       SUM(quality = 'exact') AS exact, SUM(quality = 'estimated') AS estimated,
       SUM(unpriced) AS unpriced, SUM(partial) AS partial
     FROM usage LEFT JOIN usage_models AS known ON known.day = at_ms / ${DAY_MS} * ${DAY_MS}
       AND known.provider = coalesce(usage.provider, '') AND known.model = usage.model
     GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7`,
  );
}

/** The same from a rollup table. */
function rollupRows(path: string, table: "usage_hourly" | "usage_daily"): unknown[] {
  const keys = ROLLUP_KEYS.join(", ");
  return selectUsage(path, `SELECT bucket, ${keys}, ${SUMS} FROM ${table} ORDER BY bucket, ${keys}`);
}
