import type { Command } from "commander";
import { type TamperKind, VaultTamperedError } from "../../store/errors.ts";
import type { Vault } from "../../store/vault.ts";
import type { Cli } from "../cli.ts";
import { CliError, EXIT, usageError } from "../failure.ts";
import { readVault, withVault } from "../open-vault.ts";
import { formatTime, parseSpan, renderTable } from "../output.ts";
import { compareRecords, type Records, registerCheckpoint } from "./audit-checkpoint.ts";

const DEFAULT_ENTRIES = 50;

/** `audit list|verify`: the tamper-evident record of what was done. */
export function registerAudit(program: Command, cli: Cli): void {
  const audit = program.command("audit").description("the tamper-evident record of what was done");
  audit
    .command("list")
    .description("the newest entries, oldest first")
    .option("--since <span>", "only entries of the last span, e.g. 24h")
    .option("--limit <n>", "how many", String(DEFAULT_ENTRIES))
    .option("--json", "as JSON")
    .action((options: ListOptions) => listEntries(cli, options));
  audit
    .command("verify")
    .description("check the whole chain and its anchor; exit 1 if anything was changed")
    .option("--anchor <file>", "compare with a copy of audit.anchor, or a log of them, kept elsewhere")
    .option("--checkpoint <file>", "compare with what `audit checkpoint` wrote")
    .option("--json", "as JSON")
    .action((options: VerifyOptions) => verifyChain(cli, options));
  registerCheckpoint(audit, cli);
}

type VerifyOptions = Records & { readonly json?: boolean };

interface ListOptions {
  readonly since?: string;
  readonly limit: string;
  readonly json?: boolean;
}

async function listEntries(cli: Cli, options: ListOptions): Promise<void> {
  const limit = /^[1-9]\d{0,6}$/.test(options.limit) ? Number(options.limit) : null;
  if (limit === null) throw usageError("--limit takes a number from 1 to 9999999");
  const since = options.since === undefined ? null : parseSpan(options.since);
  if (options.since !== undefined && since === null) throw usageError("--since takes a span", "for example 24h or 7d");
  const filter = since === null ? { limit } : { limit, since: cli.now() - since };
  const entries = await readVault(cli, (vault) => vault.listAudit(filter));
  if (options.json === true) return cli.terminal.json(entries);
  const rows = entries.map((entry) => [
    String(entry.seq),
    formatTime(entry.at),
    entry.actor,
    entry.action,
    entry.object,
    Object.entries(entry.detail)
      .map(([key, value]) => `${key}=${value}`)
      .join(" "),
  ]);
  cli.terminal.out(renderTable(["seq", "time", "actor", "action", "object", "detail"], rows));
}

const nextStep =
  "keep the data directory as it is for the investigation and treat the stored keys as exposed;\n" +
  "then put back a backup, vault.db and audit.anchor of the same moment";
const acknowledge = "or, if you put this copy there yourself: sidekey vault acknowledge-rollback";

/** What stops the vault from opening tells to run this very command. */
function notOpened(error: unknown): never {
  if (error instanceof VaultTamperedError) throw changed(`${error.object}: ${error.problem}`, error.kind);
  throw error;
}

function changed(message: string, kind: TamperKind): CliError {
  const whole = kind === "rollback" || kind === "anchor";
  return new CliError(message, { nextStep: whole ? `${nextStep}\n${acknowledge}` : nextStep });
}

async function verifyChain(cli: Cli, options: VerifyOptions): Promise<void> {
  const verify = (vault: Vault) => {
    const verified = vault.verifyAudit();
    return verified.ok ? (compareRecords(vault, options) ?? verified) : verified;
  };
  const result = await withVault(cli, verify).catch(notOpened);
  if (options.json === true) {
    cli.terminal.json(result);
    if (!result.ok) cli.exit(EXIT.failed);
    return;
  }
  if (!result.ok) {
    throw changed(`the audit record was changed: entry ${result.firstBadSeq}: ${result.problem}`, result.kind);
  }
  cli.terminal.status(
    "ok",
    `${result.entries} entries, chain and anchor intact, head ${result.head.hash.slice(0, 16)}`,
  );
}
