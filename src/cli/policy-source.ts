import { absoluteTarget } from "../daemon/ingress/target.ts";
import { ProxyError } from "../daemon/pipeline/errors.ts";
import { readPolicyFile } from "../daemon/policy-file.ts";
import { compilePolicy, type KnownObjects, type PolicySnapshot } from "../policy/compile.ts";
import type { PolicyQuery } from "../policy/decide.ts";
import { type PolicyDocument, parsePolicy } from "../policy/parse.ts";
import { unpricedBudgets } from "../policy/price-coverage.ts";
import type { PolicyProblem } from "../policy/problem.ts";
import type { Vault } from "../store/vault.ts";
import type { Cli } from "./cli.ts";
import { usageError } from "./failure.ts";
import { shortPath } from "./output.ts";
import { usablePrices } from "./price-file.ts";

export interface CheckedPolicy {
  /** As shown in messages: relative to where the command runs, when it lies below. */
  readonly file: string;
  readonly snapshot: PolicySnapshot;
  readonly warnings: readonly PolicyProblem[];
}

/** Credentials and clients that the vault has now. */
export function knownObjects(vault: Vault, nowMs: number): KnownObjects {
  const working = vault
    .listClientTokens()
    .filter((token) => token.revokedAt === null && (token.expiresAt === null || token.expiresAt > nowMs));
  return {
    credentials: new Map(vault.listCredentials().map((credential) => [credential.name, credential])),
    clients: new Set(working.map((token) => token.client)),
  };
}

/**
 * Reads and compiles the policy file as the daemon would.
 * @throws PolicyError, PolicyFileError, CatalogError
 */
export function compilePolicyFile(cli: Cli, known: KnownObjects): CheckedPolicy {
  const document = readPolicy(cli);
  const { snapshot, warnings } = compilePolicy(document, cli.catalog(), known, "cli");
  return { file: document.file, snapshot, warnings: [...warnings, ...budgetWarnings(cli, document)] };
}

/** Without a look at the prices when nothing depends on them. */
function budgetWarnings(cli: Cli, document: PolicyDocument): PolicyProblem[] {
  const budgets = Object.values(document.content.routes).some(({ limits }) =>
    limits?.some(({ usd }) => usd !== undefined),
  );
  return budgets ? unpricedBudgets(document, usablePrices(cli)) : [];
}

/** @throws PolicyError, PolicyFileError */
export function readPolicy(cli: Cli): PolicyDocument {
  const { policyFile } = cli.config();
  return parsePolicy(readPolicyFile(policyFile), shortPath(policyFile));
}

/** A head with nothing in it but the request line. */
const BARE_HEAD = {
  fields: [],
  host: null,
  hasBody: false,
  bodyLength: null,
  expectContinue: false,
  websocket: false,
};

/**
 * The question that a request for `url` asks the policy; the URL is read as the proxy port reads it.
 * @throws CliError with exit 2 when it is no http(s) URL
 */
export function policyQuery(url: string, asked: { readonly method: string; readonly client: string }): PolicyQuery {
  const method = asked.method.toUpperCase();
  try {
    const { host, port, path } = absoluteTarget({ ...BARE_HEAD, method, url });
    return { host, port, path, method, client: asked.client, phase: "request" };
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    const reason = error.publicMessage;
    throw usageError(`not a URL that can be asked about: ${reason}`, "write it like https://api.openai.com/v1/models");
  }
}
