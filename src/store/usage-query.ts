import { existsSync } from "node:fs";
import { guard, openUsageDatabase } from "./database.ts";
import { DAY_MS, HOUR_MS, LATENCY_BOUNDS_MS, LATENCY_COLUMNS, ROLLUP_SUMS, USAGE_MIGRATIONS } from "./usage-schema.ts";

export type UsageGroup = "route" | "client" | "credential" | "provider" | "day" | "hour";

export interface UsageQuery {
  by: UsageGroup;
  /** Milliseconds since the epoch; rounded down to the full UTC hour (for `day`, the full day). */
  sinceMs: number;
}

export interface UsageRow {
  /** The name (`(none)` where there was none), or the start of the day (`2025-01-02`) or hour (`2025-01-02T03:00Z`). */
  key: string;
  requests: number;
  errors: number;
  denied: number;
  bytesUp: number;
  bytesDown: number;
  avgMs: number;
  /** Estimated from latency counts; 95 of 100 requests took at most about this. */
  p95Ms: number;
}

/** No configured name looks like this. */
const NO_NAME = "(none)";

type Sums = Record<string, number> & { key: string | number };

/**
 * Adds usage up by name or time, from rollups alone: cost does not grow with the number of requests.
 * Names come with the most requests first, times in order. Empty when usage.db does not exist yet.
 * @throws DatabaseError when the file cannot be used
 */
export function queryUsage(path: string, query: UsageQuery): UsageRow[] {
  if (!existsSync(path)) return [];
  const db = openUsageDatabase(path, USAGE_MIGRATIONS);
  try {
    const { sql, from } = selectFor(query);
    const sums = guard(path, () => db.prepare(sql).all(...from) as Sums[]);
    return sums.map((each) => rowOf(each, query.by));
  } finally {
    db.close();
  }
}

const SUMS = ROLLUP_SUMS.map((sum) => `SUM(${sum}) AS ${sum}`).join(", ");

function selectFor({ by, sinceMs }: UsageQuery): { sql: string; from: number[] } {
  const [hour, day] = [Math.floor(sinceMs / HOUR_MS) * HOUR_MS, Math.floor(sinceMs / DAY_MS) * DAY_MS];
  if (by === "day" || by === "hour") {
    const table = by === "day" ? "usage_daily" : "usage_hourly";
    const sql = `SELECT bucket AS key, ${SUMS} FROM ${table} WHERE bucket >= ? GROUP BY bucket ORDER BY bucket`;
    return { sql, from: [by === "day" ? day : hour] };
  }
  // Hours up to the first midnight, whole days after it: 90 days are about 90 buckets, not 2160.
  const midnight = hour === day ? day : day + DAY_MS;
  const columns = `${by}, ${ROLLUP_SUMS.join(", ")}`;
  const sql =
    `SELECT ${by} AS key, ${SUMS} FROM (` +
    `SELECT ${columns} FROM usage_hourly WHERE bucket >= ? AND bucket < ? ` +
    `UNION ALL SELECT ${columns} FROM usage_daily WHERE bucket >= ?` +
    `) GROUP BY key ORDER BY requests DESC, key`;
  return { sql, from: [hour, midnight, midnight] };
}

function rowOf(sums: Sums, by: UsageGroup): UsageRow {
  const requests = sums.requests ?? 0;
  return {
    key: keyOf(sums.key, by),
    requests,
    errors: sums.errors ?? 0,
    denied: sums.denied ?? 0,
    bytesUp: sums.bytes_up ?? 0,
    bytesDown: sums.bytes_down ?? 0,
    avgMs: requests === 0 ? 0 : (sums.total_us ?? 0) / 1000 / requests,
    p95Ms: percentile(
      LATENCY_COLUMNS.map((column) => sums[column] ?? 0),
      0.95,
    ),
  };
}

function keyOf(key: string | number, by: UsageGroup): string {
  if (typeof key === "string") return key === "" ? NO_NAME : key;
  const iso = new Date(key).toISOString();
  return by === "day" ? iso.slice(0, 10) : `${iso.slice(0, 16)}Z`;
}

/** Walks the counts to the one that holds the share and interpolates inside it, as Prometheus does. */
function percentile(counts: readonly number[], share: number): number {
  const rank = counts.reduce((sum, count) => sum + count, 0) * share;
  let below = 0;
  for (const [at, count] of counts.entries()) {
    const bound = LATENCY_BOUNDS_MS[at];
    if (bound === undefined) break;
    if (count > 0 && below + count >= rank) {
      const lower = LATENCY_BOUNDS_MS[at - 1] ?? 0;
      return lower + ((bound - lower) * (rank - below)) / count;
    }
    below += count;
  }
  // The open end has no bound to interpolate to; with no requests at all there is nothing to say.
  return rank === 0 ? 0 : (LATENCY_BOUNDS_MS.at(-1) ?? 0);
}

export interface CredentialUseQuery {
  readonly credential: string;
  /** One version alone: read from single requests instead of rollups. */
  readonly version?: number;
  /** Milliseconds since the epoch; rounded down to the full UTC hour. */
  readonly sinceMs: number;
}

/** Who used a credential on which route. */
export interface CredentialUse {
  readonly client: string;
  readonly route: string;
  readonly requests: number;
  /** Start of the hour of the last request, milliseconds since the epoch. */
  readonly lastMs: number;
}

/**
 * Who used a credential, the most requests first. Empty when usage.db does not exist yet.
 * @throws DatabaseError when the file cannot be used
 */
export function queryCredentialUse(path: string, query: CredentialUseQuery): CredentialUse[] {
  if (!existsSync(path)) return [];
  const since = Math.floor(query.sinceMs / HOUR_MS) * HOUR_MS;
  const db = openUsageDatabase(path, USAGE_MIGRATIONS);
  try {
    const rows = guard(path, () =>
      query.version === undefined
        ? db.prepare(USE_BY_ROLLUP).all(query.credential, since)
        : db.prepare(USE_BY_REQUEST).all(since, query.credential, query.version),
    ) as CredentialUse[];
    return rows.map((row) => ({ ...row, client: row.client || NO_NAME, route: row.route || NO_NAME }));
  } finally {
    db.close();
  }
}

const USE_BY_ROLLUP = `SELECT client, route, SUM(requests) AS requests, MAX(bucket) AS lastMs FROM usage_hourly
  WHERE credential = ? AND bucket >= ? GROUP BY client, route ORDER BY requests DESC, client, route`;
const USE_BY_REQUEST = `SELECT coalesce(client, '') AS client, coalesce(route, '') AS route, COUNT(*) AS requests,
  MAX(at_ms) / ${HOUR_MS} * ${HOUR_MS} AS lastMs FROM usage
  WHERE at_ms >= ? AND credential = ? AND version = ? GROUP BY 1, 2 ORDER BY requests DESC, 1, 2`;
