import { join } from "node:path";
import type { Command } from "commander";
import { queryUsage, type UsageGroup } from "../../store/usage-query.ts";
import type { Cli } from "../cli.ts";
import { usageError } from "../failure.ts";
import { formatBytes, parseSpan, renderTable } from "../output.ts";

const GROUPS: readonly UsageGroup[] = ["route", "client", "credential", "provider", "day", "hour"];

/** `usage`: what was called how often, from the usage log; works without the daemon. */
export function registerUsage(program: Command, cli: Cli): void {
  program
    .command("usage")
    .description("requests, errors and bytes per route, client, credential, provider, day or hour")
    .option("--by <group>", GROUPS.join("|"), "route")
    .option("--since <span>", "how far back, e.g. 30m, 24h, 7d", "24h")
    .option("--json", "as JSON")
    .action((options: { by: string; since: string; json?: boolean }) => showUsage(cli, options));
}

function showUsage(cli: Cli, options: { by: string; since: string; json?: boolean }): void {
  const by = GROUPS.find((group) => group === options.by);
  if (by === undefined) throw usageError("--by takes one of", GROUPS.join(", "));
  const since = parseSpan(options.since);
  if (since === null) throw usageError("--since takes a span", "for example 30m, 24h or 7d");
  const path = join(cli.config().dataDir, "usage.db");
  const rows = queryUsage(path, { by, sinceMs: cli.now() - since });
  if (options.json === true) {
    cli.terminal.json(rows);
    return;
  }
  if (rows.length === 0) {
    cli.terminal.note(`no requests in the last ${options.since}`);
    return;
  }
  const table = rows.map((row) => [
    row.key,
    String(row.requests),
    String(row.errors),
    String(row.denied),
    formatBytes(row.bytesUp),
    formatBytes(row.bytesDown),
    `${Math.round(row.avgMs)} ms`,
    `${Math.round(row.p95Ms)} ms`,
  ]);
  cli.terminal.out(renderTable([by, "requests", "errors", "denied", "sent", "received", "mean", "p95"], table));
}
