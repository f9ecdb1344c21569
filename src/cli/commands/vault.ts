import type { Command } from "commander";
import { openVault } from "../../store/vault.ts";
import type { Cli } from "../cli.ts";
import { EXIT } from "../failure.ts";
import { requireVault, toUnlocker } from "../open-vault.ts";
import { renderFacts } from "../output.ts";
import { registerShares } from "./vault-shares.ts";
import { registerWrapper } from "./vault-wrapper.ts";

/** `vault status`, and the groups `vault wrapper` and `vault shares`. */
export function registerVault(program: Command, cli: Cli): void {
  const vault = program.command("vault").description("the sealed store and the ways to open it");
  vault
    .command("status")
    .description("can the vault be opened? exit 3 if not")
    .option("--json", "as JSON")
    .action((options: { json?: boolean }) => showStatus(cli, options.json === true));
  registerWrapper(vault, cli);
  registerShares(vault, cli);
}

async function showStatus(cli: Cli, json: boolean): Promise<void> {
  const { dataDir, unlock } = cli.config();
  requireVault(dataDir);
  const vault = openVault(dataDir);
  try {
    const opened = await vault.unseal(unlock.map((entry) => toUnlocker(cli, entry))).then(
      ({ by }) => ({ by, problem: null }),
      (error: unknown) => {
        if (!(error instanceof Error) || error.name !== "VaultSealedError") throw error;
        return { by: null, problem: error.message };
      },
    );
    if (opened.problem !== null) cli.exit(EXIT.sealed);
    const credentials = opened.problem === null ? vault.listCredentials().length : null;
    const facts = { vault: vault.id, dataDir, sealed: opened.problem !== null, ...opened, credentials };
    if (json) return cli.terminal.json(facts);
    cli.terminal.out(
      renderFacts([
        ["vault", vault.id],
        ["data", dataDir],
        ["state", opened.problem ?? `opens with ${opened.by}`],
        ["credentials", credentials === null ? "-" : String(credentials)],
      ]),
    );
  } finally {
    vault.close();
  }
}
