import type { Command } from "commander";
import { type Category, listCategories } from "../../store/categories.ts";
import { VaultSealedError, VaultTamperedError } from "../../store/errors.ts";
import { openVault } from "../../store/vault.ts";
import type { Cli } from "../cli.ts";
import { EXIT } from "../failure.ts";
import { requireVault, toUnlocker } from "../open-vault.ts";
import { renderFacts } from "../output.ts";
import { compareRecords } from "./audit-checkpoint.ts";
import { registerAcknowledge } from "./vault-acknowledge.ts";
import { registerVaultPublicKey } from "./vault-public-key.ts";
import { registerVaultRekey } from "./vault-rekey.ts";
import { registerVaultRotate } from "./vault-rotate.ts";
import { registerVaultSeal } from "./vault-seal.ts";
import { registerShares } from "./vault-shares.ts";
import { registerWrapper } from "./vault-wrapper.ts";

/** `vault status`, and the groups `vault wrapper` and `vault shares`. */
export function registerVault(program: Command, cli: Cli): void {
  const vault = program.command("vault").description("the sealed store and the ways to open it");
  vault
    .command("status")
    .description("can the vault be opened? exit 3 if not")
    .option("--anchor <file>", "compare with a copy of audit.anchor, or a log of them, kept elsewhere")
    .option("--json", "as JSON")
    .action((options: { json?: boolean; anchor?: string }) => showStatus(cli, options));
  registerVaultSeal(vault, cli);
  registerVaultRotate(vault, cli);
  registerVaultRekey(vault, cli);
  registerAcknowledge(vault, cli);
  registerVaultPublicKey(vault, cli);
  registerWrapper(vault, cli);
  registerShares(vault, cli);
}

async function showStatus(cli: Cli, options: { json?: boolean; anchor?: string }): Promise<void> {
  const { dataDir, unlock } = cli.config();
  requireVault(dataDir);
  const vault = openVault(dataDir);
  try {
    const opened = await vault.unseal(unlock.map((entry) => toUnlocker(cli, entry))).then(
      ({ by }) => ({ by, problem: null }),
      (error: unknown) => {
        if (!(error instanceof VaultSealedError || error instanceof VaultTamperedError)) throw error;
        return { by: null, problem: error.message };
      },
    );
    const parts = opened.problem === null && options.anchor !== undefined ? compareRecords(vault, options) : null;
    if (parts !== null) opened.problem = parts.problem;
    if (opened.problem !== null) cli.exit(EXIT.sealed);
    const credentials = opened.problem === null ? vault.listCredentials().length : null;
    const categories = vault.read(listCategories);
    const mark = opened.problem === null ? vault.mark() : null;
    const end = { epoch: mark?.epoch ?? null, entry: mark?.seq ?? null };
    const known = { credentials, categories, ...end };
    const facts = { vault: vault.id, dataDir, sealed: opened.problem !== null, ...opened, ...known };
    if (options.json === true) return cli.terminal.json(facts);
    cli.terminal.out(
      renderFacts([
        ["vault", vault.id],
        ["data", dataDir],
        ["state", opened.problem ?? `opens with ${opened.by}`],
        ["credentials", credentials === null ? "-" : String(credentials)],
        ["categories", categories.map(categoryText).join(", ")],
        ["epoch", mark === null ? "-" : `${mark.epoch}, audit entry ${mark.seq}`],
      ]),
    );
  } finally {
    vault.close();
  }
}

function categoryText({ name, generation, state, retired }: Category): string {
  const notes = [
    ...(state === "enabled" ? [] : [state === "disabled" ? "sealed" : state]),
    ...(retired.length > 0 ? ["rotation not finished"] : []),
  ];
  return `${name} ${generation}${notes.length > 0 ? ` (${notes.join(", ")})` : ""}`;
}
