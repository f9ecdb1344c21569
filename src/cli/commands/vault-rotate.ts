import type { Command } from "commander";
import { destroyCategory, listCategories, rotateCategory } from "../../store/categories.ts";
import { VaultError } from "../../store/errors.ts";
import { replaceRoot } from "../../store/replace-root.ts";
import { countToRewrap, needsRewrap, rewrapSome } from "../../store/rewrap.ts";
import type { Vault } from "../../store/vault.ts";
import type { Cli } from "../cli.ts";
import { CliError, usageError } from "../failure.ts";
import { askOnce, toUnlocker, withVault } from "../open-vault.ts";

/** Values per transaction: each is short, so that a daemon beside it never waits long. */
const STEP_VALUES = 200;

/** `vault rotate|destroy`: new keys for what is stored, or no keys for it ever again. */
export function registerVaultRotate(vault: Command, cli: Cli): void {
  vault
    .command("rotate")
    .description("new category keys for all values; or --root: a new root key. Stored values stay as they are")
    .option("--category <name>", "only this category")
    .option("--root", "the root key, wrapped anew for every way to open the vault")
    .option("--drop <id...>", "with --root: wrappers that shall not open the vault any more")
    .option("--passphrase", "with --root: also ask for the vault's passphrase")
    .option("--key-file <path>", "with --root: also use this root key file")
    .action((options: RotateOptions) => (options.root === true ? rotateRoot(cli, options) : rotate(cli, options)));
  vault
    .command("destroy")
    .description("destroy the keys of a category: what it holds can never be opened again")
    .requiredOption("--category <name>", "the category")
    .option("--confirm <name>", "its name once more, for scripts; else it is asked for")
    .action((options: { category: string; confirm?: string }) => destroy(cli, options.category, options.confirm));
}

interface RotateOptions {
  readonly category?: string;
  readonly root?: boolean;
  readonly drop?: readonly string[];
  readonly passphrase?: boolean;
  readonly keyFile?: string;
}

async function rotate(cli: Cli, options: RotateOptions): Promise<void> {
  if (options.drop !== undefined || options.passphrase === true || options.keyFile !== undefined) {
    throw usageError("--drop, --passphrase and --key-file go with --root");
  }
  await withVault(cli, (vault) => {
    const enabled = vault.read(listCategories).filter(({ state }) => state === "enabled");
    const names = options.category === undefined ? enabled.map(({ name }) => name) : [options.category];
    for (const name of names) {
      const generation = vault.write((transaction) => rotateCategory(transaction, name, cli.actor));
      cli.terminal.out(`category ${name} has key generation ${generation}`);
    }
    rewrapAll(cli, vault);
  });
}

/** Whoever interrupts this loses nothing: a running daemon, or the next rotation, goes on. */
function rewrapAll(cli: Cli, vault: Vault): void {
  const total = vault.read(countToRewrap);
  let done = 0;
  while (vault.read(needsRewrap)) {
    done += vault.write((transaction) => rewrapSome(transaction, STEP_VALUES, cli.actor)).rewrapped;
  }
  cli.terminal.out(`${done} of ${total} values are wrapped with the new keys; the old keys are destroyed`);
}

async function rotateRoot(cli: Cli, options: RotateOptions): Promise<void> {
  if (options.category !== undefined) throw usageError("--category and --root exclude each other; run it twice");
  const unlockers = [
    ...cli.config().unlock.map((entry) => askOnce(toUnlocker(cli, entry))),
    ...(options.keyFile === undefined ? [] : [{ kind: "file" as const, path: options.keyFile }]),
    ...(options.passphrase === true ? [askOnce(toUnlocker(cli, { passphrase: "prompt" }))] : []),
  ];
  await withVault(cli, async (vault) => {
    const kinds = await replaceRoot(vault, {
      unlockers,
      drop: options.drop ?? [],
      actor: cli.actor,
      announce: async (root) => {
        const daemon = cli.daemon();
        const running = await daemon.status().catch(() => null);
        if (running === null || running.sealed) return;
        const answer = await daemon.expectRoot(root);
        if (!answer.ok) throw new CliError(`the running daemon cannot follow: ${answer.problems.join("; ")}`);
      },
    });
    cli.terminal.out(`the root key is new; it opens with: ${kinds.join(", ")}`);
    cli.terminal.note("backups made before still open with the root key of their time; make a new one now");
  });
}

async function destroy(cli: Cli, name: string, confirmed: string | undefined): Promise<void> {
  await withVault(cli, async (vault) => {
    const category = vault.read(listCategories).find((one) => one.name === name);
    if (category === undefined) throw new VaultError("not_found", `there is no category "${name}"`);
    const lost = vault.listCredentials().filter((credential) => credential.category === name);
    const names = lost.map((credential) => credential.name).join(", ") || "none";
    cli.terminal.note(`category ${name}: credentials that can never be opened again: ${names}`);
    if (!(await isMeant(cli, name, confirmed))) throw new CliError("not destroyed; the name was not the category's");
    vault.write((transaction) => destroyCategory(transaction, name, cli.actor));
    vault.compact();
  });
  cli.terminal.out(`the keys of category ${name} are destroyed`);
  cli.terminal.note("backups made before still hold them; destroy those too if that is what you want");
}

async function isMeant(cli: Cli, name: string, confirmed: string | undefined): Promise<boolean> {
  if (confirmed !== undefined) return confirmed === name;
  if (!cli.prompter.interactive) throw usageError("this cannot be undone", `add --confirm ${name} to do it`);
  const answer = await cli.prompter.ask(`type ${name} to destroy its keys`, { hidden: false });
  const meant = answer.use((bytes) => bytes.equals(Buffer.from(name)));
  answer.wipe();
  return meant;
}
