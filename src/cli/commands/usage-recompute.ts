import { join } from "node:path";
import type { Command } from "commander";
import { usdText } from "../../policy/usd-text.ts";
import { type CostTotals, type PriceCall, type RecomputeReport, recomputeCosts } from "../../store/usage-recompute.ts";
import type { Cli } from "../cli.ts";
import { usageError } from "../failure.ts";
import { formatTime, renderFacts } from "../output.ts";
import { timeRange } from "../time-range.ts";

interface Options {
  readonly since: string;
  readonly until?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/**
 * `usage recompute`: what past calls cost by the prices in force; beside a running daemon or without one.
 * @param usage the command `usage`
 * @param prices reads the price table; throws what tells the operator what is wrong with it
 */
export function registerUsageRecompute(usage: Command, cli: Cli, prices: (cli: Cli) => PriceCall): void {
  usage
    .command("recompute")
    .description("work out again what past calls cost, with the prices that are in force now")
    .option("--since <time>", "how far back, e.g. 24h, 30d, or a day or time, e.g. 2027-01-31", "30d")
    .option("--until <time>", "the same, for the end")
    .option("--dry-run", "tell what would change, and change nothing")
    .option("--json", "as JSON")
    .action((options: Options) => recompute(cli, prices(cli), { ...options, ...takenBy(usage) }));
}

/**
 * Options of this command that `usage` has taken, because it has them too.
 * @throws CliError when it has taken one that means nothing here
 */
function takenBy(usage: Command): Partial<Options> {
  const taken = Object.keys(usage.opts()).filter((name) => usage.getOptionValueSource(name) === "cli");
  const foreign = taken.find((name) => !["since", "until", "json"].includes(name));
  if (foreign !== undefined)
    throw usageError(`--${foreign} means nothing here`, "see `sidekey usage recompute --help`");
  return Object.fromEntries(taken.map((name) => [name, usage.getOptionValue(name)]));
}

async function recompute(cli: Cli, price: PriceCall, options: Options): Promise<void> {
  const range = timeRange(options, cli.now());
  const dryRun = options.dryRun === true;
  const report = await recomputeCosts(join(cli.config().dataDir, "usage.db"), price, { ...range, dryRun });
  if (options.json === true) cli.terminal.json(asJson(report, dryRun));
  else cli.terminal.out(renderFacts(asFacts(report, dryRun)));
  const days = report.daysLeft.map(dayOf).join(", ");
  if (days !== "")
    cli.terminal.note(`left as they were, because some of their requests are not kept any more: ${days}`);
  if (report.keptSinceMs !== null && report.keptSinceMs > range.sinceMs) {
    cli.terminal.note(`requests are kept since ${formatTime(report.keptSinceMs)}`);
  }
}

function asFacts(report: RecomputeReport, dryRun: boolean): [string, string][] {
  const { before, after } = report;
  const change = (of: (totals: CostTotals) => string): string => `${of(before)} -> ${of(after)}`;
  return [
    ["calls", String(report.calls)],
    [dryRun ? "would change" : "changed", String(report.changed)],
    ["cost", change(({ exactNano }) => `${usdText(exactNano)} USD`)],
    ["estimated", change(({ estimatedNano }) => `${usdText(estimatedNano)} USD`)],
    ["unpriced calls", change(({ unpriced }) => String(unpriced))],
    ["price table", report.table ?? "-"],
  ];
}

function asJson(report: RecomputeReport, dryRun: boolean): unknown {
  const totals = ({ exactNano, estimatedNano, unpriced }: CostTotals) => ({
    costUsd: { exact: usdText(exactNano), estimated: usdText(estimatedNano) },
    unpriced,
  });
  const { calls, changed, before, after, table, daysLeft, keptSinceMs } = report;
  const days = daysLeft.map(dayOf);
  return { dryRun, calls, changed, before: totals(before), after: totals(after), table, daysLeft: days, keptSinceMs };
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
