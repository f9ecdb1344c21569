import { copyFileSync, existsSync, linkSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import SQLite from "better-sqlite3";
import { BackupError } from "./backup-error.ts";
import { DatabaseError, fileError, guard, syncDirectory } from "./database.ts";
import { VAULT_FILE } from "./vault.ts";

/*
 * The last step of a restore. Files keep their directory, which may be a mount: what will be replaced is linked into
 * another one first, then new files take the names. vault.db is the one that counts, and it changes in one rename.
 */

export const ANCHOR = "audit.anchor";
export const RESTORED_CONFIG = "restored-config";
const USAGE = "usage.db";
const CONFIG = "config";
const ROOT_KEY = "root.key";
const KEPT = ".before-restore-";
/** How long another process that still has the old vault open is waited for, in ms. */
const LOCK_TIMEOUT_MS = 2_000;

/** Which anchor is to be in place afterwards. */
export interface AnchorChoice {
  /** the one of the restored vault, or one that knows of later entries */
  readonly path: string;
  /** why the restored vault counts as rolled back; null when it does not */
  readonly rollback: string | null;
}

/**
 * Puts what was built into `directory`.
 * @param building directory with vault.db, audit.anchor and perhaps usage.db and config/, on the same file system
 * @returns the directory with the files that were replaced; null when there were none
 * @throws BackupError in_use; DatabaseError
 */
export function swap(building: string, directory: string, anchor: AnchorChoice, nowMs: number): string | null {
  const target = join(directory, VAULT_FILE);
  if (existsSync(target)) takeExclusively(target);
  let kept: string | null = null;
  try {
    kept = keepFiles(directory, existsSync(join(building, USAGE)), nowMs);
    if (anchor.path !== join(directory, ANCHOR)) placeAll(building, directory, anchor);
    else place(building, directory, VAULT_FILE);
    syncDirectory(directory);
    return kept;
  } catch (error) {
    if (kept !== null) removeUnfinished(directory);
    throw fileError(error, directory);
  }
}

/** With an anchor of its own. A vault may be ahead of its anchor, but must have one: the first comes first, a later one last. */
function placeAll(building: string, directory: string, anchor: AnchorChoice): void {
  // Copied: the chosen one may be the operator's own file.
  if (anchor.path !== join(building, ANCHOR)) copyFileSync(anchor.path, join(building, ANCHOR));
  const first = !existsSync(join(directory, ANCHOR));
  if (first) renameSync(join(building, ANCHOR), join(directory, ANCHOR));
  place(building, directory, VAULT_FILE);
  if (!first) renameSync(join(building, ANCHOR), join(directory, ANCHOR));
}

function place(building: string, directory: string, name: string): void {
  if (existsSync(join(building, CONFIG))) {
    rmSync(join(directory, RESTORED_CONFIG), { recursive: true, force: true });
    renameSync(join(building, CONFIG), join(directory, RESTORED_CONFIG));
  }
  for (const each of [USAGE, name]) {
    if (!existsSync(join(building, each))) continue;
    // A log left beside the new file would be replayed into it.
    for (const suffix of ["-wal", "-shm", "-journal"]) rmSync(join(directory, `${each}${suffix}`), { force: true });
    renameSync(join(building, each), join(directory, each));
  }
}

/** Makes sure that nobody else has the old vault open, and that vault.db alone is all of it. */
function takeExclusively(path: string): void {
  const inUse = new BackupError("in_use", `${path} is open in another process`, "stop it, then run this again");
  try {
    const mode = withDatabase(path, (db) => db.pragma("journal_mode = DELETE", { simple: true }));
    if (mode !== null && mode !== "delete") throw inUse;
  } catch (error) {
    throw error instanceof DatabaseError && error.code === "busy" ? inUse : error;
  }
}

/** Null when the file is no database that can be read: a damaged vault is a reason to restore one. */
export function withDatabase<T>(path: string, read: (db: SQLite.Database) => T): T | null {
  let db: SQLite.Database | null = null;
  try {
    return guard(path, () => {
      db = new SQLite(path, { fileMustExist: true, timeout: LOCK_TIMEOUT_MS });
      return read(db);
    });
  } catch (error) {
    const unreadable = error instanceof DatabaseError && ["corrupt", "io"].includes(error.code);
    if (!unreadable && !(error instanceof SQLite.SqliteError)) throw error;
    return null;
  } finally {
    (db as SQLite.Database | null)?.close();
  }
}

/** Links what will be replaced, and the key that opens it, into a directory beside, or inside where that cannot be. */
function keepFiles(directory: string, usageToo: boolean, nowMs: number): string | null {
  const wanted = [VAULT_FILE, ...(usageToo ? [USAGE] : [])];
  const replaced = readdirSync(directory).filter((name) => {
    const base = name.replace(/-(?:wal|shm|journal)$/, "");
    return name === ANCHOR || wanted.includes(base);
  });
  if (replaced.length === 0) return null;
  const names = [...replaced, ...(existsSync(join(directory, ROOT_KEY)) ? [ROOT_KEY] : [])];
  const label = `${KEPT}${new Date(nowMs).toISOString().replace(/[-:.]/g, "")}`;
  try {
    return linkAll(directory, `${directory}${label}`, names);
  } catch (error) {
    if (!["EXDEV", "EACCES", "EPERM", "EROFS"].includes(codeOf(error))) throw error;
    return linkAll(directory, join(directory, label), names);
  }
}

function linkAll(from: string, to: string, names: readonly string[]): string {
  mkdirSync(to, { mode: 0o700 });
  try {
    for (const name of names) linkOrCopy(join(from, name), join(to, name));
    syncDirectory(to);
    syncDirectory(dirname(to));
    return to;
  } catch (error) {
    rmSync(to, { recursive: true, force: true });
    throw error;
  }
}

/** Some network and FUSE file systems have no hard links. */
function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(codeOf(error))) throw error;
    copyFileSync(from, to);
  }
}

/** A kept directory whose files are all still the ones in use belongs to a restore that did not happen. */
export function removeUnfinished(directory: string): void {
  const places = [dirname(directory), directory];
  for (const place of places) {
    const prefix = place === directory ? KEPT : `${basename(directory)}${KEPT}`;
    for (const name of namesIn(place)) {
      const kept = join(place, name);
      if (!name.startsWith(prefix)) continue;
      const unchanged = namesIn(kept).every((each) => sameFile(join(kept, each), join(directory, each)));
      if (unchanged) rmSync(kept, { recursive: true, force: true });
    }
  }
}

/** The directory above may be closed to us. */
function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function sameFile(a: string, b: string): boolean {
  const [first, second] = [a, b].map((path) => statSync(path, { throwIfNoEntry: false }));
  return first !== undefined && second !== undefined && first.ino === second.ino && first.dev === second.dev;
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
