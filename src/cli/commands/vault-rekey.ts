import type { Command } from "commander";
import { VaultError } from "../../store/errors.ts";
import { prepareWrapper, storeWrapper } from "../../store/prepared-wrapper.ts";
import type { Unlocker } from "../../store/wrappers.ts";
import type { Cli } from "../cli.ts";
import { CliError, usageError } from "../failure.ts";
import { configuredUnlockers, withVault } from "../open-vault.ts";
import { newPassphrase } from "../secret-input.ts";

interface RekeyOptions {
  readonly keyFile?: string;
  readonly stdin?: boolean;
}

/** `vault rekey`: a new key for one way to open the vault; its old key opens nothing any more. */
export function registerVaultRekey(vault: Command, cli: Cli): void {
  vault
    .command("rekey <id>")
    .description("replace what one wrapper opens with: a new key file, a new passphrase, a new key at the key service")
    .option("--key-file <path>", "for a file wrapper: where the new root key file is, or shall be made")
    .option("--stdin", "for a passphrase wrapper: read the new one from stdin")
    .action((id: string, options: RekeyOptions) => rekey(cli, id, options));
}

async function rekey(cli: Cli, id: string, options: RekeyOptions): Promise<void> {
  const present = configuredUnlockers(cli);
  await withVault(cli, async (vault) => {
    const old = vault.listWrappers().find((wrapper) => wrapper.id === id);
    if (old === undefined) {
      throw new VaultError("not_found", "there is no such wrapper; `sidekey vault wrapper list` shows them");
    }
    const renewed = await renewedUnlocker(cli, old.kind, present, options);
    const made = await prepareWrapper(vault, present, renewed, { now: cli.now() });
    const { id: added } = storeWrapper(vault, made, cli.actor, (wrapper) => wrapper.id === id);
    cli.terminal.out(`wrapper ${added} (${old.kind}) replaces ${id}`);
    if (options.keyFile !== undefined) {
      cli.terminal.note(
        `put { file: ${options.keyFile} } under \`unlock:\` in daemon.yaml; the old key file opens nothing`,
      );
    }
  });
  cli.terminal.note(
    "whoever had the old key together with a copy of vault.db could open that copy: then also run `sidekey vault rotate --root` and replace the stored keys at their providers",
  );
}

async function renewedUnlocker(
  cli: Cli,
  kind: string,
  present: readonly Unlocker[],
  options: RekeyOptions,
): Promise<Unlocker> {
  if (kind === "shares") {
    throw new CliError("shares are replaced all at once", { nextStep: "use `sidekey vault shares split`" });
  }
  if (kind === "file") {
    if (options.keyFile === undefined) throw usageError("a file wrapper needs a new file", "add --key-file <path>");
    return { kind: "file", path: options.keyFile };
  }
  if (options.keyFile !== undefined) throw usageError(`--key-file is for file wrappers, this one is ${kind}`);
  if (kind === "passphrase") {
    const devices = { input: cli.stdin, prompter: cli.prompter };
    return { kind: "passphrase", read: () => newPassphrase(devices, options.stdin === true) };
  }
  const found = present.find((unlocker) => unlocker.kind === kind);
  if (found !== undefined) return found;
  throw new CliError(`nothing under \`unlock:\` in daemon.yaml says how to reach ${kind}`);
}
