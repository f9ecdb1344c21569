import type { Command } from "commander";
import { getRemoved, KEEP_REMOVED_MS, restore, softRemove } from "../../store/credential-removal.ts";
import type { Credential } from "../../store/credentials.ts";
import type { Vault } from "../../store/vault.ts";
import type { Cli } from "../cli.ts";
import { usageError } from "../failure.ts";
import { confirm, impactOf, showImpact } from "../impact.ts";
import { withVaultChange } from "../open-vault.ts";
import { formatTime, parseSpan } from "../output.ts";
import { forgive } from "./credential-validate.ts";
import { livingVersions, requireVersion } from "./credential-version.ts";

interface RemoveOptions {
  readonly yes?: boolean;
  readonly keep?: string;
  readonly shred?: boolean;
}

/** `credential enable|disable|revoke|remove|restore`: out of use, and back where that is possible. */
export function registerCredentialRemove(credential: Command, cli: Cli): void {
  credential
    .command("enable <name>")
    .description("use it again")
    .action((name: string) => setState(cli, name, "enabled", true));
  credential
    .command("disable <name>")
    .description("stop using it; it stays stored")
    .option("--yes", "do not ask")
    .action((name: string, options: { yes?: boolean }) => setState(cli, name, "disabled", options.yes === true));
  credential
    .command("revoke <name> [version]")
    .description("give up one version, or all of them, for good")
    .option("--yes", "do not ask")
    .action((name: string, version: string | undefined, options: { yes?: boolean }) =>
      revoke(cli, name, version, options.yes === true),
    );
  credential
    .command("remove <name>")
    .description("take a credential out of use; it can be restored for a while, then it is shredded")
    .option("--keep <span>", "how long it can be restored, e.g. 30d (the default)")
    .option("--shred", "delete it with all its versions now, for good")
    .option("--yes", "do not ask")
    .action((name: string, options: RemoveOptions) => remove(cli, name, options));
  credential
    .command("restore <name>")
    .description("bring a removed credential back")
    .action((name: string) => bringBack(cli, name));
}

async function setState(cli: Cli, name: string, state: Credential["state"], yes: boolean): Promise<void> {
  await withVaultChange(cli, async (vault) => {
    summarize(cli, vault, vault.getCredential(name));
    if (state === "disabled") await confirm(cli, { yes, question: `stop using ${name}` });
    const credential = vault.setState(name, state, cli.actor);
    if (state === "enabled") forgive(cli, credential);
  });
  cli.terminal.out(`${name} is ${state}`);
}

async function revoke(cli: Cli, name: string, version: string | undefined, yes: boolean): Promise<void> {
  const numbers = await withVaultChange(cli, async (vault) => {
    const credential = vault.getCredential(name);
    const chosen = version === undefined ? livingVersions(credential) : [requireVersion(credential, version)];
    const one = version === undefined ? undefined : chosen[0];
    showImpact(cli, credential, impactOf(cli, vault, credential, one), one);
    await confirm(cli, { yes, question: `revoke version ${chosen.join(", ")} of ${name} for good` });
    for (const number of chosen) vault.revokeVersion(name, number, cli.actor);
    return chosen;
  });
  cli.terminal.out(`${name}: version ${numbers.join(", ")} revoked; it will not be used again`);
  cli.terminal.note("if it leaked, revoke it at the provider too: sidekey can only stop using it");
}

async function remove(cli: Cli, name: string, options: RemoveOptions): Promise<void> {
  if (options.shred === true && options.keep !== undefined) throw usageError("--shred and --keep exclude each other");
  const keepMs = options.keep === undefined ? KEEP_REMOVED_MS : parseSpan(options.keep);
  if (keepMs === null) throw usageError("--keep takes a span", "for example 30d");
  const yes = options.yes === true;
  if (options.shred === true) return shred(cli, name, yes);
  const shredAt = await withVaultChange(cli, async (vault) => {
    summarize(cli, vault, vault.getCredential(name));
    await confirm(cli, { yes, question: `remove ${name}`, destructive: true });
    vault.write((transaction) => softRemove(transaction, name, keepMs, cli.actor));
    return vault.read((view) => getRemoved(view, name)).shredAt;
  });
  cli.terminal.out(`${name} is removed`);
  cli.terminal.note(`until ${formatTime(shredAt)} \`sidekey credential restore ${name}\` brings it back`);
}

/** A key that is gone is gone, so somebody has to type its name. */
async function shred(cli: Cli, name: string, yes: boolean): Promise<void> {
  await withVaultChange(cli, async (vault) => {
    const removed = vault.listRemoved().find(({ credential }) => credential.name === name);
    summarize(cli, vault, removed?.credential ?? vault.getCredential(name));
    await confirm(cli, { yes, question: `shred ${name} for good`, destructive: true, typed: name });
    vault.removeCredential(name, cli.actor);
    vault.compact();
  });
  cli.terminal.out(`${name} is shredded; backups made before still hold it, sealed`);
}

async function bringBack(cli: Cli, name: string): Promise<void> {
  await withVaultChange(cli, (vault) => {
    const { credential } = vault.read((view) => getRemoved(view, name));
    summarize(cli, vault, credential);
    vault.write((transaction) => restore(transaction, name, cli.actor));
  });
  cli.terminal.out(`${name} is back in use`);
}

function summarize(cli: Cli, vault: Vault, credential: Credential): void {
  showImpact(cli, credential, impactOf(cli, vault, credential));
}
