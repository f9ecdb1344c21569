import { existsSync } from "node:fs";
import { join } from "node:path";
import type { UnlockConfig } from "../daemon/unlock-config.ts";
import { Secret } from "../secret.ts";
import { shredDue } from "../store/credential-removal.ts";
import { VaultTamperedError } from "../store/errors.ts";
import { openVault, type Vault } from "../store/vault.ts";
import type { Unlocker } from "../store/wrappers.ts";
import type { Cli } from "./cli.ts";
import { CliError, EXIT } from "./failure.ts";
import { promptShares, type ReadShares, readShareFiles } from "./share-input.ts";

/**
 * Opens and unseals the vault of the data directory, lends it to `fn` and closes it. Works beside a
 * running daemon.
 * @param unlockers those of daemon.yaml unless given
 * @throws CliError when there is no vault; VaultSealedError (exit 3) when nothing opens it.
 */
export async function withVault<T>(
  cli: Cli,
  fn: (vault: Vault) => T | Promise<T>,
  unlockers: readonly Unlocker[] = configuredUnlockers(cli),
): Promise<T> {
  const config = cli.config();
  requireVault(config.dataDir);
  const vault = openVault(config.dataDir, { actor: cli.actor });
  try {
    await vault.unseal(unlockers);
    return await fn(vault);
  } finally {
    vault.close();
  }
}

/**
 * As `withVault`, for commands that only show something: a vault that was tampered with or rolled back is still
 * listed, sealed and unverified, with a warning and exit code 3.
 */
export async function readVault<T>(cli: Cli, fn: (vault: Vault) => T | Promise<T>): Promise<T> {
  const config = cli.config();
  requireVault(config.dataDir);
  const vault = openVault(config.dataDir, { actor: cli.actor });
  try {
    try {
      await vault.unseal(configuredUnlockers(cli));
    } catch (error) {
      if (!(error instanceof VaultTamperedError)) throw error;
      cli.terminal.warn(`UNVERIFIED, what follows may be forged or old: ${error.message}`);
      cli.exit(EXIT.sealed);
    }
    return await fn(vault);
  } finally {
    vault.close();
  }
}

/** As `withVault`, for a command that changes something; removed credentials whose time has come are shredded as well. */
export function withVaultChange<T>(cli: Cli, fn: (vault: Vault) => T | Promise<T>): Promise<T> {
  return withVault(cli, async (vault) => {
    const result = await fn(vault);
    const names = shredDue(vault, cli.now(), cli.actor);
    if (names.length > 0) cli.terminal.note(`shredded what was removed long enough ago: ${names.join(", ")}`);
    return result;
  });
}

/** Everything under `unlock:` in daemon.yaml, in its order. */
export function configuredUnlockers(cli: Cli): Unlocker[] {
  return cli.config().unlock.map((entry) => toUnlocker(cli, entry));
}

/** @throws CliError with the command that makes one. */
export function requireVault(dataDir: string): void {
  if (existsSync(join(dataDir, "vault.db"))) return;
  throw new CliError(`no vault in ${dataDir}`, {
    nextStep: "make one with `sidekey init` (or `sidekey up`), or name the right directory with --data",
  });
}

/**
 * For two openings in a row (setup, then the daemon): the answer to the first question is kept for
 * the second and then forgotten.
 */
export function askOnce(unlocker: Unlocker): Unlocker {
  if (unlocker.kind === "passphrase") return { ...unlocker, read: once(unlocker.read, copyOf) };
  if (unlocker.kind === "shares") return { ...unlocker, read: once(unlocker.read, (shares) => shares.map(copyOf)) };
  return unlocker;
}

/** Lends what it wiped by its first user to the second one. */
function once<A extends unknown[], T>(
  read: (...args: A) => Promise<T>,
  copy: (value: T) => T,
): (...args: A) => Promise<T> {
  let kept: { value: T } | null = null;
  return async (...args) => {
    const again = kept;
    kept = null;
    if (again !== null) return again.value;
    const value = await read(...args);
    kept = { value: copy(value) };
    return value;
  };
}

function copyOf(secret: Secret): Secret {
  return secret.use((bytes) => Secret.copyOf(bytes));
}

/** What an entry of `unlock:` stands for; questions are asked at this terminal. */
export function toUnlocker(cli: Cli, entry: UnlockConfig): Unlocker {
  if ("unlocker" in entry) return entry.unlocker;
  if ("file" in entry) {
    const { file: path, ...timed } = entry;
    return { kind: "file", path, ...timed };
  }
  if ("shares" in entry) {
    const { shares, ...timed } = entry;
    const read: ReadShares = async (set) =>
      shares === "prompt" ? await promptShares(cli, set) : readShareFiles(shares);
    return { kind: "shares", read, ...timed };
  }
  const read = async (): Promise<Secret> => {
    // What the prompter itself would say is about keys that are being stored.
    if (!cli.prompter.interactive) {
      throw new CliError("no terminal to ask at; run it at one, or name a key file under `unlock:` in daemon.yaml");
    }
    return await cli.prompter.ask("Vault passphrase", { hidden: true });
  };
  const { passphrase: _, ...timed } = entry;
  return { kind: "passphrase", read, ...timed };
}
