import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { type Catalog, loadCatalog } from "../../providers/catalog.ts";
import type { Secret } from "../../secret.ts";
import { ready } from "../../store/crypto.ts";
import {
  MAX_PUBLIC_KEYS_BYTES,
  type PublicKeys,
  parsePublicKeys,
  type SubmissionKey,
} from "../../store/public-keys.ts";
import { sealSubmission } from "../../store/submission.ts";
import { checkCode } from "../../store/submission-text.ts";
import type { Cli } from "../cli.ts";
import { withPlanOptions, withSecretOptions } from "../credential-options.ts";
import { CliError, usageError } from "../failure.ts";
import { collectSecrets, wipeAll } from "../secret-input.ts";
import { readTextFile } from "../text-input.ts";
import { checkFields, makePlan, type Plan, type PlanOptions } from "./credential-add.ts";
import { requireProvider } from "./provider.ts";
import { writeText } from "./vault-public-key.ts";

interface SealOptions extends PlanOptions {
  readonly publicKey: string;
  readonly stdin?: boolean;
  readonly file: readonly string[];
  readonly validate: boolean;
  readonly out?: string;
}

/** `seal`: encrypts a key for a vault that is somewhere else. Needs its public keys and the catalog, nothing more. */
export function registerSeal(program: Command, cli: Cli): void {
  const command = program
    .command("seal <provider>")
    .description("encrypt a key for a vault on another machine; `credential accept` stores it there")
    .requiredOption("--public-key <file>", "what `sidekey vault public-key` wrote there");
  withSecretOptions(withPlanOptions(command))
    .option("--out <file>", "write to a new file instead of stdout")
    .option("--no-validate", "seal it although it does not look like a key of this provider")
    .action((provider: string, options: SealOptions) => seal(cli, provider, options));
}

async function seal(cli: Cli, providerId: string, options: SealOptions): Promise<void> {
  const catalog = loadOwnCatalog(cli);
  const plan = makePlan(requireProvider({ ...cli, catalog: () => catalog }, providerId), options, cli.now());
  const publicKeys = parsePublicKeys(readTextFile(options.publicKey, MAX_PUBLIC_KEYS_BYTES));
  const key = chooseKey(publicKeys, plan.category);
  if (options.out !== undefined && existsSync(options.out)) {
    throw usageError(`${options.out} exists already`, "remove it, or name another file");
  }
  await ready();
  const sources = { stdin: options.stdin === true, files: options.file };
  const devices = { input: cli.stdin, prompter: cli.prompter };
  const secrets = await collectSecrets([...plan.provider.fields.values()], sources, devices);
  try {
    checkFields(cli, plan.provider, secrets, options.validate);
    const { text, digest } = sealPlan(cli, plan, key, secrets);
    writeText(cli, options.out, text);
    const { terminal } = cli;
    terminal.note(`sealed ${plan.name} for vault ${key.vault}, category ${key.category} generation ${key.generation}`);
    terminal.note(`public keys ${publicKeys.checksum}; compare with \`sidekey vault public-key\` there`);
    terminal.note(`check code ${checkCode(digest)}; \`sidekey credential accept\` shows the same`);
  } finally {
    wipeAll(secrets);
  }
}

function sealPlan(cli: Cli, plan: Plan, key: SubmissionKey, secrets: ReadonlyMap<string, Secret>) {
  const { provider, expiresAt, ...rest } = plan;
  return sealSubmission(key, { ...rest, provider: provider.id, expires: expiresAt }, secrets, cli.now());
}

/** A machine that only seals has no config directory; the catalog of the package is as good. */
function loadOwnCatalog(cli: Cli): Catalog {
  const { providersDir } = cli.config();
  return loadCatalog(existsSync(providersDir) ? providersDir : join(cli.packageRoot, "config", "providers"));
}

function chooseKey({ keys }: PublicKeys, category: string): SubmissionKey {
  const key = keys.get(category);
  if (key !== undefined) return key;
  throw new CliError(`the public key file has no key of category ${category}`, {
    nextStep: `choose one with --category: ${[...keys.keys()].join(", ")}; or export the file again`,
  });
}
