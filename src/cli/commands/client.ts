import type { Command } from "commander";
import type { Cli } from "../cli.ts";
import { usageError } from "../failure.ts";
import { readVault, withVault } from "../open-vault.ts";
import { formatTime, parseExpiry, renderTable } from "../output.ts";
import { readPolicy } from "../policy-source.ts";

/** `client add|list|revoke`: the tokens by which services are known. */
export function registerClient(program: Command, cli: Cli): void {
  const client = program.command("client").description("tokens by which services are known to the proxy");
  client
    .command("add <client>")
    .description("make a token for a client of policy.yaml; it is shown once")
    .option("--expires <span|date>", "when it stops working, e.g. 90d or 2027-01-31")
    .option("--label <text>", "a note for `client list`, e.g. where it is deployed")
    .action((name: string, options: AddOptions) => addToken(cli, name, options));
  client
    .command("list")
    .description("tokens by id; never their values")
    .option("--json", "as JSON")
    .action((options: { json?: boolean }) => listTokens(cli, options.json === true));
  client
    .command("revoke <client-or-token-id>")
    .description("stop one token, or all tokens of a client, at once")
    .action((which: string) => revokeTokens(cli, which));
}

interface AddOptions {
  readonly expires?: string;
  readonly label?: string;
}

async function addToken(cli: Cli, client: string, options: AddOptions): Promise<void> {
  const expiresAt = options.expires === undefined ? null : expiry(options.expires, cli.now());
  const added = await withVault(cli, (vault) =>
    vault.addClientToken(client, { expiresAt, label: options.label ?? "" }, cli.actor),
  );
  cli.terminal.note(`Token ${added.id} of client ${client}. Store it now: it is not shown again.`);
  cli.terminal.out(added.token);
  if (policyLacks(cli, client)) {
    cli.terminal.warn(`policy.yaml has no client ${client}; requests with the token are refused until it does`);
  }
}

/** A policy that cannot be read is another command's matter; the token is good whatever it says. */
function policyLacks(cli: Cli, client: string): boolean {
  try {
    return !Object.hasOwn(readPolicy(cli).content.clients, client);
  } catch {
    return false;
  }
}

function expiry(text: string, nowMs: number): number {
  const at = parseExpiry(text, nowMs);
  if (at === null) throw usageError("--expires takes a span or a date", "for example 90d or 2027-01-31");
  if (at <= nowMs) throw usageError("--expires is in the past");
  return at;
}

async function listTokens(cli: Cli, json: boolean): Promise<void> {
  const tokens = await readVault(cli, (vault) => vault.listClientTokens());
  if (json) return cli.terminal.json(tokens);
  if (tokens.length === 0) return cli.terminal.note("no client tokens; make one with `sidekey client add app`");
  const rows = tokens.map((token) => [
    token.client,
    token.id,
    token.label || "-",
    formatTime(token.createdAt),
    formatTime(token.expiresAt),
    formatTime(token.revokedAt),
  ]);
  cli.terminal.out(renderTable(["client", "id", "label", "created", "expires", "revoked"], rows));
}

async function revokeTokens(cli: Cli, which: string): Promise<void> {
  const revoked = await withVault(cli, (vault) => vault.revokeClientTokens(which, cli.actor));
  if (revoked.length === 0) return cli.terminal.note("nothing to revoke: every token of it was revoked before");
  cli.terminal.out(`revoked ${revoked.join(", ")}`);
  cli.terminal.note("a running daemon notices within 1 s");
}
