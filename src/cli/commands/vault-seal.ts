import type { Command } from "commander";
import { setCategoryState } from "../../store/categories.ts";
import { openVault } from "../../store/vault.ts";
import type { Unlocker } from "../../store/wrappers.ts";
import type { Cli } from "../cli.ts";
import { CliError, EXIT } from "../failure.ts";
import { configuredUnlockers, requireVault, toUnlocker, withVault } from "../open-vault.ts";

/** `vault seal|unseal`: takes the keys out of the running daemon's memory and gives them back. */
export function registerVaultSeal(vault: Command, cli: Cli): void {
  vault
    .command("seal")
    .description("wipe the running daemon's keys; requests get 503 until it is unsealed")
    .option("--category <name>", "only the keys of one category; this stays so over a restart")
    .action((options: { category?: string }) => seal(cli, options.category));
  vault
    .command("unseal")
    .description("open the vault of the running daemon, with what `unlock:` names or with an option")
    .option("--category <name>", "only a category that was sealed alone")
    .option("--passphrase", "ask for the passphrase, whatever `unlock:` says")
    .option("--key-file <path>", "use this root key file, whatever `unlock:` says")
    .action((options: UnsealOptions) => unseal(cli, options));
}

interface UnsealOptions {
  readonly category?: string;
  readonly passphrase?: boolean;
  readonly keyFile?: string;
}

async function seal(cli: Cli, category: string | undefined): Promise<void> {
  if (category !== undefined) {
    await withVault(cli, (vault) =>
      vault.write((transaction) => setCategoryState(transaction, category, "disabled", cli.actor)),
    );
    cli.terminal.out(`category ${category} is sealed; its routes answer 503, the others go on`);
    return;
  }
  const answer = await cli.daemon().seal();
  if (!answer.ok) throw new CliError(answer.problems.join("\n"));
  cli.terminal.out("the vault is sealed; requests get 503 until `sidekey vault unseal`");
}

async function unseal(cli: Cli, options: UnsealOptions): Promise<void> {
  const { category } = options;
  if (category !== undefined) {
    await withVault(cli, (vault) =>
      vault.write((transaction) => setCategoryState(transaction, category, "enabled", cli.actor)),
    );
    cli.terminal.out(`category ${category} is unsealed`);
    return;
  }
  const daemon = cli.daemon();
  const { sealed } = await daemon.status();
  if (!sealed) {
    cli.terminal.note("the vault is not sealed; nothing to do");
    return;
  }
  const { dataDir } = cli.config();
  requireVault(dataDir);
  const vault = openVault(dataDir, { actor: cli.actor });
  try {
    const { root, by } = await vault.openRoot(chosenUnlockers(cli, options));
    try {
      const answer = await daemon.unseal(root);
      if (!answer.ok) throw new CliError(answer.problems.join("\n"), { exitCode: EXIT.sealed });
    } finally {
      root.wipe();
    }
    cli.terminal.out(`the vault is unsealed with ${by}`);
  } finally {
    vault.close();
  }
}

/** What an option names, else everything under `unlock:`. */
export function chosenUnlockers(cli: Cli, options: { passphrase?: boolean; keyFile?: string }): Unlocker[] {
  const chosen: Unlocker[] = [];
  if (options.keyFile !== undefined) chosen.push({ kind: "file", path: options.keyFile });
  if (options.passphrase === true) chosen.push(toUnlocker(cli, { passphrase: "prompt" }));
  return chosen.length > 0 ? chosen : configuredUnlockers(cli);
}
