import { readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { BackupError } from "./backup-error.ts";
import { fileBytes } from "./backup-file.ts";
import { backupSize, FILE_KEY_BYTES } from "./backup-format.ts";
import { openBackup, readWith } from "./backup-read.ts";
import { aeadOpen, DecryptError } from "./crypto.ts";
import type { Keyring } from "./keyring.ts";
import type { Vault } from "./vault.ts";

const NAME = /^sidekey-[0-9a-f]{8}-[0-9]{8}T[0-9]{9}Z\.backup$/;

/** A backup of this vault, told by its opening section, which this vault's key has authenticated, and its size. */
export interface OwnBackup {
  readonly path: string;
  /** ms since the epoch */
  readonly createdAt: number;
}

/** The name that a backup gets when nobody chooses one. @param nowMs ms since the epoch */
export function backupName(vault: string, nowMs: number): string {
  return `sidekey-${vault.slice(0, 8)}-${new Date(nowMs).toISOString().replace(/[-:.]/g, "")}.backup`;
}

/**
 * The complete-looking backups of `vault` in `directory`, newest first. Other files, other vaults' backups and broken
 * ones are not listed; neither are those made before the root key was last replaced.
 */
export async function listOwnBackups(directory: string, vault: Vault): Promise<OwnBackup[]> {
  const found: OwnBackup[] = [];
  for (const name of namesIn(directory).filter((each) => NAME.test(each))) {
    const path = join(directory, name);
    const createdAt = await ownBackup(path, vault);
    if (createdAt !== null) found.push({ path, createdAt });
  }
  return found.sort((a, b) => b.createdAt - a.createdAt);
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** When it was made; null when it is not ours, or not whole. */
async function ownBackup(path: string, vault: Vault): Promise<number | null> {
  try {
    const backup = await openBackup(fileBytes(path), path);
    try {
      const sealed = await backup.reader.take(FILE_KEY_BYTES);
      const { opening, openingBytes } = backup;
      const whole = statSync(path).size === backupSize(openingBytes.length, opening.stream);
      if (!whole || opening.vault !== vault.id) return null;
      withKeys(vault, (keys) => keys.backup.use((key) => aeadOpen(key, sealed, openingBytes)).fill(0));
      return opening.createdAt;
    } finally {
      await backup.reader.close();
    }
  } catch (error) {
    if (error instanceof BackupError || error instanceof DecryptError) return null;
    throw error;
  }
}

/**
 * Authenticates a backup of an unsealed vault to its last byte, without writing anything.
 * @throws BackupError
 */
export async function authenticateBackup(path: string, vault: Vault): Promise<void> {
  const backup = await openBackup(fileBytes(path), path);
  // A copy of the subkey: the vault may be sealed, or follow a new root key, while this reads.
  const key = withKeys(vault, (keys) => keys.backup.copy());
  try {
    await readWith(backup, { backup: key }, async () => null);
  } finally {
    key.wipe();
  }
}

function withKeys<T>(vault: Vault, use: (keys: Keyring) => T): T {
  return vault.read(({ keys }) => {
    if (keys === null) throw new BackupError("stopped", "the vault was sealed meanwhile");
    return use(keys);
  });
}

/**
 * Deletes own backups beyond the newest `keep`.
 * @param backups as `listOwnBackups` returns them
 * @param keep at least 1: the newest one always stays
 * @returns what was deleted
 */
export function pruneBackups(backups: readonly OwnBackup[], keep: number): string[] {
  const old = backups.slice(Math.max(1, keep)).map(({ path }) => path);
  for (const path of old) rmSync(path, { force: true });
  return old;
}
