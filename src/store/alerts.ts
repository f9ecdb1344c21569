import { type Database, guard } from "./database.ts";

export const SEVERITIES = ["info", "warning", "critical"] as const;
export type Severity = (typeof SEVERITIES)[number];

/** Closed alerts that are kept, the newest. */
export const KEPT_CLOSED = 500;
/** Longest message, in characters. */
const MAX_MESSAGE = 1000;

/** Something that somebody should look at, or had to. Times are ms since the epoch. */
export interface Alert {
  /** Never used again; 0 while it could not be stored. */
  readonly id: number;
  /** `credential_invalid`, `backup_failed`: what is wrong, from a closed set of its owner */
  readonly kind: string;
  /** `credential:fmp-main`: what it is about */
  readonly object: string;
  readonly severity: Severity;
  /** one sentence with the next step; never a secret */
  readonly message: string;
  readonly state: "open" | "closed";
  /** how often it was raised */
  readonly count: number;
  readonly firstAt: number;
  readonly lastAt: number;
  /** when it closes unless it is raised again; null when only the end of its cause closes it */
  readonly lapsesAt: number | null;
  readonly closedAt: number | null;
  /** when somebody said that it has been seen */
  readonly acknowledgedAt: number | null;
  readonly acknowledgedBy: string | null;
}

interface AlertRow {
  id: number;
  kind: string;
  object: string;
  severity: string;
  message: string;
  count: number;
  first_at: number;
  last_at: number;
  lapses_at: number | null;
  closed_at: number | null;
  acknowledged_at: number | null;
  acknowledged_by: string | null;
}

const WORST_FIRST = "CASE severity WHEN 'critical' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, first_at, kind, object";

/** The alerts in monitor.db. Every method may throw DatabaseError (disk full, locked by another process). */
export class AlertStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Worst first, then oldest. */
  open(): Alert[] {
    return this.#select(`SELECT * FROM alert_events WHERE closed_at IS NULL ORDER BY ${WORST_FIRST}`);
  }

  /** Closed ones, newest first. */
  closed(): Alert[] {
    return this.#select("SELECT * FROM alert_events WHERE closed_at IS NOT NULL ORDER BY closed_at DESC, id DESC");
  }

  /** Closed ones whose end has not been told yet, oldest first. */
  untold(): Alert[] {
    return this.#select("SELECT * FROM alert_events WHERE closed_at IS NOT NULL AND told = 0 ORDER BY closed_at, id");
  }

  /**
   * Stores what is new or has changed. Who acknowledged it is left as it is: another process writes that.
   * @param options.forgetAcknowledged it has become something else than what was seen
   * @returns its id
   */
  put(alert: Alert, options: { forgetAcknowledged?: boolean } = {}): number {
    const row = { ...alert, message: bounded(alert.message), forget: options.forgetAcknowledged === true ? 1 : 0 };
    return this.#run(() =>
      this.#db
        .transaction((): number => {
          const id = alert.id !== 0 && this.#update(row) ? alert.id : this.#insert(row);
          if (alert.closedAt !== null) this.#prune();
          return id;
        })
        .immediate(),
    );
  }

  /** The end of a closed alert has been told; it will not be told again. */
  markTold(id: number): void {
    this.#run(() => this.#db.prepare("UPDATE alert_events SET told = 1 WHERE id = ?").run(id));
  }

  /** Notes that somebody has seen an open alert. @returns `closed` when it is not open any more */
  acknowledge(id: number, by: string, nowMs: number): "done" | "closed" | "missing" {
    return this.#run(() =>
      this.#db
        .transaction((): "done" | "closed" | "missing" => {
          const found = this.#db.prepare("SELECT closed_at FROM alert_events WHERE id = ?").get(id);
          if (found === undefined) return "missing";
          if ((found as AlertRow).closed_at !== null) return "closed";
          const sql = "UPDATE alert_events SET acknowledged_at = ?, acknowledged_by = ? WHERE id = ?";
          this.#db.prepare(sql).run(nowMs, by, id);
          return "done";
        })
        .immediate(),
    );
  }

  #update(row: object): boolean {
    const sql = `UPDATE alert_events SET severity = @severity, message = @message, count = @count, last_at = @lastAt,
        lapses_at = @lapsesAt, closed_at = @closedAt, told = 0,
        acknowledged_at = CASE @forget WHEN 1 THEN NULL ELSE acknowledged_at END,
        acknowledged_by = CASE @forget WHEN 1 THEN NULL ELSE acknowledged_by END
      WHERE id = @id`;
    return this.#db.prepare(sql).run(row).changes > 0;
  }

  /** One that is open already under another id is taken over: there is never a second one of the same. */
  #insert(row: object): number {
    const sql = `INSERT INTO alert_events
        (kind, object, severity, message, count, first_at, last_at, lapses_at, closed_at)
      VALUES (@kind, @object, @severity, @message, @count, @firstAt, @lastAt, @lapsesAt, @closedAt)
      ON CONFLICT (kind, object) WHERE closed_at IS NULL DO UPDATE SET severity = excluded.severity,
        message = excluded.message, count = count + excluded.count, last_at = excluded.last_at,
        lapses_at = excluded.lapses_at
      RETURNING id`;
    return this.#db.prepare(sql).pluck().get(row) as number;
  }

  #prune(): void {
    const sql = `DELETE FROM alert_events WHERE closed_at IS NOT NULL AND id NOT IN
      (SELECT id FROM alert_events WHERE closed_at IS NOT NULL ORDER BY closed_at DESC, id DESC LIMIT ${KEPT_CLOSED})`;
    this.#db.prepare(sql).run();
  }

  #select(sql: string): Alert[] {
    return this.#run(() => (this.#db.prepare(sql).all() as AlertRow[]).map(describe));
  }

  #run<T>(work: () => T): T {
    return guard(this.#db.name, work);
  }
}

function describe(row: AlertRow): Alert {
  return {
    id: row.id,
    kind: row.kind,
    object: row.object,
    severity: SEVERITIES.find((known) => known === row.severity) ?? "info",
    message: row.message,
    state: row.closed_at === null ? "open" : "closed",
    count: row.count,
    firstAt: row.first_at,
    lastAt: row.last_at,
    lapsesAt: row.lapses_at,
    closedAt: row.closed_at,
    acknowledgedAt: row.acknowledged_at,
    acknowledgedBy: row.acknowledged_by,
  };
}

function bounded(text: string): string {
  return text.length > MAX_MESSAGE ? `${text.slice(0, MAX_MESSAGE - 3)}...` : text;
}
