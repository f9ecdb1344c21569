import { join } from "node:path";
import type { Command } from "commander";
import { callCost } from "../../policy/call-cost.ts";
import { reportUsage, type UsageGroup, type UsageReport } from "../../store/usage-query.ts";
import type { PriceCall } from "../../store/usage-recompute.ts";
import type { Cli } from "../cli.ts";
import { usageError } from "../failure.ts";
import { parseSpan } from "../output.ts";
import { readPrices } from "../price-file.ts";
import { timeRange } from "../time-range.ts";
import { usageCsv, usageJson, usageTable } from "../usage-text.ts";
import { registerUsageRecompute } from "./usage-recompute.ts";

const GROUPS: readonly UsageGroup[] = ["route", "client", "credential", "provider", "model", "user", "day", "hour"];

interface Options {
  readonly by: string;
  readonly since: string;
  readonly until?: string;
  readonly csv?: boolean;
  readonly json?: boolean;
}

/** `usage`: what was called how often, what it used and what it cost, from the usage log; works without the daemon. */
export function registerUsage(program: Command, cli: Cli): void {
  const usage = program
    .command("usage")
    .description(
      "requests, errors, bytes, tokens and cost per route, client, credential, provider, model, user, day or hour",
    )
    .option("--by <group>", `${GROUPS.join("|")}; by user takes longer, it reads every request`, "route")
    .option("--since <time>", "how far back, e.g. 30m, 24h, 7d, or a day or time, e.g. 2027-01-31", "24h")
    .option("--until <time>", "the same, for the end")
    .option("--csv", "as CSV")
    .option("--json", "as JSON")
    .action((options: Options) => showUsage(cli, options));
  registerUsageRecompute(usage, cli, pricesInForce);
}

/** As the daemon prices calls. @throws PriceError when prices.yaml cannot be used, rather than taking all prices away */
function pricesInForce(cli: Cli): PriceCall {
  const { table } = readPrices(cli);
  return (call) => callCost(table, call);
}

async function showUsage(cli: Cli, options: Options): Promise<void> {
  const by = GROUPS.find((group) => group === options.by);
  if (by === undefined) throw usageError("--by takes one of", GROUPS.join(", "));
  if (options.csv === true && options.json === true) throw usageError("--csv or --json, not both");
  const range = timeRange(options, cli.now());
  const report = reportUsage(join(cli.config().dataDir, "usage.db"), { by, ...range });
  if (options.json === true) cli.terminal.json(usageJson(report));
  else if (options.csv === true) await writeCsv(cli, usageCsv(by, report));
  else showTable(cli, by, report, options);
}

/** A file gets the line ends of RFC 4180; a terminal gets lines. */
async function writeCsv(cli: Cli, text: string): Promise<void> {
  const write = cli.terminal.binary();
  if (write === null) cli.terminal.out(text.trimEnd().replaceAll("\r\n", "\n"));
  else await write(Buffer.from(text));
}

function showTable(cli: Cli, by: UsageGroup, report: UsageReport, { since, until }: Options): void {
  if (report.rows.length === 0) {
    const inTheLast = until === undefined && parseSpan(since) !== null;
    cli.terminal.note(inTheLast ? `no requests in the last ${since}` : "no requests in that time");
    return;
  }
  cli.terminal.out(usageTable(by, report));
  const { unpriced } = report.total;
  if (unpriced === 0) return;
  const calls = unpriced === 1 ? "1 call" : `${unpriced} calls`;
  cli.terminal.note(`${calls} used something that has no price: what that cost is in none of these sums`);
}
