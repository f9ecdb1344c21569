import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Secret } from "../secret.ts";
import { BackupError } from "../store/backup-error.ts";
import { fileBytes } from "../store/backup-file.ts";
import { type OpenedBackup, openBackup, openBackupRoot } from "../store/backup-read.ts";
import { openVault } from "../store/vault.ts";
import type { Unlocker } from "../store/wrappers.ts";
import type { Cli } from "./cli.ts";
import { usageError } from "./failure.ts";
import { askOnce, toUnlocker } from "./open-vault.ts";
import { newPassphrase } from "./secret-input.ts";

/** Options of every command that opens a backup. */
export interface OpenOptions {
  readonly unlockFile?: string;
  readonly passphrase?: boolean;
  readonly stdin?: boolean;
}

/** An opened backup and what opened it. */
export interface OpenBackup {
  readonly backup: OpenedBackup;
  readonly opened: { readonly root: Secret; readonly by: string };
  /** the same again, for the daemon of a drill */
  readonly unlockers: readonly Unlocker[];
}

/**
 * Opens the backup `file` (`-` is stdin), lends it to `use`, and wipes what opened it.
 * @throws BackupError, VaultSealedError, CliError with exit 2 when the options contradict each other
 */
export async function withBackup<T>(
  cli: Cli,
  file: string,
  options: OpenOptions,
  use: (open: OpenBackup) => Promise<T>,
): Promise<T> {
  if (options.stdin === true && options.passphrase !== true) throw usageError("--stdin goes with --passphrase");
  if (options.stdin === true && file === "-") throw usageError("stdin is the backup, it cannot be the passphrase too");
  if (options.unlockFile !== undefined && options.passphrase === true) {
    throw usageError("--unlock-file and --passphrase exclude each other");
  }
  const backup = await openBackup(file === "-" ? cli.stdin : fileBytes(resolve(file)), file === "-" ? "stdin" : file);
  const typed = options.passphrase === true ? await typedPassphrase(cli, options.stdin === true) : null;
  try {
    const unlockers = unlockersFor(cli, options, typed);
    const opened = await openBackupRoot(backup, unlockers);
    try {
      return await use({ backup, opened, unlockers });
    } finally {
      opened.root.wipe();
    }
  } finally {
    typed?.wipe();
    await backup.reader.close();
  }
}

async function typedPassphrase(cli: Cli, stdin: boolean): Promise<Secret> {
  if (stdin) return await newPassphrase({ input: cli.stdin, prompter: cli.prompter }, true);
  return await cli.prompter.ask("Passphrase of the backup", { hidden: true });
}

function unlockersFor(cli: Cli, { unlockFile }: OpenOptions, typed: Secret | null): Unlocker[] {
  if (unlockFile !== undefined) return [{ kind: "file", path: resolve(unlockFile) }];
  if (typed !== null) return [{ kind: "passphrase", read: async () => typed.copy() }];
  return cli.config().unlock.map((entry) => askOnce(toUnlocker(cli, entry)));
}

/** @throws BackupError foreign when the data directory holds another vault than the backup */
export function assertSameVault(cli: Cli, { opening, name }: OpenedBackup): void {
  const { dataDir } = cli.config();
  const found = vaultIn(dataDir);
  if (found === null || found === opening.vault) return;
  const text = `${name}: foreign: it is a backup of vault ${opening.vault}, ${dataDir} holds vault ${found}`;
  throw new BackupError("foreign", text, "to check it all the same, name an empty data directory with --data");
}

/** Null when there is no vault, or none that can be read: backups are for such a day. */
function vaultIn(dataDir: string): string | null {
  if (!existsSync(join(dataDir, "vault.db"))) return null;
  try {
    const vault = openVault(dataDir);
    vault.close();
    return vault.id;
  } catch {
    return null;
  }
}

/** Where temporary copies go: the data directory is on a disk that has room for its own size. */
export function temporaryPlace(cli: Cli, given: string | undefined): string {
  if (given !== undefined) return resolve(given);
  const { dataDir } = cli.config();
  return existsSync(dataDir) ? dataDir : tmpdir();
}
