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
/** A record in the order of USAGE_COLUMNS. */
export type UsageRow = UsageColumn[];

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
] as const;

/** Times become whole microseconds, so that sums stay exact. */
export function usageRow(record: UsageRecord): UsageRow {
  return [
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
}

function microseconds(ms: number): number {
  return Math.round(ms * 1000);
}
