import { existsSync } from "node:fs";
import { guard, openUsageDatabase } from "./database.ts";
import type { UsageTokens } from "./usage-record.ts";
import {
  DAY_MS,
  HOUR_MS,
  LATENCY_BOUNDS_MS,
  LATENCY_COLUMNS,
  ROLLUP_SUMS,
  TOLD_SUMS,
  USAGE_MIGRATIONS,
} from "./usage-schema.ts";
import { SINGLE_REQUESTS } from "./usage-single.ts";

export type UsageGroup = "route" | "client" | "credential" | "provider" | "model" | "user" | "day" | "hour";

export interface UsageQuery {
  by: UsageGroup;
  /** Milliseconds since the epoch; rounded down to the full UTC hour (for `day`, the full day). */
  sinceMs: number;
  /** Milliseconds since the epoch, not part of it; rounded up to the full UTC hour (for `day`, the full day). Absent: until now. */
  untilMs?: number;
}

export interface UsageRow {
  /** The name (`(none)` where there was none), or the start of the day (`2025-01-02`) or hour (`2025-01-02T03:00Z`). */
  readonly key: string;
  readonly requests: number;
  readonly errors: number;
  readonly denied: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly avgMs: number;
  /** Estimated from latency counts; 95 of 100 requests took at most about this. */
  readonly p95Ms: number;
  /** At most 2^53 - 1 of each. */
  readonly tokens: UsageTokens;
  /** Nano-dollars of calls whose usage the provider told. */
  readonly exactNano: bigint;
  /** Nano-dollars of calls whose usage was worked out. */
  readonly estimatedNano: bigint;
  /** Calls whose usage is exact. */
  readonly exact: number;
  readonly estimated: number;
  /** Calls that used something without a price: what they cost is in no sum, as far as it is not known. */
  readonly unpriced: number;
  /** Calls whose answer broke off. */
  readonly partial: number;
}

export interface UsageReport {
  /** Names with the most requests first, times in order. */
  readonly rows: readonly UsageRow[];
  /** All rows together; its key is `total`. */
  readonly total: UsageRow;
}

/** No configured name looks like this. */
const NO_NAME = "(none)";
/** The last millisecond that a date can have. */
const END_OF_TIME_MS = 8.64e15;

type Sums = Readonly<Record<string, number>>;
type Keyed = Record<string, number | string> & { readonly key: string | number };

/**
 * Adds usage up by name or time, from rollups alone (by user, from single requests): cost does not grow with the number of
 * requests. Empty when usage.db does not exist yet.
 * @throws DatabaseError when the file cannot be used
 */
export function reportUsage(path: string, query: UsageQuery): UsageReport {
  const found = existsSync(path) ? selectSums(path, query) : [];
  const total: Record<string, number> = {};
  for (const { key: _, ...sums } of found) {
    for (const [name, sum] of Object.entries(sums)) total[name] = (total[name] ?? 0) + Number(sum);
  }
  return {
    rows: found.map(({ key, ...sums }) => rowOf(keyOf(key, query.by), sums as Sums)),
    total: rowOf("total", total),
  };
}

/** The rows of `reportUsage`. @throws DatabaseError when the file cannot be used */
export function queryUsage(path: string, query: UsageQuery): readonly UsageRow[] {
  return reportUsage(path, query).rows;
}

function selectSums(path: string, query: UsageQuery): Keyed[] {
  const db = openUsageDatabase(path, USAGE_MIGRATIONS);
  try {
    const { sql, values } = selectFor(query);
    return guard(path, () => db.prepare(sql).all(...values) as Keyed[]);
  } finally {
    db.close();
  }
}

/** Low bits of a sum that are added up apart from the rest. */
const LOW_BITS = 24;
const TOLD: ReadonlySet<string> = new Set(TOLD_SUMS);

/** Sums that can be huge are added up in two halves: SQLite's SUM fails beyond 2^63, and a number is exact up to 2^53. */
const SUMS = ROLLUP_SUMS.map((sum) =>
  TOLD.has(sum)
    ? `SUM(${sum} >> ${LOW_BITS}) AS ${sum}_high, SUM(${sum} & ${2 ** LOW_BITS - 1}) AS ${sum}_low`
    : `SUM(${sum}) AS ${sum}`,
).join(", ");

interface Select {
  readonly sql: string;
  readonly values: readonly number[];
}

function selectFor({ by, sinceMs, untilMs = END_OF_TIME_MS }: UsageQuery): Select {
  const step = by === "day" ? DAY_MS : HOUR_MS;
  const [since, until] = [Math.floor(sinceMs / step) * step, Math.ceil(untilMs / step) * step];
  if (by === "day" || by === "hour") {
    const table = by === "day" ? "usage_daily" : "usage_hourly";
    const sql = `SELECT bucket AS key, ${SUMS} FROM ${table} WHERE bucket >= ? AND bucket < ? GROUP BY bucket ORDER BY bucket`;
    return { sql, values: [since, until] };
  }
  const grouped = (from: string): string =>
    `SELECT ${by} AS key, ${SUMS} FROM (${from}) GROUP BY 1 ORDER BY requests DESC, key`;
  if (by === "user") return { sql: grouped(SINGLE_REQUESTS), values: [since, until] };
  // Hours to the first midnight, whole days, hours after the last midnight: 90 days are about 90 buckets, not 2160.
  const columns = `${by}, ${ROLLUP_SUMS.join(", ")}`;
  const part = (table: string): string => `SELECT ${columns} FROM ${table} WHERE bucket >= ? AND bucket < ?`;
  const [first, last] = [Math.ceil(since / DAY_MS) * DAY_MS, Math.floor(until / DAY_MS) * DAY_MS];
  if (first >= last) return { sql: grouped(part("usage_hourly")), values: [since, until] };
  const sql = grouped([part("usage_hourly"), part("usage_daily"), part("usage_hourly")].join(" UNION ALL "));
  return { sql, values: [since, first, first, last, last, until] };
}

function rowOf(key: string, sums: Sums): UsageRow {
  const requests = sums.requests ?? 0;
  return {
    key,
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
    tokens: {
      input: saturated(wide(sums, "tokens_input")),
      cachedInput: saturated(wide(sums, "tokens_cached_input")),
      cacheWrite: saturated(wide(sums, "tokens_cache_write")),
      output: saturated(wide(sums, "tokens_output")),
      reasoning: saturated(wide(sums, "tokens_reasoning")),
    },
    exactNano: wide(sums, "cost_exact_nano"),
    estimatedNano: wide(sums, "cost_estimated_nano"),
    exact: sums.exact ?? 0,
    estimated: sums.estimated ?? 0,
    unpriced: sums.unpriced ?? 0,
    partial: sums.partial ?? 0,
  };
}

function wide(sums: Sums, name: (typeof TOLD_SUMS)[number]): bigint {
  return (BigInt(sums[`${name}_high`] ?? 0) << BigInt(LOW_BITS)) + BigInt(sums[`${name}_low`] ?? 0);
}

function saturated(value: bigint): number {
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
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
