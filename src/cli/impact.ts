import { join } from "node:path";
import type { PolicySnapshot, Route } from "../policy/compile.ts";
import type { Credential } from "../store/credentials.ts";
import { type CredentialUse, queryCredentialUse } from "../store/usage-query.ts";
import type { Vault } from "../store/vault.ts";
import type { Cli } from "./cli.ts";
import { CliError, describeFailure, usageError } from "./failure.ts";
import { formatTime } from "./output.ts";
import { compilePolicyFile, knownObjects } from "./policy-source.ts";

/** How far back the summary looks. */
const DAYS = 7;
const DAY_MS = 86_400_000;
/** More clients than this are only counted. */
const MOST_SHOWN = 10;

/** Who would notice a change to a credential. */
export interface Impact {
  /** Ids of the routes that use it. */
  readonly routes: Known<readonly string[]>;
  /** In the last 7 days. */
  readonly uses: Known<readonly CredentialUse[]>;
}

/** A key that leaked must be revocable whatever state the policy or the usage log is in. */
type Known<T> = { readonly value: T } | { readonly problem: string };

export interface Meant {
  /** `--yes`. */
  readonly yes: boolean;
  /** What is asked at the terminal, without the question mark. */
  readonly question: string;
  /** Not to be done by mistake: without a terminal it is refused unless --yes is given. */
  readonly destructive?: boolean;
  /** The name has to be typed instead of `y`. */
  readonly typed?: string;
}

/** Which routes name the credential, or would take it as a user's own. */
export function routesUsing(policy: PolicySnapshot, credential: Credential): string[] {
  return policy.routes.filter((route) => uses(route, credential)).map(({ id }) => id);
}

function uses({ provider, credentials }: Route, credential: Credential): boolean {
  if (credentials.use.some(({ name }) => name === credential.name) || credentials.else === credential.name) return true;
  return credential.owner.kind === "user" && credentials.owner === "user" && provider.id === credential.provider;
}

/** @param version only this version's use; its routes are those of the credential */
export function impactOf(cli: Cli, vault: Vault, credential: Credential, version?: number): Impact {
  const query = {
    credential: credential.name,
    sinceMs: cli.now() - DAYS * DAY_MS,
    ...(version === undefined ? {} : { version }),
  };
  return {
    routes: tried(() => {
      const { snapshot } = compilePolicyFile(cli, knownObjects(vault, cli.now()));
      return routesUsing(snapshot, credential);
    }),
    uses: tried(() => queryCredentialUse(join(cli.config().dataDir, "usage.db"), query)),
  };
}

function tried<T>(find: () => T): Known<T> {
  try {
    return { value: find() };
  } catch (error) {
    return { problem: describeFailure(error).message.split("\n")[0] ?? "" };
  }
}

/** What a change touches, for people, on stderr. */
export function showImpact(cli: Cli, credential: Credential, impact: Impact, version?: number): void {
  const { terminal } = cli;
  const stages = credential.versions.map(({ number, stage }) => `${number} ${stage}`).join(", ");
  terminal.note(
    `${credential.name} (${credential.provider} ${credential.environment}, ${credential.state}): ${stages}`,
  );
  terminal.note(`  ${routesLine(impact.routes)}`);
  for (const line of usesLines(impact.uses, version === undefined ? "it" : `version ${version}`)) {
    terminal.note(`  ${line}`);
  }
}

function routesLine(routes: Impact["routes"]): string {
  if ("problem" in routes) return `which routes use it is not known: ${routes.problem}`;
  return routes.value.length === 0 ? "no route uses it" : `used by route ${routes.value.join(", ")}`;
}

function usesLines(uses: Impact["uses"], what: string): string[] {
  if ("problem" in uses) return [`who used ${what} is not known: ${uses.problem}`];
  if (uses.value.length === 0) return [`nobody used ${what} in the last ${DAYS} days`];
  const requests = uses.value.reduce((sum, use) => sum + use.requests, 0);
  const shown = uses.value
    .slice(0, MOST_SHOWN)
    .map((use) => `  ${use.client} on ${use.route}: ${use.requests}, last in the hour of ${formatTime(use.lastMs)}`);
  const more = uses.value.length - shown.length;
  const rest = more > 0 ? [`  and ${more} more; see \`sidekey usage --by client\``] : [];
  return [`used ${what} in the last ${DAYS} days: ${requests} requests`, ...shown, ...rest];
}

/**
 * Asks whether it is meant. Without a terminal nobody can be asked: what can be undone goes on, the rest needs --yes.
 * @throws CliError when the answer is no; exit 2 without a terminal
 */
export async function confirm(cli: Cli, meant: Meant): Promise<void> {
  if (meant.yes) return;
  if (!cli.prompter.interactive) {
    if (meant.destructive !== true) return;
    throw usageError(`${meant.question}? there is no terminal to ask at`, "add --yes to do it");
  }
  const expected = meant.typed ?? "y";
  const how = meant.typed === undefined ? "[y/N]" : "type its name to do it";
  const answer = await cli.prompter.ask(`${meant.question}? ${how}`, { hidden: false });
  const agreed = answer.use((bytes) => bytes.equals(Buffer.from(expected)));
  answer.wipe();
  if (!agreed) throw new CliError("nothing was changed");
}
