import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../daemon/config.ts";
import { locate } from "../daemon/config.ts";
import { ensureSetup, type SetupResult } from "../daemon/setup.ts";
import { installConfig } from "../daemon/setup-config.ts";
import { VaultSealedError, VaultTamperedError } from "../store/errors.ts";
import { type Unlocker, wrapperWarnings } from "../store/wrappers.ts";
import type { Cli } from "./cli.ts";
import { CliError, usageError } from "./failure.ts";
import { askOnce, toUnlocker } from "./open-vault.ts";
import { newPassphrase } from "./secret-input.ts";

export interface Prepared extends SetupResult {
  readonly config: Config;
  /** Open the vault once more without asking for a passphrase again. */
  readonly unlockers: readonly Unlocker[];
}

export interface PrepareOptions {
  /** Make the vault with a passphrase; daemon.yaml then says that it is asked for. */
  readonly passphrase: boolean;
  readonly stdin: boolean;
  /** A vault that is there but does not open is no failure: the daemon starts sealed. */
  readonly maySeal?: boolean;
}

/**
 * Brings config and data directory to where the daemon can start; what is there stays as it is.
 * @throws SetupError, ConfigError, VaultSealedError
 */
export async function prepare(cli: Cli, options: PrepareOptions): Promise<Prepared> {
  if (options.stdin && !options.passphrase) throw usageError("--stdin goes with --passphrase");
  const { data, config: configOption } = cli.overrides();
  const { configDir } = locate({ argvData: data, argvConfig: configOption });
  // Before the configuration is read: the copied daemon.yaml is part of it.
  const copied = installConfig({ configDir, packageRoot: cli.packageRoot, passphrase: options.passphrase });
  const config = cli.config();
  const unlockers = chooseUnlockers(cli, config, options);
  const setup = ensureSetup({
    dataDir: config.dataDir,
    configDir,
    providersDir: config.providersDir,
    packageRoot: cli.packageRoot,
    unlockers,
    nowMs: cli.now(),
    actor: cli.actor,
  });
  const result = options.maySeal === true ? await setup.catch(sealedSetup) : await setup;
  if (result.created) {
    for (const warning of wrapperWarnings(unlockers.slice(0, 1))) cli.terminal.warn(warning);
  }
  return { ...result, notes: [...copied, ...result.notes], config, unlockers };
}

/** The vault was there before, so all there is to set up is in it. */
function sealedSetup(error: unknown): SetupResult {
  if (error instanceof VaultSealedError || error instanceof VaultTamperedError) return { created: false, notes: [] };
  throw error;
}

function chooseUnlockers(cli: Cli, config: Config, options: PrepareOptions): [Unlocker, ...Unlocker[]] {
  const passphraseFirst = config.unlock[0] !== undefined && "passphrase" in config.unlock[0];
  if (options.passphrase && !passphraseFirst) {
    throw new CliError("daemon.yaml does not ask for a passphrase", {
      nextStep: "put `unlock: [ { passphrase: prompt } ]` into it, then run this again",
    });
  }
  const [first, ...others] = config.unlock.map((entry) => askOnce(toUnlocker(cli, entry)));
  if (first === undefined) throw new CliError("daemon.yaml names nothing under `unlock:`");
  const isNew = !existsSync(join(config.dataDir, "vault.db"));
  if (!passphraseFirst || !(isNew || options.stdin)) return [first, ...others];
  // A mistyped passphrase for a new vault would lock it for good, so it is typed twice.
  const devices = { input: cli.stdin, prompter: cli.prompter };
  return [askOnce({ kind: "passphrase", read: () => newPassphrase(devices, options.stdin) })];
}
