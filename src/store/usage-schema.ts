/** Upper bounds in ms of the latency counts that rollups keep, for a percentile without raw rows; one more is open. */
export const LATENCY_BOUNDS_MS: readonly number[] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000];
/** Columns `l0`, `l1`, ...: requests that took at most the bound of that index; the last one took longer. */
export const LATENCY_COLUMNS: readonly string[] = [...LATENCY_BOUNDS_MS, Number.POSITIVE_INFINITY].map(
  (_, n) => `l${n}`,
);

/** What a rollup row is for. An unknown name is '', because a primary key has no NULLs. */
export const ROLLUP_KEYS = ["route", "client", "credential", "provider", "outcome"] as const;
/** What a rollup row adds up. Times are whole microseconds: sums of integers are exact in any order. */
export const ROLLUP_SUMS: readonly string[] = [
  "requests",
  "errors",
  "denied",
  "bytes_up",
  "bytes_down",
  "total_us",
  ...LATENCY_COLUMNS,
];

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

function rollupTable(name: string): string {
  return `
  CREATE TABLE ${name} (
    bucket INTEGER NOT NULL,
    ${ROLLUP_KEYS.map((key) => `${key} TEXT NOT NULL,`).join("\n    ")}
    ${ROLLUP_SUMS.map((sum) => `${sum} INTEGER NOT NULL,`).join("\n    ")}
    PRIMARY KEY (bucket, ${ROLLUP_KEYS.join(", ")})
  ) STRICT, WITHOUT ROWID;`;
}

/*
 * Schema of usage.db: entry n brings user_version n to n + 1. Entries are never edited once released, and
 * neither are the constants they are made of; a change is a new entry.
 */
export const USAGE_MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE usage (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    route TEXT,
    provider TEXT,
    credential TEXT,
    version INTEGER,
    client TEXT,
    user TEXT,
    form TEXT NOT NULL,
    method TEXT NOT NULL,
    host TEXT NOT NULL,
    path TEXT NOT NULL,
    status INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    denied INTEGER NOT NULL,
    error INTEGER NOT NULL,
    bytes_up INTEGER NOT NULL,
    bytes_down INTEGER NOT NULL,
    total_us INTEGER NOT NULL,
    upstream_us INTEGER,
    overhead_us INTEGER,
    wait_us INTEGER NOT NULL,
    attempts INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX usage_by_time ON usage (at_ms);
  ${rollupTable("usage_hourly")}
  ${rollupTable("usage_daily")}

  CREATE TABLE limit_state (
    key TEXT PRIMARY KEY,
    state TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
];
