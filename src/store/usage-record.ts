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
  | { readonly kind: "batch"; readonly id: number; readonly records: readonly UsageRecord[] }
  | { readonly kind: "limits"; readonly id: number; readonly rows: readonly LimitStateRow[] }
  | { readonly kind: "sweep"; readonly id: number; readonly nowMs: number }
  | { readonly kind: "close"; readonly id: number };

export interface UsageAck {
  readonly id: number;
  /** Why the message could not be carried out, with the next step; null when it was. */
  readonly problem: string | null;
}

export interface UsageWorkerData {
  readonly path: string;
  readonly keepDays: number;
}
