import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import SQLite from "better-sqlite3";
import { entryIsGenuine, readHead } from "./audit.ts";
import { writeAnchor } from "./audit-anchor.ts";
import { BackupError } from "./backup-error.ts";
import { isContainedName, type ManifestFile } from "./backup-format.ts";
import type { SnapshotAnswer, SnapshotTask, VaultFacts } from "./backup-worker.ts";
import { constantTimeEqual, sha256 } from "./crypto.ts";
import { DatabaseError, type DatabaseErrorCode, fileError, guard } from "./database.ts";
import { VaultTamperedError } from "./errors.ts";
import { headerFits, type Keyring } from "./keyring.ts";
import { markOf } from "./ledger-check.ts";
import { stateDigest } from "./rows.ts";

/** A file beside the databases, by the name it gets in the backup. */
export interface ExtraFile {
  readonly name: string;
  readonly path: string;
}

/** A consistent copy of a data directory, made while others go on writing. */
export interface Snapshot {
  readonly facts: VaultFacts;
  readonly files: readonly (ManifestFile & { readonly path: string })[];
}

/** Largest extra file: configuration is small. */
const MAX_EXTRA_BYTES = 1024 * 1024;

const CONFIG_NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]*\.(?:ya?ml|json|pem|crt)$/;

/**
 * The configuration files below `directory` (YAML, JSON, certificates; never a key file), as extra files `config/...`.
 * Links are followed, because orchestrators mount configuration as links.
 */
export function configFiles(directory: string, below = "config", depth = 4): ExtraFile[] {
  const found: ExtraFile[] = [];
  for (const name of readdirSync(directory).sort()) {
    const [path, inside] = [join(directory, name), `${below}/${name}`];
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat?.isFile() && CONFIG_NAME.test(name)) found.push({ name: inside, path });
    if (stat?.isDirectory() && depth > 0 && isContainedName(inside))
      found.push(...configFiles(path, inside, depth - 1));
  }
  return found;
}

/**
 * Copies vault.db, and usage.db if asked for and there, into `work` (made here, 0700).
 * @throws DatabaseError; BackupError stopped
 */
export async function takeSnapshot(
  directory: string,
  work: string,
  options: { usage: boolean; extra: readonly ExtraFile[]; signal?: AbortSignal | undefined },
): Promise<Snapshot> {
  try {
    mkdirSync(work, { mode: 0o700 });
  } catch (error) {
    throw fileError(error, work);
  }
  const names = ["vault.db", ...(options.usage && existsSync(join(directory, "usage.db")) ? ["usage.db"] : [])];
  const databases = names.map((name) => ({ from: join(directory, name), to: join(work, name) }));
  const { files, facts } = await runWorker({ databases }, options.signal);
  const copied = files.map((file, at) => ({ ...file, name: names[at] ?? "", path: join(work, names[at] ?? "") }));
  return { facts, files: [...copied, ...options.extra.map(describeExtra)] };
}

/** @throws BackupError unreadable */
function describeExtra({ name, path }: ExtraFile): ManifestFile & { path: string } {
  if (!isContainedName(name)) throw new BackupError("unreadable", `${path} has a name that a backup cannot hold`);
  const content = readFileSync(path);
  if (content.length > MAX_EXTRA_BYTES) throw new BackupError("unreadable", `${path} is larger than 1 MiB`);
  return { name, path, bytes: content.length, sha256: sha256(content).toString("hex") };
}

async function runWorker(task: SnapshotTask, signal?: AbortSignal): Promise<SnapshotAnswer & { ok: true }> {
  const worker = new Worker(new URL("./backup-worker.ts", import.meta.url), {
    workerData: task,
    name: "sidekey-backup",
    env: {},
    resourceLimits: { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 4 },
  });
  const stop = (): void => void worker.terminate();
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const answer = await new Promise<SnapshotAnswer | null>((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
      worker.once("exit", () => resolve(null));
    });
    if (answer === null || signal?.aborted === true) {
      throw new BackupError("stopped", "the backup was stopped before it was complete");
    }
    if (!answer.ok) throw new DatabaseError(answer.code as DatabaseErrorCode, answer.path, answer.problem);
    return answer;
  } finally {
    signal?.removeEventListener("abort", stop);
    await worker.terminate();
  }
}

/**
 * Makes sure that the copy is the vault that `keys` belong to, whole and up to its last audit entry, and writes the
 * anchor that goes with it into `work`.
 * @throws VaultTamperedError; BackupError conflict when the root key was replaced meanwhile
 */
export function sealSnapshot(
  work: string,
  keys: Keyring,
): { seq: number; hash: string; anchor: ManifestFile & { path: string } } {
  const path = join(work, "vault.db");
  const db = guard(path, () => new SQLite(path, { readonly: true, fileMustExist: true }));
  try {
    if (!headerFits(db, keys)) {
      throw new BackupError("conflict", "the root key was replaced while the backup began; run it again");
    }
    const head = readHead(db);
    if (head === null || !entryIsGenuine(db, keys, head.seq)) {
      throw new VaultTamperedError("audit", "the newest entry was edited or planted");
    }
    if (!constantTimeEqual(stateDigest(db, keys), head.state)) {
      throw new VaultTamperedError("vault.db", "the rows do not fit the newest audit entry");
    }
    writeAnchor(work, keys, markOf(db, head));
    const anchor = join(work, "audit.anchor");
    const sha = sha256(readFileSync(anchor)).toString("hex");
    const file = { name: "audit.anchor", path: anchor, bytes: statSync(anchor).size, sha256: sha };
    return { seq: head.seq, hash: head.hash.toString("hex"), anchor: file };
  } finally {
    db.close();
  }
}
