import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileBytes } from "../../src/store/backup-file.ts";
import { openBackup, openBackupRoot } from "../../src/store/backup-read.ts";
import { type Restored, type RestoreRequest, restoreBackup } from "../../src/store/backup-restore.ts";
import { type BackupRequest, type BackupSummary, createBackup } from "../../src/store/backup-write.ts";
import type { Vault } from "../../src/store/vault.ts";
import type { Unlocker } from "../../src/store/wrappers.ts";
import { tempDir } from "./temp-dir.ts";
import { fill, newVault, type VaultFixture } from "./vault-fixture.ts";

export interface BackedUp extends VaultFixture {
  /** a backup of the vault, made by `fill` */
  readonly path: string;
  readonly summary: BackupSummary;
  /** a directory beside the data */
  readonly place: string;
}

/** A vault with a row of every kind, and a backup of it. */
export async function backedUp(t: TestContext, extra: Partial<BackupRequest> = {}): Promise<BackedUp> {
  const fixture = await newVault(t);
  fill(fixture.vault);
  const place = tempDir(t);
  const path = join(place, "one.backup");
  const summary = await backUp(fixture, path, extra);
  return { ...fixture, path, summary, place };
}

export async function backUp(
  { vault, directory, options }: Pick<VaultFixture, "vault" | "directory" | "options">,
  to: BackupRequest["to"],
  extra: Partial<BackupRequest> = {},
): Promise<BackupSummary> {
  const now = options.now ?? Date.now;
  return await createBackup(vault, { directory, to, actor: "ana", version: "test", now, ...extra });
}

/** Restores into `directory` as the command would. */
export async function restore(
  path: string,
  directory: string,
  unlockers: readonly Unlocker[],
  extra: Partial<RestoreRequest> = {},
): Promise<Restored> {
  const backup = await openBackup(fileBytes(path), path);
  try {
    const opened = await openBackupRoot(backup, unlockers);
    try {
      return await restoreBackup(backup, opened, {
        directory,
        replace: false,
        sample: "all",
        actor: "ana",
        now: Date.now,
        assertIdle: async () => {},
        ...extra,
      });
    } finally {
      opened.root.wipe();
    }
  } finally {
    await backup.reader.close();
  }
}

/** Every value of every credential that can be opened, as text. */
export function allValues(vault: Vault): Record<string, string> {
  const values: Record<string, string> = {};
  for (const { id, name, versions } of vault.listCredentials()) {
    for (const { number, stage } of versions) {
      if (stage === "revoked") continue;
      for (const [field, secret] of vault.openFields(id, number, "test")) {
        values[`${name}/${number}/${field}`] = secret.use((bytes) => bytes.toString());
        secret.wipe();
      }
    }
  }
  return values;
}
