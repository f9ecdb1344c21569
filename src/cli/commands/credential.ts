import type { Command } from "commander";
import type { Credential } from "../../store/credentials.ts";
import type { Cli } from "../cli.ts";
import { CliError, notFound, usageError } from "../failure.ts";
import { readVault, withVault } from "../open-vault.ts";
import { formatTime, renderFacts, renderTable } from "../output.ts";
import { registerCredentialAccept } from "./credential-accept.ts";
import { registerCredentialAdd } from "./credential-add.ts";
import { healthOf, renderHealth, statesOf } from "./credential-health.ts";
import { forgive, registerCredentialValidate } from "./credential-validate.ts";

/** `credential ...`: the stored keys. Nothing here shows a stored secret again (guarantee G16). */
export function registerCredential(program: Command, cli: Cli): void {
  const credential = program.command("credential").description("the stored keys; none is ever shown again");
  registerCredentialAdd(credential, cli);
  registerCredentialAccept(credential, cli);
  credential
    .command("list")
    .description("all credentials")
    .option("--json", "as JSON")
    .action((options: { json?: boolean }) => listCredentials(cli, options.json === true));
  credential
    .command("show <name>")
    .description("one credential with its versions")
    .option("--json", "as JSON")
    .action((name: string, options: { json?: boolean }) => showCredential(cli, name, options.json === true));
  registerCredentialValidate(credential, cli);
  registerChanges(credential, cli);
}

function registerChanges(credential: Command, cli: Cli): void {
  credential
    .command("enable <name>")
    .description("use it again")
    .action((name: string) => setState(cli, name, "enabled"));
  credential
    .command("disable <name>")
    .description("stop using it; it stays stored")
    .action((name: string) => setState(cli, name, "disabled"));
  credential
    .command("promote <name> [version]")
    .description("make the pending (or the named) version the current one; the previous one to go back")
    .action((name: string, version: string | undefined) => promote(cli, name, version));
  credential
    .command("revoke <name> [version]")
    .description("give up one version, or all of them, for good")
    .action((name: string, version: string | undefined) => revoke(cli, name, version));
  credential
    .command("remove <name>")
    .description("delete a credential with all its versions")
    .option("--yes", "do not ask")
    .action((name: string, options: { yes?: boolean }) => remove(cli, name, options.yes === true));
}

async function listCredentials(cli: Cli, json: boolean): Promise<void> {
  const credentials = await readVault(cli, (vault) => vault.listCredentials());
  const states = statesOf(cli, credentials);
  if (json) {
    return cli.terminal.json(credentials.map((each) => ({ ...each, health: states.get(each.id) ?? "unknown" })));
  }
  if (credentials.length === 0) {
    return cli.terminal.note("no credentials; store one with `sidekey credential add <provider>`");
  }
  const rows = credentials.map((credential) => {
    const current = credential.versions.find((version) => version.stage === "current");
    return [
      credential.name,
      credential.provider,
      credential.environment,
      ownerText(credential),
      credential.state,
      states.get(credential.id) ?? "unknown",
      current === undefined ? "-" : String(current.number),
      current?.fingerprint ?? "-",
      formatTime(credential.expiresAt),
    ];
  });
  const columns = ["name", "provider", "environment", "owner", "state", "health", "version", "fingerprint", "expires"];
  cli.terminal.out(renderTable(columns, rows));
}

async function showCredential(cli: Cli, name: string, json: boolean): Promise<void> {
  const credential = await readVault(cli, (vault) => vault.getCredential(name));
  const health = healthOf(cli, credential);
  if (json) return cli.terminal.json({ ...credential, health });
  cli.terminal.out(
    renderFacts([
      ["name", credential.name],
      ["id", credential.id],
      ["provider", `${credential.provider} (${credential.environment})`],
      ["category", credential.category],
      ["owner", ownerText(credential)],
      ["hosts", credential.hosts.join(", ")],
      ["fields", credential.fields.join(", ")],
      ["state", credential.state],
      ["created", formatTime(credential.createdAt)],
      ["expires", formatTime(credential.expiresAt)],
    ]),
  );
  const versions = credential.versions.map((version) => [
    String(version.number),
    version.stage,
    formatTime(version.createdAt),
    version.fingerprint,
  ]);
  cli.terminal.out(`\n${renderTable(["version", "stage", "created", "fingerprint"], versions)}`);
  cli.terminal.out(`\n${renderHealth(cli, credential, health)}`);
}

async function setState(cli: Cli, name: string, state: Credential["state"]): Promise<void> {
  await withVault(cli, (vault) => {
    const credential = vault.setState(name, state, cli.actor);
    if (state === "enabled") forgive(cli, credential);
  });
  cli.terminal.out(`${name} is ${state}`);
}

async function promote(cli: Cli, name: string, to: string | undefined): Promise<void> {
  const number = await withVault(cli, (vault) => {
    const credential = vault.getCredential(name);
    const chosen = to === undefined ? pendingVersion(credential) : requireVersion(credential, to);
    vault.promote(name, chosen, cli.actor);
    return chosen;
  });
  cli.terminal.out(`${name} version ${number} is current`);
}

async function revoke(cli: Cli, name: string, version: string | undefined): Promise<void> {
  const numbers = await withVault(cli, (vault) => {
    const credential = vault.getCredential(name);
    const chosen = version === undefined ? livingVersions(credential) : [requireVersion(credential, version)];
    for (const number of chosen) vault.revokeVersion(name, number, cli.actor);
    return chosen;
  });
  cli.terminal.out(`${name}: version ${numbers.join(", ")} revoked; it will not be used again`);
  cli.terminal.note("if it leaked, revoke it at the provider too: sidekey can only stop using it");
}

function livingVersions(credential: Credential): number[] {
  const living = credential.versions.filter((version) => version.stage !== "revoked").map((version) => version.number);
  if (living.length === 0) throw notFound(`${credential.name} has no version that could be revoked`, "nothing to do");
  return living;
}

async function remove(cli: Cli, name: string, yes: boolean): Promise<void> {
  await withVault(cli, async (vault) => {
    vault.getCredential(name);
    if (!yes) await confirm(cli, name);
    vault.removeCredential(name, cli.actor);
  });
  cli.terminal.out(`${name} is removed`);
}

/** A key that is gone is gone, so somebody has to mean it. */
async function confirm(cli: Cli, name: string): Promise<void> {
  if (!cli.prompter.interactive) throw usageError(`removing ${name} cannot be undone`, "add --yes to do it");
  const answer = await cli.prompter.ask(`remove ${name} for good? type its name`, { hidden: false });
  const meant = answer.use((bytes) => bytes.equals(Buffer.from(name)));
  answer.wipe();
  if (!meant) throw new CliError("not removed");
}

function pendingVersion(credential: Credential): number {
  const pending = credential.versions.filter((version) => version.stage === "pending");
  const newest = pending[pending.length - 1];
  if (newest !== undefined) return newest.number;
  throw notFound(`${credential.name} has no pending version`, "store one with `sidekey credential add --pending`");
}

function requireVersion(credential: Credential, text: string): number {
  const found = credential.versions.find((version) => String(version.number) === text);
  if (found !== undefined) return found.number;
  throw notFound(`${credential.name} has no such version`, `see \`sidekey credential show ${credential.name}\``);
}

function ownerText(credential: Credential): string {
  return credential.owner.kind === "service" ? "service" : `user ${credential.owner.id}`;
}
