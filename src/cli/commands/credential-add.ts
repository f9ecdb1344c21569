import type { Command } from "commander";
import { checkShape } from "../../providers/field-shape.ts";
import { coversHost } from "../../providers/host-pattern.ts";
import type { HostPattern, Provider } from "../../providers/schema.ts";
import type { Secret } from "../../secret.ts";
import type { Credential } from "../../store/credentials.ts";
import { HONEYTOKEN_METADATA, isHoneytoken } from "../../store/honeytoken.ts";
import type { Vault } from "../../store/vault.ts";
import type { Cli } from "../cli.ts";
import { withPlanOptions, withSecretOptions } from "../credential-options.ts";
import { CliError, usageError } from "../failure.ts";
import { withVaultChange } from "../open-vault.ts";
import { formatTime, parseExpiry } from "../output.ts";
import { collectSecrets, wipeAll } from "../secret-input.ts";
import { keep, validateNew } from "./credential-validate.ts";
import { hostText, requireProvider } from "./provider.ts";

const CREDENTIAL_NAME = /^[a-z0-9][a-z0-9-]{0,63}$/;
const USER_ID = /^[\x21-\x7e]{1,128}$/;

/** Options that say what a key is for, shared with `seal`. */
export interface PlanOptions {
  readonly name?: string;
  readonly category?: string;
  readonly environment?: string;
  readonly host: readonly string[];
  readonly ownerUser?: string;
  readonly expires?: string;
}

interface AddOptions extends PlanOptions {
  readonly stdin?: boolean;
  readonly file: readonly string[];
  readonly replace?: boolean;
  readonly pending?: boolean;
  readonly honeytoken?: boolean;
  readonly validate: boolean;
}

/** What is to be stored, apart from the secret fields; settled before anybody is asked for a key. */
export interface Plan {
  readonly provider: Provider;
  readonly name: string;
  readonly environment: string;
  readonly category: string;
  readonly hosts: readonly string[];
  readonly owner: Credential["owner"];
  readonly expiresAt: number | null;
}

/** `credential add`: stores a key. The key comes from a hidden prompt, stdin or files, never from argv. */
export function registerCredentialAdd(credential: Command, cli: Cli): void {
  const add = credential
    .command("add <provider>")
    .description("store a key; asks for it without showing it, or takes --stdin or --file");
  withSecretOptions(withPlanOptions(add))
    .option("--replace", "the credential exists: this becomes its current version")
    .option("--pending", "the credential exists: store this for a later `credential promote`")
    .option("--honeytoken", "a bait: never sent, never checked; an alert when anybody uses it or shows its value")
    .option("--no-validate", "do not ask the provider, and store it although it does not look like its key")
    .action((provider: string, options: AddOptions) => addCredential(cli, provider, options));
}

async function addCredential(cli: Cli, providerId: string, options: AddOptions): Promise<void> {
  checkVersionOptions(options);
  const plan = makePlan(requireProvider(cli, providerId), options, cli.now());
  await withVaultChange(cli, async (vault) => {
    const existing = checkName(vault, plan, options);
    const fields = [...plan.provider.fields.values()];
    const sources = { stdin: options.stdin === true, files: options.file };
    const secrets = await collectSecrets(fields, sources, { input: cli.stdin, prompter: cli.prompter });
    try {
      checkFields(cli, plan.provider, secrets, options.validate);
      const started = cli.now();
      const subject = existing ?? plan;
      const bait = options.honeytoken === true || (existing !== undefined && isHoneytoken(existing));
      const checked = options.validate && !bait ? await validateNew(cli, plan.provider, subject, secrets) : null;
      const stored = store(vault, plan, secrets, { options, actor: cli.actor });
      if (checked) keep(cli, stored, newestOf(stored).number, checked, { reason: "add", started });
      report(cli, stored);
    } finally {
      wipeAll(secrets);
    }
  });
}

/** Fills in the provider's defaults. @throws CliError with exit 2 when the options do not fit the provider */
export function makePlan(provider: Provider, options: PlanOptions, nowMs: number): Plan {
  if (provider.fields.size === 0) throw usageError(`${provider.id} takes no key`, "route it with `credentials: []`");
  const environment = options.environment ?? [...provider.environments.keys()][0] ?? "";
  const known = provider.environments.get(environment);
  if (known === undefined) {
    const names = [...provider.environments.keys()].join(", ");
    throw usageError(`${provider.id} has no environment of that name`, `its environments are: ${names}`);
  }
  const name = options.name ?? `${provider.id}-main`;
  if (!CREDENTIAL_NAME.test(name))
    throw usageError("--name takes up to 64 lower-case letters, digits and -", "for example fmp-main");
  if (options.ownerUser !== undefined && !USER_ID.test(options.ownerUser)) {
    throw usageError("--owner-user takes up to 128 printable ASCII characters without spaces");
  }
  return {
    provider,
    name,
    environment,
    category: options.category ?? provider.category,
    hosts: chooseHosts(provider.id, known.hosts, options.host),
    owner: options.ownerUser === undefined ? { kind: "service" } : { kind: "user", id: options.ownerUser },
    expiresAt: options.expires === undefined ? null : expiry(options.expires, nowMs),
  };
}

/** A new version takes over where the credential may go; only a new credential can be bound differently. */
function checkVersionOptions(options: AddOptions): void {
  if (options.replace !== true && options.pending !== true) return;
  if (options.replace === true && options.pending === true) {
    throw usageError("--replace and --pending exclude each other");
  }
  if (options.honeytoken === true) {
    throw usageError("only a new credential can be made a honeytoken", "store it under another --name");
  }
  const bound = [options.category, options.environment, options.ownerUser, options.expires];
  if (options.host.length === 0 && bound.every((option) => option === undefined)) return;
  throw usageError(
    "--replace and --pending keep the credential's hosts, environment, owner, category and expiry",
    "leave those options out, or store a new credential under another --name",
  );
}

/** Binding to hosts is what stops a key from going anywhere else, so a wildcard has to be spelled out. */
function chooseHosts(providerId: string, patterns: readonly HostPattern[], wanted: readonly string[]): string[] {
  const offered = patterns.map(hostText).join(", ");
  if (wanted.length === 0) {
    if (patterns.some((pattern) => pattern.wildcard)) {
      throw usageError(`${providerId} has a host of your own (${offered})`, "name it: --host <your host>");
    }
    return patterns.map(hostText);
  }
  for (const host of wanted) {
    if (!patterns.some((pattern) => coversHost(pattern, host))) {
      throw usageError(`--host "${host}" is no host of ${providerId} in this environment`, `choose from: ${offered}`);
    }
  }
  return [...new Set(wanted)];
}

function expiry(text: string, nowMs: number): number {
  const at = parseExpiry(text, nowMs);
  if (at === null) throw usageError("--expires takes a span or a date", "for example 90d or 2027-01-31");
  if (at <= nowMs) throw usageError("--expires is in the past");
  return at;
}

/** Before asking for a key: would storing it work? @returns the credential that gets another version */
function checkName(vault: Vault, plan: Plan, options: AddOptions): Credential | undefined {
  const existing = vault.listCredentials().find((credential) => credential.name === plan.name);
  const another = options.replace === true || options.pending === true;
  if (existing === undefined && another) {
    throw new CliError(`there is no credential ${plan.name} yet`, { nextStep: "leave --replace and --pending out" });
  }
  if (existing === undefined) return undefined;
  if (!another) {
    throw new CliError(`credential ${plan.name} exists already`, {
      nextStep: "to change its key add --replace (or --pending); for another key choose --name",
    });
  }
  if (existing.provider !== plan.provider.id) {
    throw new CliError(`credential ${plan.name} belongs to provider ${existing.provider}`, {
      nextStep: "choose another --name",
    });
  }
  return existing;
}

/** @throws CliError when a field is missing or does not look like a key of `provider` */
export function checkFields(
  cli: Cli,
  provider: Provider,
  secrets: ReadonlyMap<string, Secret>,
  validate: boolean,
): void {
  for (const field of provider.fields.values()) {
    const secret = secrets.get(field.name);
    if (secret === undefined) throw new CliError(`${field.name} is missing`);
    const result = checkShape(field, secret);
    if (result.ok) continue;
    // Bytes that could break out of a header line are refused whatever the options say.
    if (!checkShape({ ...field, shape: null }, secret).ok) throw new CliError(result.problem);
    if (validate && result.enforced) {
      const where = provider.keyPage === undefined ? "" : ` (keys are made at ${provider.keyPage})`;
      throw new CliError(result.problem, {
        nextStep: `is it the right key${where}? take it anyway with --no-validate`,
      });
    }
    cli.terminal.warn(`${result.problem}; taken anyway`);
  }
}

function store(
  vault: Vault,
  plan: Plan,
  secrets: ReadonlyMap<string, Secret>,
  by: { readonly options: AddOptions; readonly actor: string },
): Credential {
  if (by.options.replace === true) return vault.addVersion(plan.name, secrets, "current", by.actor);
  if (by.options.pending === true) return vault.addVersion(plan.name, secrets, "pending", by.actor);
  const { provider, ...rest } = plan;
  const metadata = by.options.honeytoken === true ? HONEYTOKEN_METADATA : {};
  return vault.addCredential({ ...rest, provider: provider.id, metadata }, secrets, by.actor);
}

function newestOf(credential: Credential): Credential["versions"][number] {
  return credential.versions.reduce((latest, version) => (version.number > latest.number ? version : latest));
}

function report(cli: Cli, credential: Credential): void {
  const newest = newestOf(credential);
  const { terminal } = cli;
  terminal.out(
    `stored ${credential.name} version ${newest.number} (${newest.stage}), fingerprint ${newest.fingerprint}`,
  );
  const use = isHoneytoken(credential) ? "a honeytoken, never sent" : `may go to ${credential.hosts.join(", ")}`;
  terminal.out(`  ${credential.provider} ${credential.environment}, ${use}`);
  if (credential.expiresAt !== null) terminal.out(`  expires ${formatTime(credential.expiresAt)}`);
  if (newest.stage === "pending") terminal.note(`use it with \`sidekey credential promote ${credential.name}\``);
}
