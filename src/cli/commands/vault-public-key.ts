import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import { exportPublicKeys, parsePublicKeys } from "../../store/public-keys.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../failure.ts";
import { withVault } from "../open-vault.ts";

/** `vault public-key`: what `seal` needs on a machine that has no vault. Holds no secret. */
export function registerVaultPublicKey(vault: Command, cli: Cli): void {
  vault
    .command("public-key")
    .description("the public keys that `sidekey seal` needs on another machine; no secret")
    .option("--out <file>", "write them to a new file instead of stdout")
    .action((options: { out?: string }) => showPublicKeys(cli, options.out));
}

async function showPublicKeys(cli: Cli, out: string | undefined): Promise<void> {
  const text = await withVault(cli, (vault) => vault.read(exportPublicKeys));
  writeText(cli, out, text);
  const { checksum } = parsePublicKeys(text);
  cli.terminal.note(`checksum ${checksum}; \`sidekey seal\` shows it too, and both should be the same`);
}

/** To stdout, or into a file that is not there yet. */
export function writeText(cli: Cli, out: string | undefined, text: string): void {
  if (out === undefined) {
    cli.terminal.out(text.trimEnd());
    return;
  }
  try {
    writeFileSync(out, text, { flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    throw new CliError(`${out} exists already; nothing was written`, { nextStep: "remove it, or name another file" });
  }
}
