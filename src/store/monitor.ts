import { existsSync } from "node:fs";
import { join } from "node:path";
import { AlertStore } from "./alerts.ts";
import { type Database, guard, openMonitorDatabase } from "./database.ts";
import { MONITOR_MIGRATIONS } from "./monitor-schema.ts";
import { readProviderLimits, SHARED_PREFIX, type StoredLimits, writeProviderLimits } from "./provider-limit-rows.ts";

export const MONITOR_FILE = "monitor.db";

/** Checks that are kept of one credential. */
const KEPT_CHECKS = 100;
/** Longest detail, in characters. */
const MAX_TEXT = 500;

export const HEALTH_STATES = ["unknown", "valid", "invalid", "forbidden", "limited", "expiring", "expired"] as const;
export type HealthState = (typeof HEALTH_STATES)[number];

/** What is known of one version of a credential. Times are ms since the epoch. */
export interface Health {
  /** id of the credential */
  readonly credential: string;
  readonly version: number;
  readonly state: HealthState;
  readonly checkedAt: number | null;
  /** when it is to be checked again */
  readonly nextAt: number | null;
  /** what the provider said; null when it said nothing */
  readonly expiresAt: number | null;
  /** since when traffic is refused with 401 or 403 and no check has explained it */
  readonly suspectSince: number | null;
  /** one sentence for the operator */
  readonly detail: string;
}

/** One question to the provider and how its answer was read. */
export interface Check {
  readonly credential: string;
  readonly version: number;
  readonly at: number;
  /** who asked: `schedule`, `traffic`, `command`, `add`, `rotation` */
  readonly reason: string;
  readonly meaning: string;
  readonly status: number | null;
  readonly detail: string;
}

interface HealthRow {
  credential: string;
  version: number;
  state: string;
  checked_at: number | null;
  next_at: number | null;
  expires_at: number | null;
  suspect_since: number | null;
  detail: string;
}

/**
 * Opens monitor.db of the data directory, making it when it is missing. It holds no secret, and nothing that could not
 * be learnt again. Several processes may have it open.
 * @throws DatabaseError
 */
export function openMonitorStore(dataDir: string): MonitorStore {
  return new MonitorStore(openMonitorDatabase(join(dataDir, MONITOR_FILE), MONITOR_MIGRATIONS));
}

/**
 * Reads monitor.db, for a command that only shows; `missing` when there is none yet.
 * @throws DatabaseError
 */
export function readMonitor<T>(dataDir: string, read: (store: MonitorStore) => T, missing: T): T {
  if (!existsSync(join(dataDir, MONITOR_FILE))) return missing;
  const store = openMonitorStore(dataDir);
  try {
    return read(store);
  } finally {
    store.close();
  }
}

/** Every method may throw DatabaseError (disk full, locked by another process). */
export class MonitorStore {
  readonly alerts: AlertStore;
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
    this.alerts = new AlertStore(db);
  }

  close(): void {
    this.#db.close();
  }

  /** Changes when another process has written; cheap enough to poll. */
  dataVersion(): number {
    return this.#run(() => this.#db.pragma("data_version", { simple: true }) as number);
  }

  /** All of it, or that of one credential, by version. */
  health(credential?: string): Health[] {
    const where = credential === undefined ? "" : "WHERE credential = ?";
    const sql = `SELECT * FROM health ${where} ORDER BY credential, version`;
    return this.#run(() => {
      const rows = this.#db.prepare(sql).all(...(credential === undefined ? [] : [credential])) as HealthRow[];
      return rows.map(describeHealth);
    });
  }

  putHealth(health: Health): void {
    this.#run(() =>
      this.#db
        .prepare(
          `INSERT INTO health (credential, version, state, checked_at, next_at, expires_at, suspect_since, detail)
           VALUES (@credential, @version, @state, @checkedAt, @nextAt, @expiresAt, @suspectSince, @detail)
           ON CONFLICT (credential, version) DO UPDATE SET state = excluded.state, checked_at = excluded.checked_at,
             next_at = excluded.next_at, expires_at = excluded.expires_at,
             suspect_since = excluded.suspect_since, detail = excluded.detail`,
        )
        .run({ ...health, detail: bounded(health.detail) }),
    );
  }

  /** What was known of a credential no longer counts; its history stays. */
  forgetHealth(credential: string): void {
    this.#run(() => this.#db.prepare("DELETE FROM health WHERE credential = ?").run(credential));
  }

  /** Adds to the history; the oldest of the same credential go. */
  addCheck(check: Check): void {
    this.#run(() =>
      this.#db.transaction(() => {
        this.#db
          .prepare(
            `INSERT INTO checks (credential, version, at, reason, meaning, status, detail)
             VALUES (@credential, @version, @at, @reason, @meaning, @status, @detail)`,
          )
          .run({ ...check, detail: bounded(check.detail) });
        this.#db
          .prepare(
            `DELETE FROM checks WHERE credential = ? AND id NOT IN
               (SELECT id FROM checks WHERE credential = ? ORDER BY id DESC LIMIT ?)`,
          )
          .run(check.credential, check.credential, KEPT_CHECKS);
      })(),
    );
  }

  /** Newest first. */
  checks(credential: string, limit = KEPT_CHECKS): Check[] {
    const sql = `SELECT credential, version, at, reason, meaning, status, detail FROM checks
                 WHERE credential = ? ORDER BY id DESC LIMIT ?`;
    return this.#run(() => this.#db.prepare(sql).all(credential, limit) as Check[]);
  }

  /** Forgets credentials that are not among `existing` (ids). */
  keepOnly(existing: ReadonlySet<string>): void {
    this.#run(() =>
      this.#db.transaction(() => {
        for (const table of ["health", "checks", "notices", "provider_windows", "provider_holds"]) {
          const ids = this.#db.prepare(`SELECT DISTINCT credential FROM ${table}`).pluck().all() as string[];
          const forget = this.#db.prepare(`DELETE FROM ${table} WHERE credential = ?`);
          for (const id of ids) if (!existing.has(id) && !id.startsWith(SHARED_PREFIX)) forget.run(id);
        }
      })(),
    );
  }

  /** The providers' own limits as they were last told; all, or those of one credential. */
  providerLimits(credential?: string): StoredLimits[] {
    return this.#run(() => readProviderLimits(this.#db, credential));
  }

  putProviderLimits(limits: readonly StoredLimits[]): void {
    this.#run(() => writeProviderLimits(this.#db, limits));
  }

  /**
   * Notes that the notice for `days` before this expiry was given; a changed expiry begins anew.
   * @returns false when it had been given before
   */
  noticeOnce(credential: string, expiresAt: number, days: number, nowMs: number): boolean {
    const sql =
      "INSERT INTO notices (credential, expires_at, days, sent_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";
    return this.#run(() => this.#db.prepare(sql).run(credential, expiresAt, days, nowMs).changes > 0);
  }

  #run<T>(work: () => T): T {
    return guard(this.#db.name, work);
  }
}

function describeHealth(row: HealthRow): Health {
  const known = HEALTH_STATES.find((state) => state === row.state);
  return {
    credential: row.credential,
    version: row.version,
    state: known ?? "unknown",
    checkedAt: row.checked_at,
    nextAt: row.next_at,
    expiresAt: row.expires_at,
    suspectSince: row.suspect_since,
    detail: row.detail,
  };
}

function bounded(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 3)}...` : text;
}
