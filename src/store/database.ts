import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  renameSync,
  type Stats,
  statSync,
} from "node:fs";
import { basename, dirname } from "node:path";
import SQLite from "better-sqlite3";
import { VAULT_MIGRATIONS } from "./migrations.ts";

export type Database = SQLite.Database;
export type DatabaseErrorCode =
  | "missing"
  | "permissions"
  | "corrupt"
  | "too_new"
  | "read_only"
  | "full"
  | "busy"
  | "io"
  | "sqlite_too_old";

/** A database file that cannot be used right now. `message` names the file and the next step. */
export class DatabaseError extends Error {
  override readonly name = "DatabaseError";
  readonly code: DatabaseErrorCode;
  readonly path: string;

  constructor(code: DatabaseErrorCode, path: string, message: string, cause?: unknown) {
    super(`${path}: ${message}`, { cause });
    this.code = code;
    this.path = path;
  }
}

/** SQLite before this can corrupt a WAL database when one connection resets the log (sqlite.org/wal.html#walresetbug). */
const OLDEST_SQLITE = "3.51.3";
/** How long a writer waits for the other process's transaction, in ms. Transactions here take a few ms. */
const BUSY_TIMEOUT_MS = 5_000;
const VAULT_APPLICATION_ID = 0x534b5654;
const USAGE_APPLICATION_ID = 0x534b5553;
const MONITOR_APPLICATION_ID = 0x534b4d4e;

interface Kind {
  what: string;
  applicationId: number;
  synchronous: "FULL" | "NORMAL";
  migrations: readonly string[];
  /** compare sqlite_schema with the migrations: a planted trigger or view must not run inside our transactions */
  exactSchema: boolean;
}

/**
 * Opens vault.db: WAL, synchronous=FULL, secure_delete, mode 0600, schema brought up to date.
 * @param create make the file when it is missing (else that is an error)
 * @throws DatabaseError
 */
export function openVaultDatabase(path: string, options: { create?: boolean } = {}): Database {
  const kind: Kind = {
    what: "vault",
    applicationId: VAULT_APPLICATION_ID,
    synchronous: "FULL",
    migrations: VAULT_MIGRATIONS,
    exactSchema: true,
  };
  return openDatabase(path, kind, options.create ?? false);
}

/**
 * Opens usage.db, creating it when missing: as the vault, but synchronous=NORMAL, because losing the last
 * flush of usage in a power cut is allowed and a disk flush per batch is not needed.
 * @param migrations entry n brings user_version n to n + 1
 * @throws DatabaseError
 */
export function openUsageDatabase(path: string, migrations: readonly string[] = []): Database {
  const kind: Kind = {
    what: "usage database",
    applicationId: USAGE_APPLICATION_ID,
    synchronous: "NORMAL",
    migrations,
    exactSchema: false,
  };
  return openDatabase(path, kind, true);
}

/**
 * Opens monitor.db, creating it when missing; durable as usage.db is, for the same reason.
 * @throws DatabaseError
 */
export function openMonitorDatabase(path: string, migrations: readonly string[]): Database {
  const kind: Kind = {
    what: "monitor database",
    applicationId: MONITOR_APPLICATION_ID,
    synchronous: "NORMAL",
    migrations,
    exactSchema: false,
  };
  return openDatabase(path, kind, true);
}

function openDatabase(path: string, kind: Kind, create: boolean): Database {
  assertDirectoryPrivate(dirname(path));
  if (create) createEmptyFile(path);
  assertFilePrivate(path);
  const db = guard(path, () => new SQLite(path, { timeout: BUSY_TIMEOUT_MS, fileMustExist: true }));
  try {
    guard(path, () => {
      assertSqliteVersion(db.prepare("SELECT sqlite_version()").pluck().get() as string, path);
      // Before the first pragma that writes: a file that is not ours stays as it is.
      if (!(create && isEmpty(db))) assertKind(db, path, kind);
      applyPragmas(db, kind);
      migrate(db, path, kind);
      if (kind.exactSchema) assertSchema(db, path, kind);
    });
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** SQLite gives the -wal and -shm files the mode of the main file, so creating that one 0600 covers all three. */
function createEmptyFile(path: string): void {
  try {
    closeSync(openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600));
  } catch (error) {
    if (errno(error) !== "EEXIST") throw fileError(error, path);
  }
}

/** The schema is one transaction, so a file another process is just creating is either empty or complete. */
function isEmpty(db: Database): boolean {
  return db.prepare("SELECT count(*) FROM sqlite_schema").pluck().get() === 0;
}

function applyPragmas(db: Database, kind: Kind): void {
  db.pragma("trusted_schema = OFF");
  db.pragma("cell_size_check = ON");
  db.pragma("journal_mode = WAL");
  db.pragma(`synchronous = ${kind.synchronous}`);
  db.pragma("fullfsync = ON");
  db.pragma("foreign_keys = ON");
  db.pragma("secure_delete = ON");
  db.pragma("temp_store = MEMORY");
}

function assertKind(db: Database, path: string, kind: Kind): void {
  const found = db.pragma("application_id", { simple: true }) as number;
  if (found === kind.applicationId) return;
  throw new DatabaseError("corrupt", path, `this is not a sidekey ${kind.what}; ${remedy(path)}`);
}

/** usage.db and monitor.db hold nothing that cannot be done without. */
function remedy(path: string): string {
  const move = ["usage.db", "monitor.db"].includes(basename(path))
    ? `, or move it and its -wal file away to begin an empty one`
    : "";
  return `restore it from a backup${move}`;
}

function migrate(db: Database, path: string, kind: Kind): void {
  const latest = kind.migrations.length;
  const version = (): number => db.pragma("user_version", { simple: true }) as number;
  if (version() > latest) throw tooNew(path, version(), latest);
  if (version() === latest && latest > 0) return;
  db.transaction(() => {
    // Read again: another process may have migrated while this one waited for the lock.
    const from = version();
    if (from > latest) throw tooNew(path, from, latest);
    for (const sql of kind.migrations.slice(from)) db.exec(sql);
    db.pragma(`user_version = ${latest}`);
    if (from === 0) db.pragma(`application_id = ${kind.applicationId}`);
  }).immediate();
}

function tooNew(path: string, found: number, latest: number): DatabaseError {
  const text = `schema ${found} was written by a newer sidekey, this one knows up to ${latest}; upgrade sidekey, or restore a backup made by this version`;
  return new DatabaseError("too_new", path, text);
}

function assertSchema(db: Database, path: string, kind: Kind): void {
  const expected = new SQLite(":memory:");
  for (const sql of kind.migrations) expected.exec(sql);
  const read = (from: Database): Map<string, string> => {
    const rows = from.prepare("SELECT type || ' ' || name AS name, sql FROM sqlite_schema").all();
    return new Map((rows as { name: string; sql: string | null }[]).map((row) => [row.name, row.sql ?? ""]));
  };
  const [found, wanted] = [read(db), read(expected)];
  expected.close();
  for (const name of new Set([...found.keys(), ...wanted.keys()])) {
    if (found.get(name) === wanted.get(name)) continue;
    const text = `the schema object "${name}" is not what sidekey wrote; restore the file from a backup`;
    throw new DatabaseError("corrupt", path, text);
  }
}

/** @throws DatabaseError when SQLite is older than 3.51.3 */
export function assertSqliteVersion(version: string, path: string): void {
  if (version.localeCompare(OLDEST_SQLITE, "en", { numeric: true }) >= 0) return;
  const text = `SQLite ${version} may corrupt it, ${OLDEST_SQLITE} or newer is needed; run \`npm ci\``;
  throw new DatabaseError("sqlite_too_old", path, text);
}

/**
 * The directory that holds keys and databases must be ours and closed to everybody else.
 * @throws DatabaseError naming the command that repairs it
 */
export function assertDirectoryPrivate(directory: string): void {
  const stat = statOrThrow(directory, statSync);
  if (!stat.isDirectory()) throw new DatabaseError("permissions", directory, "is not a directory");
  assertPrivate(stat, directory, "700");
}

function assertFilePrivate(path: string): void {
  // lstat: SQLite would follow a planted link and create the -wal file beside its target.
  const stat = statOrThrow(path, lstatSync);
  if (!stat.isFile()) throw new DatabaseError("permissions", path, `is not a regular file; ${remedy(path)}`);
  assertPrivate(stat, path, "600");
}

/**
 * Owned by this user, without any access for group and others.
 * @param mode what the error tells the operator to chmod to
 * @throws DatabaseError
 */
export function assertPrivate(stat: Stats, path: string, mode: "600" | "700"): void {
  const us = process.geteuid?.();
  if (us === undefined) return;
  if (stat.uid !== us) {
    const text = `belongs to user ${stat.uid}, sidekey runs as user ${us}; run: chown ${us} ${path}`;
    throw new DatabaseError("permissions", path, text);
  }
  if ((stat.mode & 0o077) !== 0) {
    const found = (stat.mode & 0o777).toString(8);
    throw new DatabaseError("permissions", path, `mode ${found} lets other users in; run: chmod ${mode} ${path}`);
  }
}

function statOrThrow(path: string, read: (path: string) => Stats): Stats {
  try {
    return read(path);
  } catch (error) {
    throw fileError(error, path);
  }
}

/** Runs `fn`, turning SQLite's errors into DatabaseErrors; constraint violations and others pass through. */
export function guard<T>(path: string, fn: () => T): T {
  try {
    return fn();
  } catch (error) {
    throw describeSqliteError(error, path);
  }
}

function describeSqliteError(error: unknown, path: string): unknown {
  if (!(error instanceof SQLite.SqliteError)) return error;
  const code = error.code;
  const make = (kind: DatabaseErrorCode, text: string) => new DatabaseError(kind, path, text, error);
  if (/^SQLITE_(CORRUPT|NOTADB)/.test(code)) return make("corrupt", `is damaged; ${remedy(path)}`);
  // SHMSIZE: the -shm file could not be made larger.
  if (code === "SQLITE_FULL" || code === "SQLITE_IOERR_SHMSIZE") {
    return make("full", "the disk is full; nothing was changed. Free some space and try again");
  }
  if (/^SQLITE_(BUSY|LOCKED)/.test(code)) {
    return make(
      "busy",
      `another process kept it locked for ${BUSY_TIMEOUT_MS / 1000} s; nothing was changed. Try again`,
    );
  }
  const closed = /^SQLITE_(READONLY|PERM|AUTH)/.test(code) || (code.startsWith("SQLITE_CANTOPEN") && !writable(path));
  if (closed) return make("read_only", `cannot be written; make ${dirname(path)} writable for this user`);
  if (/^SQLITE_(IOERR|CANTOPEN|PROTOCOL)/.test(code)) return make("io", `${error.message} (${code}); check the disk`);
  return error;
}

/** Turns an error of node:fs into a DatabaseError that names the next step. */
export function fileError(error: unknown, path: string): unknown {
  const make = (kind: DatabaseErrorCode, text: string) => new DatabaseError(kind, path, text, error);
  const code = errno(error);
  if (code === undefined) return error;
  if (code === "ENOENT") return make("missing", "does not exist");
  if (code === "EACCES" || code === "EPERM" || code === "EROFS") {
    return make("read_only", `cannot be written (${code}); make ${dirname(path)} writable for this user`);
  }
  if (code === "ENOSPC" || code === "EDQUOT") return make("full", "the disk is full. Free some space and try again");
  return make("io", `${code}; check the disk`);
}

function errno(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}

function writable(path: string): boolean {
  try {
    accessSync(dirname(path), constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Gives `from` the name `to` unless that is taken: a link, unlike a rename, fails when somebody else was faster.
 * `from` may remain and is the caller's to remove.
 * @throws the EEXIST error of node:fs, or DatabaseError
 */
export function moveIntoPlace(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    const code = errno(error) ?? "";
    if (code === "EEXIST") throw error;
    // Some network and FUSE file systems have no hard links; the check leaves a small race there.
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(code) || existsSync(to)) throw fileError(error, to);
    renameSync(from, to);
  }
}

/** Makes a rename or a new name in `directory` survive a power cut. */
export function syncDirectory(directory: string): void {
  const fd = openSync(directory, constants.O_RDONLY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
