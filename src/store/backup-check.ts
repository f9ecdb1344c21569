import { join } from "node:path";
import type { Secret } from "../secret.ts";
import { BackupError } from "./backup-error.ts";
import { directSink } from "./backup-file.ts";
import type { Manifest } from "./backup-format.ts";
import { type OpenedBackup, readContents } from "./backup-read.ts";
import { bindings } from "./credentials.ts";
import { DatabaseError } from "./database.ts";
import { VaultError, VaultTamperedError } from "./errors.ts";
import { halfMadeName, removeHalfMade, sweepHalfMade } from "./half-made.ts";
import { getRows } from "./rows.ts";
import { openVault, type Vault, type VaultOptions } from "./vault.ts";
import { openVersion, type VersionRow } from "./versions.ts";

/** What was found in the vault of a backup. */
export interface BackupCheck {
  readonly credentials: number;
  /** versions whose value was decrypted (and wiped at once) */
  readonly opened: number;
  /** versions that there are */
  readonly versions: number;
  /** versions tried that nothing opens, on purpose: revoked, or of a sealed or destroyed category */
  readonly closed: number;
}

/** Values that a check decrypts unless it is told to decrypt all. */
export const SAMPLE = 20;

/**
 * Writes the files of a backup into `directory` (made 0700 when missing), each 0600 and on disk when this returns.
 * @throws BackupError; DatabaseError full, read_only or io
 */
export async function extractTo(backup: OpenedBackup, root: Secret, directory: string): Promise<Manifest> {
  return await readContents(backup, root, ({ name }) => directSink(join(directory, name)));
}

/**
 * Opens the vault that was extracted into `directory`.
 * @throws BackupError inconsistent when database, audit and anchor do not belong together
 */
export async function openExtracted(
  directory: string,
  opened: { root: Secret; by: string },
  options: VaultOptions,
): Promise<Vault> {
  const vault = asInconsistent(() => openVault(directory, options));
  try {
    await vault.unsealWith(opened.root, opened.by);
    return vault;
  } catch (error) {
    vault.close();
    throw inconsistent(error);
  }
}

/**
 * Verifies the whole audit chain and every row, and decrypts values: `sample` of them, evenly spread, or all.
 * @throws BackupError inconsistent naming the first thing that is wrong
 */
export function checkVault(vault: Vault, sample: number | "all"): BackupCheck {
  const chain = vault.verifyAudit();
  if (!chain.ok) throw new BackupError("inconsistent", `the audit in the backup: ${chain.problem}`);
  const values = asInconsistent(() => openValues(vault, sample));
  return { credentials: vault.listCredentials().length, ...values };
}

/**
 * Reads a backup to its last byte and checks the vault in it, in a temporary directory below `place` that is removed
 * whatever happens.
 * @throws BackupError; DatabaseError when the temporary directory cannot take it
 */
export async function verifyBackup(
  backup: OpenedBackup,
  opened: { root: Secret; by: string },
  options: { place: string; sample: number | "all" },
): Promise<{ manifest: Manifest; check: BackupCheck }> {
  sweepHalfMade(options.place);
  const work = halfMadeName(join(options.place, ".verify"));
  try {
    const manifest = await extractTo(backup, opened.root, work);
    const vault = await openExtracted(work, opened, {});
    try {
      return { manifest, check: checkVault(vault, options.sample) };
    } finally {
      vault.close();
    }
  } finally {
    removeHalfMade(work);
  }
}

function openValues(vault: Vault, sample: number | "all"): Pick<BackupCheck, "opened" | "versions" | "closed"> {
  return vault.read(({ db, keys }) => {
    if (keys === null) throw new Error("internal: the vault of the backup is sealed");
    const known = bindings({ db, keys });
    const all = getRows<VersionRow>(db, keys, "versions");
    const wanted = sample === "all" ? all.length : Math.min(sample, all.length);
    let [opened, closed] = [0, 0];
    for (let n = 0; n < wanted; n++) {
      const row = all[Math.floor((n * all.length) / wanted)];
      const binding = row === undefined ? undefined : known.get(row.credential);
      if (row === undefined || binding === undefined)
        throw new VaultTamperedError("vault.db versions", "a version has no credential");
      try {
        const fields = openVersion(db, keys, binding, row.number);
        for (const secret of fields.values()) secret.wipe();
        opened++;
      } catch (error) {
        if (!(error instanceof VaultError) || error.code !== "refused") throw error;
        closed++;
      }
    }
    return { opened, closed, versions: all.length };
  });
}

function asInconsistent<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw inconsistent(error);
  }
}

/** What would be tampering in a data directory is, in a backup, a backup that cannot be used. */
function inconsistent(error: unknown): unknown {
  const own = error instanceof VaultTamperedError || (error instanceof DatabaseError && error.code === "corrupt");
  if (!own) return error;
  const problem = error instanceof VaultTamperedError ? `${error.object}: ${error.problem}` : error.message;
  return new BackupError(
    "inconsistent",
    `the vault in the backup does not hold together: ${problem}`,
    "use another backup",
  );
}
