import type { Command } from "commander";
import type { Credential } from "../../store/credentials.ts";
import { isHoneytoken } from "../../store/honeytoken.ts";
import type { Cli } from "../cli.ts";
import { readVault } from "../open-vault.ts";
import { formatTime, renderFacts, renderTable } from "../output.ts";
import { type RotationFacts, rotationFacts, rotationLines, rotationSummary } from "../rotation-text.ts";
import { registerCredentialAccept } from "./credential-accept.ts";
import { registerCredentialAdd } from "./credential-add.ts";
import { healthOf, renderHealth, statesOf } from "./credential-health.ts";
import { providerLimitsOf, renderProviderLimits } from "./credential-limits.ts";
import { registerCredentialRemove } from "./credential-remove.ts";
import { registerCredentialRotate } from "./credential-rotate.ts";
import { registerCredentialValidate } from "./credential-validate.ts";

/** `credential ...`: the stored keys. Nothing here shows a stored secret again (guarantee G16). */
export function registerCredential(program: Command, cli: Cli): void {
  const credential = program.command("credential").description("the stored keys; none is ever shown again");
  registerCredentialAdd(credential, cli);
  registerCredentialAccept(credential, cli);
  credential
    .command("list")
    .description("all credentials")
    .option("--removed", "those that were removed and can be restored")
    .option("--json", "as JSON")
    .action((options: { json?: boolean; removed?: boolean }) =>
      options.removed === true ? listRemoved(cli, options.json === true) : listCredentials(cli, options.json === true),
    );
  credential
    .command("show <name>")
    .description("one credential with its versions")
    .option("--json", "as JSON")
    .action((name: string, options: { json?: boolean }) => showCredential(cli, name, options.json === true));
  registerCredentialValidate(credential, cli);
  registerCredentialRotate(credential, cli);
  registerCredentialRemove(credential, cli);
}

async function listCredentials(cli: Cli, json: boolean): Promise<void> {
  const stored = await readVault(cli, (vault) =>
    vault.listCredentials().map((credential) => ({ ...credential, ...rotationFacts(cli, vault, credential) })),
  );
  const states = statesOf(cli, stored);
  const credentials = stored.map((credential) => ({ ...credential, health: states.get(credential.id) ?? "unknown" }));
  if (json) return cli.terminal.json(credentials);
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
      useText(credential),
      states.get(credential.id) ?? "unknown",
      current === undefined ? "-" : String(current.number),
      current?.fingerprint ?? "-",
      formatTime(credential.expiresAt),
      formatTime(credential.rotationDueAt),
      rotationSummary(credential.rotation),
    ];
  });
  const about = ["name", "provider", "environment", "owner", "state", "health", "version", "fingerprint"];
  const columns = [...about, "expires", "rotation due", "rotation"];
  cli.terminal.out(renderTable(columns, rows));
}

async function listRemoved(cli: Cli, json: boolean): Promise<void> {
  const removed = await readVault(cli, (vault) => vault.listRemoved());
  if (json) return cli.terminal.json(removed);
  if (removed.length === 0) return cli.terminal.note("no removed credentials");
  const rows = removed.map(({ credential, removedAt, shredAt }) => [
    credential.name,
    credential.provider,
    formatTime(removedAt),
    formatTime(shredAt),
  ]);
  cli.terminal.out(renderTable(["name", "provider", "removed", "shredded on"], rows));
}

async function showCredential(cli: Cli, name: string, json: boolean): Promise<void> {
  const credential: Credential & RotationFacts = await readVault(cli, (vault) => {
    const found = vault.getCredential(name);
    return { ...found, ...rotationFacts(cli, vault, found) };
  });
  const health = healthOf(cli, credential);
  const providerLimits = providerLimitsOf(cli, credential);
  if (json) return cli.terminal.json({ ...credential, health, providerLimits });
  cli.terminal.out(
    renderFacts([
      ["name", credential.name],
      ["id", credential.id],
      ["provider", `${credential.provider} (${credential.environment})`],
      ["category", credential.category],
      ["owner", ownerText(credential)],
      ["hosts", credential.hosts.join(", ")],
      ["fields", credential.fields.join(", ")],
      ["state", useText(credential)],
      ["created", formatTime(credential.createdAt)],
      ["expires", formatTime(credential.expiresAt)],
      ...rotationLines(credential),
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
  const limits = renderProviderLimits(cli, providerLimits);
  if (limits !== null) cli.terminal.out(`\n${limits}`);
}

/** Operators have to know a bait when they see one. */
function useText(credential: Credential): string {
  return isHoneytoken(credential) ? "honeytoken" : credential.state;
}

function ownerText(credential: Credential): string {
  return credential.owner.kind === "service" ? "service" : `user ${credential.owner.id}`;
}
