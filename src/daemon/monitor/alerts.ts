import type { Alert, AlertStore, Severity } from "../../store/alerts.ts";
import type { Log } from "../log.ts";
import { type AlertChange, AlertChanges } from "./alert-changes.ts";
import { ALERT_KIND_NAMES, type AlertKind } from "./alert-kinds.ts";

/** What comes back within this time after it was closed is the same alert again: its end is told only then. */
export const QUIET_MS = 5 * 60_000;
/** Alerts that are open at the same time; who causes more of them is known by then. */
export const MAX_OPEN = 1_000;
/** Of these only critical ones may take the last so many: notes of many users must not hide a stolen key. */
export const KEPT_FOR_CRITICAL = 200;
/** Closed ones whose end is still to be told. */
const MAX_CLOSING = 500;
/** How often counts are written: an alert that is raised with every request must not cost a write each. */
const WRITE_EVERY_MS = 5_000;

/** What somebody should look at. Raising it again while it is open only counts; both calls never throw. */
export interface Alerts {
  /**
   * @param object what it is about (`credential:fmp-main`)
   * @param message one sentence with the next step; never a secret
   * @param lapsesAt ms since the epoch: it closes then unless it is raised again
   */
  raise(kind: AlertKind, object: string, severity: Severity, message: string, lapsesAt?: number | null): void;
  /** It is well again. */
  clear(kind: AlertKind, object: string): void;
}

export interface AlertBook extends Alerts {
  /** Worst first, then oldest. */
  open(): readonly Alert[];
  /**
   * From now on told of every change, in order. A listener that throws is logged and told of the next one all the same.
   * @returns ends it
   * @throws Error beyond 16 listeners
   */
  subscribe(listener: (change: AlertChange) => void): () => void;
  /** How many of each kind were opened since the start. */
  opened(): ReadonlyMap<AlertKind, number>;
  /** Closes what has lapsed, tells the ends that are due and writes what is left to write. To be called every second. */
  look(): void;
  /** Writes what is left to write. */
  close(): void;
}

export interface AlertBookOptions {
  readonly store: AlertStore;
  /** `monitor.db`'s data version, so that another process's acknowledgement is noticed. */
  readonly dataVersion: () => number;
  readonly log: Pick<Log, "info" | "warn" | "error">;
  readonly now: () => number;
}

/** Keeps alerts in monitor.db, so that a restart neither forgets nor repeats them, and logs what changes. */
export function createAlerts(options: AlertBookOptions): AlertBook {
  const book = new Book(options);
  return {
    raise: (kind, object, severity, message, lapsesAt = null) =>
      book.raise(kind, object, { severity, message, lapsesAt }),
    clear: (kind, object) => book.clear(kind, object),
    open: () => book.open(),
    subscribe: (listener) => book.changes.subscribe(listener),
    opened: () => book.opened,
    look: () => book.look(),
    close: () => book.write(),
  };
}

interface Raised {
  readonly severity: Severity;
  readonly message: string;
  readonly lapsesAt: number | null;
}

class Book {
  readonly changes: AlertChanges;
  readonly opened = new Map<AlertKind, number>(ALERT_KIND_NAMES.map((kind) => [kind, 0]));
  readonly #options: AlertBookOptions;
  /** Authoritative: nobody but this process opens and closes alerts. */
  readonly #open = new Map<string, Alert>();
  /** Closed, but not told yet, oldest first. */
  readonly #closing = new Map<string, Alert>();
  /** Keys of what is not in monitor.db as it is here; true: what was acknowledged has become something else. */
  readonly #unwritten = new Map<string, boolean>();
  /** What kept monitor.db from being used, as it was last logged; empty once it could be written. */
  #problem = "";
  #full = false;
  #seen = -1;
  #writtenAt = Number.NEGATIVE_INFINITY;

  constructor(options: AlertBookOptions) {
    this.#options = options;
    this.changes = new AlertChanges(options.log);
    this.#attempt(() => {
      this.#seen = options.dataVersion();
      for (const alert of options.store.open()) this.#open.set(keyOf(alert.kind, alert.object), alert);
      for (const alert of options.store.untold()) this.#closing.set(keyOf(alert.kind, alert.object), alert);
    });
  }

  raise(kind: AlertKind, object: string, raised: Raised): void {
    const key = keyOf(kind, object);
    const nowMs = this.#options.now();
    const open = this.#open.get(key);
    const closing = this.#closing.get(key);
    if (open) this.#again(key, open, raised, nowMs);
    else if (closing && nowMs - (closing.closedAt ?? 0) < QUIET_MS) this.#reopen(key, closing, raised, nowMs);
    else {
      if (closing) this.#tellEnd(key, closing);
      this.#begin(kind, object, raised, nowMs);
    }
  }

  clear(kind: AlertKind, object: string): void {
    const key = keyOf(kind, object);
    const open = this.#open.get(key);
    if (!open) return;
    this.#open.delete(key);
    const [oldest] = this.#closing;
    if (oldest && this.#closing.size >= MAX_CLOSING) this.#tellEnd(...oldest);
    this.#put(key, { ...open, state: "closed", closedAt: this.#options.now() });
  }

  open(): readonly Alert[] {
    this.#takeOver();
    return [...this.#open.values()].sort(worstFirst);
  }

  look(): void {
    const nowMs = this.#options.now();
    this.#takeOver();
    for (const { kind, object, lapsesAt } of this.#open.values()) {
      if (lapsesAt !== null && lapsesAt <= nowMs) this.clear(kind as AlertKind, object);
    }
    for (const [key, alert] of this.#closing) {
      if (nowMs - (alert.closedAt ?? 0) >= QUIET_MS) this.#tellEnd(key, alert);
    }
    if (Math.abs(nowMs - this.#writtenAt) >= WRITE_EVERY_MS) this.write();
  }

  write(): void {
    this.#writtenAt = this.#options.now();
    for (const key of [...this.#unwritten.keys()]) if (!this.#write(key)) return;
  }

  #begin(kind: AlertKind, object: string, raised: Raised, nowMs: number): void {
    const room = raised.severity === "critical" ? MAX_OPEN : MAX_OPEN - KEPT_FOR_CRITICAL;
    const full = this.#open.size >= room;
    if (full && !this.#full) {
      const problem = `${this.#open.size} alerts are open, so no more are noted, such as ${kind} of ${object}; see \`sidekey alerts\``;
      this.#options.log.error("alerts", { problem });
    }
    this.#full = full;
    if (full) return;
    this.opened.set(kind, (this.opened.get(kind) ?? 0) + 1);
    const alert = this.#put(keyOf(kind, object), {
      id: 0,
      kind,
      object,
      state: "open",
      ...raised,
      count: 1,
      firstAt: nowMs,
      lastAt: nowMs,
      closedAt: null,
      acknowledgedAt: null,
      acknowledgedBy: null,
    });
    this.changes.tell({ what: "opened", alert });
  }

  /** It is open already. */
  #again(key: string, open: Alert, raised: Raised, nowMs: number): void {
    const next = this.#changed(key, open, raised, nowMs);
    if (next.severity === open.severity) {
      this.#open.set(key, next);
      if (!this.#unwritten.has(key)) this.#unwritten.set(key, false);
    } else this.changes.tell({ what: "severity", alert: this.#put(key, next), before: open.severity });
  }

  /** It was closed a moment ago; nobody has been told, so it is as if it had been open all the time. */
  #reopen(key: string, closing: Alert, raised: Raised, nowMs: number): void {
    this.#closing.delete(key);
    const next = this.#put(key, this.#changed(key, { ...closing, state: "open", closedAt: null }, raised, nowMs));
    const before = closing.severity;
    if (next.severity !== before) this.changes.tell({ what: "severity", alert: next, before });
  }

  /** What somebody has seen was not this bad: the acknowledgement goes. */
  #changed(key: string, before: Alert, { severity, message, lapsesAt }: Raised, nowMs: number): Alert {
    const next = { ...before, severity, message, lapsesAt, count: before.count + 1, lastAt: nowMs };
    if (RANK[severity] <= RANK[before.severity]) return next;
    this.#unwritten.set(key, true);
    return { ...next, acknowledgedAt: null, acknowledgedBy: null };
  }

  /** @returns the alert with the id that it has now */
  #put(key: string, alert: Alert): Alert {
    const there = alert.state === "open" ? this.#open : this.#closing;
    there.set(key, alert);
    if (!this.#unwritten.has(key)) this.#unwritten.set(key, false);
    this.#write(key);
    return there.get(key) ?? alert;
  }

  #tellEnd(key: string, alert: Alert): void {
    this.#write(key);
    const { id } = this.#closing.get(key) ?? alert;
    this.#closing.delete(key);
    this.#unwritten.delete(key);
    if (id !== 0) this.#attempt(() => this.#options.store.markTold(id));
    this.changes.tell({ what: "closed", alert: { ...alert, id } });
  }

  /** @returns false when monitor.db could not be written; it is tried again */
  #write(key: string): boolean {
    const there = this.#open.has(key) ? this.#open : this.#closing;
    const alert = there.get(key);
    const forgetAcknowledged = this.#unwritten.get(key);
    if (alert === undefined || forgetAcknowledged === undefined) return true;
    return this.#attempt(() => {
      there.set(key, { ...alert, id: this.#options.store.put(alert, { forgetAcknowledged }) });
      this.#unwritten.delete(key);
      this.#problem = "";
    });
  }

  /** What another process has acknowledged. */
  #takeOver(): void {
    this.#attempt(() => {
      const version = this.#options.dataVersion();
      if (version === this.#seen) return;
      for (const { id, kind, object, acknowledgedAt, acknowledgedBy } of this.#options.store.open()) {
        const key = keyOf(kind, object);
        const known = this.#open.get(key);
        if (known?.id === id && !this.#unwritten.get(key))
          this.#open.set(key, { ...known, acknowledgedAt, acknowledgedBy });
      }
      this.#seen = version;
    });
  }

  #attempt(work: () => void): boolean {
    try {
      work();
      return true;
    } catch (error) {
      const problem = error instanceof Error ? error.message : "monitor.db could not be used";
      // A disk that stays full would fill the log as well.
      if (problem !== this.#problem) this.#options.log.error("alerts", { problem });
      this.#problem = problem;
      return false;
    }
  }
}

const RANK: Readonly<Record<Severity, number>> = { info: 0, warning: 1, critical: 2 };

function worstFirst(a: Alert, b: Alert): number {
  if (a.severity !== b.severity) return RANK[b.severity] - RANK[a.severity];
  return a.firstAt - b.firstAt || (keyOf(a.kind, a.object) < keyOf(b.kind, b.object) ? -1 : 1);
}

function keyOf(kind: string, object: string): string {
  return `${kind}\n${object}`;
}
