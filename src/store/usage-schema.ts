/** Upper bounds in ms of the latency counts that rollups keep, for a percentile without raw rows; one more is open. */
export const LATENCY_BOUNDS_MS: readonly number[] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000];
/** Columns `l0`, `l1`, ...: requests that took at most the bound of that index; the last one took longer. */
export const LATENCY_COLUMNS: readonly string[] = [...LATENCY_BOUNDS_MS, Number.POSITIVE_INFINITY].map(
  (_, n) => `l${n}`,
);

const KEYS_1 = ["route", "client", "credential", "provider", "outcome"] as const;
const SUMS_1: readonly string[] = [
  "requests",
  "errors",
  "denied",
  "bytes_up",
  "bytes_down",
  "total_us",
  ...LATENCY_COLUMNS,
];

/** Sums that come from what a provider says, and can be as large as it likes: they stop at `LARGEST_SUM`. */
export const TOLD_SUMS = [
  "tokens_input",
  "tokens_cached_input",
  "tokens_cache_write",
  "tokens_output",
  "tokens_reasoning",
  "cost_exact_nano",
  "cost_estimated_nano",
] as const;
/** 2^62: far above anything real, and two of them still fit SQLite's integer. */
export const LARGEST_SUM = "4611686018427387904";
/** Calls whose usage is exact or estimated, whose cost is not all known, and whose answer broke off. */
const CALL_COUNTS = ["exact", "estimated", "unpriced", "partial"] as const;

/** What a rollup row is for. An unknown name is '', because a primary key has no NULLs. The model comes last: it alone is no configured name. */
export const ROLLUP_KEYS = [...KEYS_1, "model"] as const;
/** What a rollup row adds up. Times are whole microseconds, money whole nano-dollars: sums of integers are exact in any order. */
export const ROLLUP_SUMS: readonly string[] = [...SUMS_1, ...TOLD_SUMS, ...CALL_COUNTS];

/** Models of one provider that rollups tell apart on one UTC day. Clients and providers make names up. */
export const MODELS_PER_DAY = 200;
/** What the models after these are called in rollups. */
export const OTHER_MODEL = "other";

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

function rollupTable(name: string, keys: readonly string[], sums: readonly string[]): string {
  return `
  CREATE TABLE ${name} (
    bucket INTEGER NOT NULL,
    ${keys.map((key) => `${key} TEXT NOT NULL,`).join("\n    ")}
    ${sums.map((sum) => `${sum} INTEGER NOT NULL,`).join("\n    ")}
    PRIMARY KEY (bucket, ${keys.join(", ")})
  ) STRICT, WITHOUT ROWID;`;
}

/** A primary key cannot be changed: the rows move to a new table, where nothing was used and no model is known. */
function withModel(name: string): string {
  const old = ["bucket", ...KEYS_1, ...SUMS_1];
  const added = [...TOLD_SUMS, ...CALL_COUNTS];
  return `
  ALTER TABLE ${name} RENAME TO ${name}_1;
  ${rollupTable(name, ROLLUP_KEYS, ROLLUP_SUMS)}
  INSERT INTO ${name} (${[...old, "model", ...added].join(", ")})
    SELECT ${old.join(", ")}, '', ${added.map(() => "0").join(", ")} FROM ${name}_1;
  DROP TABLE ${name}_1;`;
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
  ${rollupTable("usage_hourly", KEYS_1, SUMS_1)}
  ${rollupTable("usage_daily", KEYS_1, SUMS_1)}

  CREATE TABLE limit_state (
    key TEXT PRIMARY KEY,
    state TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  ALTER TABLE usage ADD COLUMN operation TEXT;
  ALTER TABLE usage ADD COLUMN model TEXT;
  ALTER TABLE usage ADD COLUMN tier TEXT;
  ALTER TABLE usage ADD COLUMN tokens_input INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN tokens_cached_input INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN tokens_cache_write INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN tokens_output INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN tokens_reasoning INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN units TEXT;
  ALTER TABLE usage ADD COLUMN quality TEXT NOT NULL DEFAULT 'none';
  ALTER TABLE usage ADD COLUMN partial INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN cost_nano INTEGER;
  ALTER TABLE usage ADD COLUMN unpriced INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE usage ADD COLUMN price_table TEXT;
  ALTER TABLE usage ADD COLUMN limits TEXT;
  ALTER TABLE usage ADD COLUMN meaning TEXT;
  ALTER TABLE usage ADD COLUMN scrubbed INTEGER NOT NULL DEFAULT 0;
  ${withModel("usage_hourly")}
  ${withModel("usage_daily")}

  CREATE TABLE usage_models (
    day INTEGER NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    PRIMARY KEY (day, provider, model)
  ) STRICT, WITHOUT ROWID;
  `,
];
