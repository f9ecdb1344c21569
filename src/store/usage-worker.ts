import { statSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { type Database, guard, openUsageDatabase } from "./database.ts";
import { rollupModels } from "./usage-models.ts";
import {
  type LimitStateRow,
  USAGE_COLUMNS,
  type UsageAck,
  type UsageMessage,
  type UsageRow,
  type UsageWorkerData,
} from "./usage-record.ts";
import { rollUp, rollUpDays } from "./usage-rollup.ts";
import { DAY_MS, LARGEST_SUM, ROLLUP_KEYS, ROLLUP_SUMS, TOLD_SUMS, USAGE_MIGRATIONS } from "./usage-schema.ts";
import { unitsText } from "./usage-units.ts";

/*
 * The thread that owns usage.db, so that a slow disk never delays a request. It answers every message with
 * one ack; a failed write is an ack with a problem, and the thread goes on.
 */

/** Rows that one retention step deletes: a few ms of lock at most. */
const SLICE_ROWS = 500;
/** Pause between two steps, so that batches come first. */
const SLICE_PAUSE_MS = 20;

const AT_MS = USAGE_COLUMNS.indexOf("at_ms");
const PROVIDER = USAGE_COLUMNS.indexOf("provider");
const MODEL = USAGE_COLUMNS.indexOf("model");
const UNITS = USAGE_COLUMNS.indexOf("units");

function rollupSql(table: string): string {
  const columns = ["bucket", ...ROLLUP_KEYS, ...ROLLUP_SUMS];
  const told: ReadonlySet<string> = new Set(TOLD_SUMS);
  const add = ROLLUP_SUMS.map((sum) => {
    const whole = `${sum} + excluded.${sum}`;
    return `${sum} = ${told.has(sum) ? `min(${whole}, ${LARGEST_SUM})` : whole}`;
  }).join(", ");
  return (
    `INSERT INTO ${table} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")}) ` +
    `ON CONFLICT (bucket, ${ROLLUP_KEYS.join(", ")}) DO UPDATE SET ${add}`
  );
}

/** Binding a value is most of what an insert costs: one statement for each length that rows have. */
function rowInserter(db: Database): (row: UsageRow) => void {
  const byLength: (ReturnType<Database["prepare"]> | undefined)[] = [];
  return (row) => {
    let insert = byLength[row.length];
    if (insert === undefined) {
      const columns = USAGE_COLUMNS.slice(0, row.length);
      insert = db.prepare(`INSERT INTO usage (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})`);
      byLength[row.length] = insert;
    }
    insert.run(row);
  };
}

function prepare(db: Database) {
  const insert = rowInserter(db);
  const hourly = db.prepare(rollupSql("usage_hourly"));
  const daily = db.prepare(rollupSql("usage_daily"));
  const forgetLimits = db.prepare("DELETE FROM limit_state");
  const insertLimit = db.prepare("INSERT OR REPLACE INTO limit_state (key, state) VALUES (?, ?)");
  const expire = db.prepare(
    "DELETE FROM usage WHERE id IN (SELECT id FROM usage WHERE at_ms < ? ORDER BY at_ms LIMIT ?)",
  );
  const expireHours = db.prepare("DELETE FROM usage_hourly WHERE bucket < ?");
  const expireDays = db.prepare("DELETE FROM usage_daily WHERE bucket < ?");
  const expireModels = db.prepare("DELETE FROM usage_models WHERE day < ?");
  const models = rollupModels(db);
  const nameFor = (row: UsageRow): string =>
    models.nameFor(row[AT_MS] as number, row[PROVIDER] as string | null, (row[MODEL] ?? null) as string | null);
  const writeBatch = db.transaction((rows: readonly UsageRow[]) => {
    for (const row of rows) {
      const units = row[UNITS];
      if (typeof units === "object" && units !== null) row[UNITS] = unitsText(units);
      insert(row);
    }
    const hours = [...rollUp(rows, rows.map(nameFor))];
    for (const { bucket, keys, sums } of hours) hourly.run([bucket, ...keys, ...sums]);
    for (const { bucket, keys, sums } of rollUpDays(hours)) daily.run([bucket, ...keys, ...sums]);
  }).immediate;
  return {
    /** Raw rows and rollups in one transaction: after any crash the rollups are the sum of the rows. */
    writeBatch(rows: readonly UsageRow[]): void {
      try {
        writeBatch(rows);
      } catch (error) {
        models.forget();
        throw error;
      }
    },
    writeLimits: db.transaction((rows: readonly LimitStateRow[]) => {
      forgetLimits.run();
      for (const { key, state } of rows) insertLimit.run(key, state);
    }).immediate,
    /** One step; true when nothing before `beforeMs` is left. The rollups go with the last rows. */
    expireSlice: db.transaction((beforeMs: number): boolean => {
      const { changes } = expire.run(beforeMs, SLICE_ROWS);
      if (changes === SLICE_ROWS) return false;
      expireHours.run(beforeMs);
      expireDays.run(beforeMs);
      expireModels.run(beforeMs);
      return true;
    }).immediate,
  };
}

interface OpenFile {
  readonly db: Database;
  readonly statements: ReturnType<typeof prepare>;
  readonly identity: string | null;
}

function openFile(path: string): OpenFile {
  const db = guard(path, () => openUsageDatabase(path, USAGE_MIGRATIONS));
  return { db, statements: prepare(db), identity: identityOf(path) };
}

/** Null when nothing has the name. */
function identityOf(path: string): string | null {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? null : `${stat.dev}:${stat.ino}`;
}

function serve(port: NonNullable<typeof parentPort>, { path, keepDays }: UsageWorkerData): void {
  let opened: OpenFile | null = openFile(path);
  let closing = false;

  /** Somebody may delete or replace the file; what is written into one without a name is lost without an error. */
  function file(): OpenFile {
    if (opened !== null && opened.identity === identityOf(path)) return opened;
    opened?.db.close();
    opened = null;
    opened = openFile(path);
    const problem = `${path}: was deleted or replaced while sidekey was running; usage goes on in the file there now`;
    port.postMessage({ id: 0, problem } satisfies UsageAck);
    return opened;
  }

  function attempt(id: number, work: () => void): void {
    let problem: string | null = null;
    try {
      guard(path, work);
    } catch (error) {
      problem = error instanceof Error ? error.message : "unknown failure";
    }
    port.postMessage({ id, problem } satisfies UsageAck);
  }

  /** Whole UTC days only, so that raw rows, hours and days always end at the same edge. */
  function sweep(id: number, nowMs: number): void {
    const beforeMs = (Math.floor(nowMs / DAY_MS) - keepDays) * DAY_MS;
    const step = (): void => {
      try {
        if (!closing && !file().statements.expireSlice(beforeMs)) {
          setTimeout(step, SLICE_PAUSE_MS);
          return;
        }
        port.postMessage({ id, problem: null } satisfies UsageAck);
      } catch (error) {
        attempt(id, () => {
          throw error;
        });
      }
    };
    step();
  }

  port.on("message", (message: UsageMessage) => {
    if (message.kind === "batch")
      attempt(message.id, () => file().statements.writeBatch(JSON.parse(message.rows) as UsageRow[]));
    else if (message.kind === "limits") attempt(message.id, () => file().statements.writeLimits(message.rows));
    else if (message.kind === "sweep") sweep(message.id, message.nowMs);
    else {
      closing = true;
      attempt(message.id, () => void opened?.db.close());
      port.close();
    }
  });
}

if (parentPort !== null) serve(parentPort, workerData as UsageWorkerData);
