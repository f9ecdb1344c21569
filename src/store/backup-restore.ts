import { copyFileSync, existsSync, mkdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Secret } from "../secret.ts";
import { entryIsGenuine } from "./audit.ts";
import { readAnchor } from "./audit-anchor.ts";
import { type BackupCheck, checkVault, extractTo, openExtracted } from "./backup-check.ts";
import { BackupError } from "./backup-error.ts";
import type { Manifest } from "./backup-format.ts";
import type { OpenedBackup } from "./backup-read.ts";
import { ANCHOR, type AnchorChoice, RESTORED_CONFIG, removeUnfinished, swap, withDatabase } from "./backup-swap.ts";
import { assertDirectoryPrivate, fileError } from "./database.ts";
import { halfMadeName, removeHalfMade, sweepHalfMade } from "./half-made.ts";
import { VAULT_FILE, type Vault, type VaultOptions } from "./vault.ts";

export interface RestoreRequest {
  /** data directory to restore into */
  readonly directory: string;
  /** put the backup in the place of a vault that is there; its files are kept elsewhere */
  readonly replace: boolean;
  /** an anchor that was kept outside, to hold the backup against */
  readonly anchor?: string | null;
  readonly sample: number | "all";
  readonly actor: string;
  /** ms since the epoch */
  readonly now: () => number;
  /** @throws when a daemon serves the directory; asked before anything begins and once more before the swap */
  readonly assertIdle: () => Promise<void>;
  /** for tests */
  readonly vaultOptions?: VaultOptions;
}

export interface Restored {
  readonly manifest: Manifest;
  readonly check: BackupCheck;
  /** directory with the files that were there before; null when there were none */
  readonly kept: string | null;
  /** why the vault will start sealed: it is older than what this machine knew; null when it is not */
  readonly rollback: string | null;
  /** directory with the configuration files of the backup; null when it has none */
  readonly config: string | null;
  /** milliseconds: decrypting and writing the files; opening and checking the vault; putting it in place */
  readonly took: { readonly extract: number; readonly check: number; readonly place: number };
}

/**
 * Puts the vault of a backup in place. It is built and checked in a temporary directory inside `directory`; what was
 * there is then linked into `<directory>.before-restore-<time>`, and one rename of vault.db makes the change. Until then
 * nothing has changed, whatever happens. An anchor that knows of later entries stays: the vault then starts sealed as
 * rolled back.
 * @throws BackupError, DatabaseError, VaultSealedError; nothing has changed then
 */
export async function restoreBackup(
  backup: OpenedBackup,
  opened: { root: Secret; by: string },
  request: RestoreRequest,
): Promise<Restored> {
  const { directory } = request;
  await request.assertIdle();
  const made = prepareDirectory(directory);
  sweepHalfMade(directory);
  removeUnfinished(directory);
  const building = halfMadeName(join(directory, ".restore"));
  try {
    assertMayRestore(backup, request);
    mkdirOrThrow(building);
    const times = [performance.now()];
    const manifest = await extractTo(backup, opened.root, building);
    times.push(performance.now());
    const { check, anchor } = await finishVault(building, opened, manifest, request);
    await request.assertIdle();
    times.push(performance.now());
    const kept = swap(building, directory, anchor, request.now());
    const hasConfig = manifest.files.some(({ name }) => name.startsWith("config/"));
    const config = hasConfig ? join(directory, RESTORED_CONFIG) : null;
    const [extract = 0, checked = 0, place = 0] = times.map((from, at) => (times[at + 1] ?? performance.now()) - from);
    return { manifest, check, kept, rollback: anchor.rollback, config, took: { extract, check: checked, place } };
  } finally {
    removeHalfMade(building);
    if (made && !existsSync(join(directory, VAULT_FILE))) removeEmpty(directory);
  }
}

/** @returns whether it was made here */
function prepareDirectory(directory: string): boolean {
  if (existsSync(directory)) {
    assertDirectoryPrivate(directory);
    return false;
  }
  mkdirOrThrow(directory);
  return true;
}

function mkdirOrThrow(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw fileError(error, directory);
  }
}

function removeEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Somebody has put something there meanwhile.
  }
}

function assertMayRestore({ opening, name }: OpenedBackup, { directory, replace }: RestoreRequest): void {
  const there = vaultThere(directory);
  if (there !== null && there !== "unreadable" && there !== opening.vault) {
    const text = `${name}: foreign: it is a backup of vault ${opening.vault}, ${directory} holds vault ${there}`;
    throw new BackupError("foreign", text, "name another data directory with --data");
  }
  if (existsSync(join(directory, VAULT_FILE)) && !replace) {
    const next =
      "add --replace to put the backup in its place (its files are kept), or name an empty directory with --data";
    throw new BackupError("exists", `${directory} holds a vault`, next);
  }
}

/** The id of the vault in `directory`; null when there is no trace of one. */
function vaultThere(directory: string): string | "unreadable" | null {
  const path = join(directory, VAULT_FILE);
  if (!existsSync(path)) return anchorVault(join(directory, ANCHOR));
  return withDatabase(path, (db) => String(db.prepare("SELECT vault FROM vault").pluck().get())) ?? "unreadable";
}

function anchorVault(path: string): string | null {
  try {
    const { vault } = JSON.parse(readFileSync(path, "utf8")) as { vault?: unknown };
    return typeof vault === "string" ? vault : null;
  } catch {
    return null;
  }
}

/** Checks the extracted vault, notes the restore in its audit, and closes it so that vault.db alone is all of it. */
async function finishVault(
  building: string,
  opened: { root: Secret; by: string },
  manifest: Manifest,
  request: RestoreRequest,
): Promise<{ check: BackupCheck; anchor: AnchorChoice }> {
  const { actor, now } = request;
  const vault = await openExtracted(building, opened, { actor, now, ...request.vaultOptions });
  try {
    const check = checkVault(vault, request.sample);
    const anchor = chooseAnchor(vault, building, request);
    const detail = { epoch: manifest.epoch, seq: manifest.audit.seq, rollback: anchor.rollback !== null };
    vault.audit({ actor, action: "backup.restore", object: "vault", detail });
    return { check, anchor };
  } finally {
    vault.close();
  }
}

/**
 * The restored vault's own anchor, unless the one in the directory or the given one records an entry that the restored
 * audit does not have. One that these keys did not make counts as such: it may be of a later root key.
 */
function chooseAnchor(vault: Vault, building: string, request: RestoreRequest): AnchorChoice {
  const own = { path: join(building, ANCHOR), rollback: null };
  const candidates = [join(request.directory, ANCHOR), ...(request.anchor == null ? [] : [request.anchor])];
  let chosen: { choice: AnchorChoice; seq: number } | null = null;
  for (const path of candidates) {
    const problem = anchorAgainst(vault, building, path, path === request.anchor);
    if (problem === null || (chosen !== null && chosen.seq >= problem.seq)) continue;
    chosen = { choice: { path, rollback: problem.text }, seq: problem.seq };
  }
  return chosen?.choice ?? own;
}

function anchorAgainst(
  vault: Vault,
  building: string,
  path: string,
  given: boolean,
): { seq: number; text: string } | null {
  if (!existsSync(path)) {
    if (given) throw new BackupError("unreadable", `${path} does not exist`, "name the copy of audit.anchor");
    return null;
  }
  if (given && anchorVault(path) !== vault.id) {
    throw new BackupError(
      "foreign",
      `${path} is not an anchor of vault ${vault.id}`,
      "name the copy of its audit.anchor",
    );
  }
  // `readAnchor` wants a directory that holds it under its name.
  const beside = `${building}.anchor`;
  mkdirOrThrow(beside);
  try {
    copyFileSync(path, join(beside, ANCHOR));
    return vault.read(({ db, keys }) => {
      if (keys === null) throw new Error("internal: the restored vault is sealed");
      const anchor = readAnchor(beside, keys);
      if (anchor === "missing") return null;
      if (anchor === "foreign") {
        return { seq: Number.MAX_SAFE_INTEGER, text: `${path} was made with a later root key, or was edited` };
      }
      if (entryIsGenuine(db, keys, anchor.seq, anchor.hash)) return null;
      return { seq: anchor.seq, text: `${path} knows of entry ${anchor.seq}, which the backup does not have` };
    });
  } finally {
    rmSync(beside, { recursive: true, force: true });
  }
}
