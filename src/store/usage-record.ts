/** Whether the provider told what was used, or it was worked out, or there was nothing to know. */
export type UsageQuality = "exact" | "estimated" | "none";

/** Tokens of one call, by what happened to them; no token is in two of them. */
export interface UsageTokens {
  readonly input: number;
  readonly cachedInput: number;
  readonly cacheWrite: number;
  readonly output: number;
  readonly reasoning: number;
}

/** The `priceTable` of a cost that came with the answer: no table knows better, so it is never worked out again. */
export const CHARGED_BY_PROVIDER = "provider";

/** What one exchange leaves in the usage log. Null where it never became known (a refused request has no credential). */
export interface UsageRecord {
  /** Arrival, milliseconds since the epoch. */
  readonly atMs: number;
  readonly route: string | null;
  readonly provider: string | null;
  readonly credential: string | null;
  readonly version: number | null;
  readonly client: string | null;
  readonly user: string | null;
  readonly form: string;
  readonly method: string;
  readonly host: string;
  /** Without the query, where several providers take their key. */
  readonly path: string;
  /** 0 when the client went before a status was sent. */
  readonly status: number;
  readonly outcome: string;
  /** Sidekey said no. Counted apart from `error`, never together. */
  readonly denied: boolean;
  /** The caller got no usable answer for another reason. */
  readonly error: boolean;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly totalMs: number;
  readonly upstreamMs: number | null;
  readonly overheadMs: number | null;
  readonly waitMs: number;
  readonly attempts: number;
  /** What was called, as the provider's dialect names it. */
  readonly operation: string | null;
  /** Kept to its first 128 characters: a client can ask for any name. */
  readonly model: string | null;
  readonly tier: string | null;
  readonly tokens: UsageTokens | null;
  /** Everything that was used, by unit; null when nothing was. What a later price table prices again. */
  readonly units: Readonly<Record<string, number>> | null;
  readonly quality: UsageQuality;
  /** The answer broke off, so more may have been used. */
  readonly partial: boolean;
  /** Nano-dollars; of a call that is `unpriced`, what the rest of it cost. Null when nothing had a price. */
  readonly costNano: number | null;
  /** Something was used that has no price: the cost is not known, which is not the same as 0. */
  readonly unpriced: boolean;
  /** Which price table the cost is from; `CHARGED_BY_PROVIDER` when the provider itself said it. */
  readonly priceTable: string | null;
  /** The provider's own limits as its answer told them, JSON. Longer than 500 characters is left out. */
  readonly limits: string | null;
  /** What the answer says of the credential, as the catalog reads it. */
  readonly meaning: string | null;
  /** Secrets that were taken out of the answer. */
  readonly scrubbed: number;
}

/** State of one limit's counter, as text that the limiter understands. */
export interface LimitStateRow {
  readonly key: string;
  readonly state: string;
}

/** What the writer sends its worker. Each message is answered by one `Ack` with its `id`. */
export type UsageMessage =
  /** `rows`: JSON of `UsageRow[]`. One text crosses the thread border at a fraction of what objects cost. */
  | { readonly kind: "batch"; readonly id: number; readonly count: number; readonly rows: string }
  | { readonly kind: "limits"; readonly id: number; readonly rows: readonly LimitStateRow[] }
  | { readonly kind: "sweep"; readonly id: number; readonly nowMs: number }
  | { readonly kind: "close"; readonly id: number };

export interface UsageAck {
  /** 0: about no message, only a problem to tell. */
  readonly id: number;
  /** Why the message could not be carried out, with the next step; null when it was. */
  readonly problem: string | null;
}

export interface UsageWorkerData {
  readonly path: string;
  readonly keepDays: number;
}

export type UsageColumn = string | number | null;
/**
 * A record in the order of USAGE_COLUMNS, up to the last column that is not as the table has it by default. Units are still
 * an object, the thread that writes makes them text.
 */
export type UsageRow = (UsageColumn | Readonly<Record<string, number>>)[];

/** What every request has comes first, what few have comes last: columns that are left out cost nothing to write. */
export const USAGE_COLUMNS = [
  "at_ms",
  "route",
  "provider",
  "credential",
  "version",
  "client",
  "user",
  "form",
  "method",
  "host",
  "path",
  "status",
  "outcome",
  "denied",
  "error",
  "bytes_up",
  "bytes_down",
  "total_us",
  "upstream_us",
  "overhead_us",
  "wait_us",
  "attempts",
  "operation",
  "quality",
  "units",
  "meaning",
  "limits",
  "cost_nano",
  "price_table",
  "unpriced",
  "scrubbed",
  "model",
  "tokens_input",
  "tokens_output",
  "tokens_cached_input",
  "tokens_reasoning",
  "tokens_cache_write",
  "tier",
  "partial",
] as const;

/** Defaults of the table, from the column `operation` on. */
const DEFAULTS: readonly UsageColumn[] = [
  null,
  "none",
  null,
  null,
  null,
  null,
  null,
  0,
  0,
  null,
  0,
  0,
  0,
  0,
  0,
  null,
  0,
];
const FIRST_DEFAULT = USAGE_COLUMNS.indexOf("operation");

/** Longest name of the answer's side that is kept, in characters. */
export const MAX_NAME = 128;
/** Longest JSON text of the provider's limits, in characters. */
const MAX_LIMITS = 500;
/** Most of one unit that one call can have used. More is a broken figure, and must not spoil sums. */
export const MAX_COUNT = 1e12;
/** Most that one call can have cost, 10 000 dollars. With it the sum of a batch of 500 is exact in a number. */
export const MAX_COST_NANO = 1e13;

/** Times become whole microseconds, so that sums stay exact. */
export function usageRow(record: UsageRecord): UsageRow {
  const row: UsageRow = [
    record.atMs,
    record.route,
    record.provider,
    record.credential,
    record.version,
    record.client,
    record.user,
    record.form,
    record.method,
    record.host,
    record.path,
    record.status,
    record.outcome,
    record.denied ? 1 : 0,
    record.error ? 1 : 0,
    record.bytesUp,
    record.bytesDown,
    microseconds(record.totalMs),
    record.upstreamMs === null ? null : microseconds(record.upstreamMs),
    record.overheadMs === null ? null : microseconds(record.overheadMs),
    microseconds(record.waitMs),
    record.attempts,
  ];
  if (saysMore(record)) addUse(row, record);
  return row;
}

function saysMore(record: UsageRecord): boolean {
  const { operation, units, model, meaning, limits, costNano } = record;
  if (operation !== null || units !== null || model !== null || meaning !== null || limits !== null) return true;
  return costNano !== null || record.quality !== "none" || record.unpriced || record.partial || record.scrubbed > 0;
}

function addUse(row: UsageRow, record: UsageRecord): void {
  row.push(
    shortName(record.operation),
    record.quality,
    record.units,
    shortName(record.meaning),
    // Half a JSON text tells nothing.
    record.limits === null || record.limits.length > MAX_LIMITS ? null : record.limits,
    record.costNano === null ? null : wholeUpTo(record.costNano, MAX_COST_NANO),
    shortName(record.priceTable),
    record.unpriced ? 1 : 0,
    wholeUpTo(record.scrubbed, MAX_COUNT),
  );
  const { tokens } = record;
  row.push(
    shortName(record.model),
    tokens === null ? 0 : wholeUpTo(tokens.input, MAX_COUNT),
    tokens === null ? 0 : wholeUpTo(tokens.output, MAX_COUNT),
    tokens === null ? 0 : wholeUpTo(tokens.cachedInput, MAX_COUNT),
    tokens === null ? 0 : wholeUpTo(tokens.reasoning, MAX_COUNT),
    tokens === null ? 0 : wholeUpTo(tokens.cacheWrite, MAX_COUNT),
    shortName(record.tier),
    record.partial ? 1 : 0,
  );
  while (row.length > FIRST_DEFAULT && row.at(-1) === DEFAULTS[row.length - 1 - FIRST_DEFAULT]) row.pop();
}

/** Whole, and from 0 to `most`, whatever it was: a figure that makes no sense must not cost the batch it is in. */
export function wholeUpTo(value: number, most: number): number {
  return value > 0 ? Math.min(Math.floor(value), most) : 0;
}

/**
 * A name of the answer's side as it is kept: at most 128 characters, null when it is empty. Well-formed, because the database
 * would replace half a surrogate pair, and names are compared with what it holds.
 */
export function shortName(text: string | null): string | null {
  if (text === null || text === "") return null;
  return (text.length <= MAX_NAME ? text : text.slice(0, MAX_NAME)).toWellFormed();
}

function microseconds(ms: number): number {
  return Math.round(ms * 1000);
}
