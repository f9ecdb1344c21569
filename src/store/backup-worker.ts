import { closeSync, constants, openSync, readSync, statSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import SQLite from "better-sqlite3";
import { type PlainRow, plainRow } from "./backup-format.ts";
import { sha256Hasher } from "./crypto.ts";
import { type Database, DatabaseError, guard } from "./database.ts";

/*
 * The thread that copies the databases for a backup, so that neither the copying nor the check delays a request.
 * `VACUUM INTO` copies one snapshot while others go on writing, without what was deleted, and only what the database
 * holds anyway: every secret in it is sealed.
 */

export interface SnapshotTask {
  /** each `from` is copied to `to`, which must not exist */
  readonly databases: readonly { readonly from: string; readonly to: string }[];
}

export interface CopiedFile {
  readonly bytes: number;
  /** hex */
  readonly sha256: string;
}

/** What the copy of vault.db says about itself; the first of the databases. */
export interface VaultFacts {
  readonly schema: number;
  readonly tables: Readonly<Record<string, number>>;
  readonly header: PlainRow;
  readonly wrappers: readonly PlainRow[];
}

export type SnapshotAnswer =
  | { readonly ok: true; readonly files: readonly CopiedFile[]; readonly facts: VaultFacts }
  | { readonly ok: false; readonly code: string; readonly path: string; readonly problem: string };

/** Milliseconds that a copy waits for a lock; there is none to wait for in WAL mode but recovery after a crash. */
const BUSY_TIMEOUT_MS = 5_000;
const READ_BYTES = 1024 * 1024;

function snapshot(task: SnapshotTask): SnapshotAnswer {
  const files = task.databases.map(({ from, to }) => {
    copyDatabase(from, to);
    return { bytes: statSync(to).size, sha256: hashFile(to) };
  });
  const first = task.databases[0];
  if (first === undefined) throw new Error("internal: no database to copy");
  return { ok: true, files, facts: readFacts(first.to) };
}

function copyDatabase(from: string, to: string): void {
  // Made here, because SQLite would make it readable for others.
  closeSync(openSync(to, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600));
  const source = guard(from, () => new SQLite(from, { readonly: true, fileMustExist: true, timeout: BUSY_TIMEOUT_MS }));
  try {
    guard(from, () => source.prepare("VACUUM INTO ?").run(to));
  } finally {
    source.close();
  }
  withCopy(to, (db) => {
    const result = db.pragma("integrity_check(1)", { simple: true });
    if (result !== "ok")
      throw new DatabaseError("corrupt", from, "is damaged: its copy fails SQLite's integrity check");
  });
}

function withCopy<T>(path: string, read: (db: Database) => T): T {
  return guard(path, () => {
    const db = new SQLite(path, { readonly: true, fileMustExist: true });
    try {
      return read(db);
    } finally {
      db.close();
    }
  });
}

function readFacts(path: string): VaultFacts {
  return withCopy(path, (db) => {
    const names = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").pluck().all();
    const tables: Record<string, number> = {};
    for (const name of names as string[]) {
      tables[name] = db
        .prepare(`SELECT count(*) FROM "${name.replaceAll('"', '""')}"`)
        .pluck()
        .get() as number;
    }
    const rows = (table: string): PlainRow[] =>
      (db.prepare(`SELECT * FROM ${table} ORDER BY id`).all() as Record<string, unknown>[]).map(plainRow);
    const [header] = rows("vault");
    if (header === undefined) throw new DatabaseError("corrupt", path, "has no header");
    return {
      schema: db.pragma("user_version", { simple: true }) as number,
      tables,
      header,
      wrappers: rows("wrappers"),
    };
  });
}

function hashFile(path: string): string {
  const hasher = sha256Hasher();
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  const fd = openSync(path, constants.O_RDONLY);
  try {
    for (;;) {
      const read = readSync(fd, buffer, 0, buffer.length, null);
      if (read === 0) return hasher.digest().toString("hex");
      hasher.update(buffer.subarray(0, read));
    }
  } finally {
    closeSync(fd);
  }
}

/** Errors do not keep their class on the way to another thread. */
function answerOf(error: unknown): SnapshotAnswer {
  if (error instanceof DatabaseError) {
    return { ok: false, code: error.code, path: error.path, problem: error.message.slice(error.path.length + 2) };
  }
  const { code = "io", message = "failed" } = error as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT") {
    return {
      ok: false,
      code: "full",
      path: "the temporary copy",
      problem: "the disk is full. Free some space and try again",
    };
  }
  return { ok: false, code: "io", path: "the temporary copy", problem: `${code}: ${message}` };
}

try {
  parentPort?.postMessage(snapshot(workerData as SnapshotTask));
} catch (error) {
  parentPort?.postMessage(answerOf(error));
}
