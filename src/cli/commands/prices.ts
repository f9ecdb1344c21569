import type { Command } from "commander";
import {
  type PeriodFile,
  type ProviderFile,
  type StepFile,
  type TierFile,
  type WrittenPrices,
  writtenUnits,
} from "../../policy/price-schema.ts";
import { costOf, maxOutputOf, PriceError } from "../../policy/price-table.ts";
import { parseInstant } from "../../policy/price-value.ts";
import { usdText } from "../../policy/usd-text.ts";
import { UNITS, type Unit, type Units } from "../../providers/usage/usage.ts";
import type { Cli } from "../cli.ts";
import { EXIT, notFound, usageError } from "../failure.ts";
import { formatTime, problemLine, renderFacts, renderTable } from "../output.ts";
import { readPrices } from "../price-file.ts";

/** `prices check|show|cost`: what calls cost. */
export function registerPrices(program: Command, cli: Cli): void {
  const prices = program.command("prices").description("what calls cost");
  prices
    .command("check [file]")
    .description("check prices.yaml, or another file; exit 1 if it could not take effect")
    .option("--json", "as JSON")
    .action((file: string | undefined, options: { json?: boolean }) => checkPrices(cli, file, options.json === true));
  prices
    .command("show [provider]")
    .description("the price table, or one provider's prices as they are written")
    .option("--json", "as JSON")
    .action((id: string | undefined, options: { json?: boolean }) => showPrices(cli, id, options.json === true));
  prices
    .command("cost <provider> <model>")
    .description("what a call costs; exit 1 if a part of it has no price")
    .requiredOption("--units <list>", "what it used, e.g. input=1000,output=200")
    .option("--tier <name>", "service tier as the provider names it, e.g. batch")
    .option("--at <time>", "day or time in UTC of the call (default: now)")
    .option("--json", "as JSON")
    .action((provider: string, model: string, options: CostOptions) => showCost(cli, provider, model, options));
}

interface CostOptions {
  readonly units: string;
  readonly tier?: string;
  readonly at?: string;
  readonly json?: boolean;
}

function checkPrices(cli: Cli, path: string | undefined, json: boolean): void {
  try {
    const { file, table, content } = readPrices(cli, path);
    const catalog = cli.catalog().providers;
    const unknown = Object.keys(content.providers).filter((id) => !catalog.has(id));
    const warnings = unknown.map((id) => `providers.${id}: not in the catalog; see \`sidekey provider list\``);
    const { version } = table;
    if (json) {
      cli.terminal.json({ ok: true, file, table: version, problems: [], warnings });
      return;
    }
    for (const warning of warnings) cli.terminal.warn(`${file} ${warning}`);
    cli.terminal.status("ok", `${file}: table ${version}, providers ${table.providers.size}`);
  } catch (error) {
    if (!(error instanceof PriceError)) throw error;
    const { file, problems } = error;
    cli.exit(EXIT.failed);
    if (json) {
      cli.terminal.json({ ok: false, file, table: null, problems, warnings: [] });
      return;
    }
    for (const problem of problems) cli.terminal.status("fail", problemLine(file, problem));
    const count = `${problems.length} ${problems.length === 1 ? "problem" : "problems"}`;
    cli.terminal.note(`${count}; a running daemon keeps the prices that it has`);
  }
}

function showPrices(cli: Cli, id: string | undefined, json: boolean): void {
  const { file, table, content } = readPrices(cli);
  const providers = id === undefined ? content.providers : { [id]: requirePrices(content.providers, id) };
  if (json) {
    cli.terminal.json({ file, table: table.version, providers });
    return;
  }
  const [provider] = Object.values(providers);
  cli.terminal.out(id === undefined || provider === undefined ? overview(providers) : providerText(provider));
  cli.terminal.note(`\ntable ${table.version} of ${file}; check the prices before you rely on them`);
}

type Providers = Readonly<Record<string, ProviderFile>>;

function overview(providers: Providers): string {
  const rows = Object.entries(providers).map(([id, provider]) => [id, ...summary(provider)]);
  return renderTable(["provider", "currency", "models"], rows);
}

function summary(provider: ProviderFile): string[] {
  if (provider.flat === true) return ["-", "subscription"];
  return [currencyOf(provider), String(provider.models?.length ?? 0)];
}

function providerText(provider: ProviderFile): string {
  if (provider.flat === true) return "a subscription: calls cost nothing";
  const rows = (provider.models ?? []).flatMap(({ names, prices }) =>
    prices.flatMap((period) => periodRows(names.join(", "), period)),
  );
  return renderTable(["models", "from", "to", "for", `prices (${currencyOf(provider)})`], rows);
}

/** @throws CliError with exit 4 */
function requirePrices(providers: Providers, id: string): ProviderFile {
  const found = Object.hasOwn(providers, id) ? providers[id] : undefined;
  if (found !== undefined) return found;
  throw notFound("the price table has no such provider", "see `sidekey prices show`");
}

function currencyOf({ currency }: ProviderFile): string {
  return currency ?? "USD";
}

/** A line for the prices themselves, and one for each case that has others. */
function periodRows(names: string, period: PeriodFile): string[][] {
  const { from, to = "-", maxOutput, peak, above = [], tiers = {} } = period;
  const limit = maxOutput === undefined ? "" : `answers up to ${maxOutput}`;
  const peakRows = peak === undefined ? [] : [["", "", "", peak.hours.join(", "), `tokens x ${peak.factor}`]];
  return [
    [names, from, to, limit, pricesText(period)],
    ...aboveRows(above, ""),
    ...Object.entries(tiers).flatMap(([tier, prices]) => tierRows(tier, prices)),
    ...peakRows,
  ];
}

function aboveRows(steps: readonly StepFile[], prefix: string): string[][] {
  return steps.map((step) => ["", "", "", `${prefix}above ${step.tokens}`, pricesText(step)]);
}

function tierRows(tier: string, prices: TierFile): string[][] {
  if (typeof prices !== "object") return [["", "", "", tier, `tokens x ${prices}`]];
  return [["", "", "", tier, pricesText(prices)], ...aboveRows(prices.above ?? [], `${tier}, `)];
}

function pricesText(prices: WrittenPrices): string {
  return writtenUnits(prices)
    .map((unit) => `${unit} ${prices[unit]}`)
    .join(", ");
}

function showCost(cli: Cli, provider: string, model: string, options: CostOptions): void {
  const units = readUnits(options.units);
  const atMs = options.at === undefined ? cli.now() : readTime(options.at);
  const { table, content } = readPrices(cli);
  requirePrices(content.providers, provider);
  const call = { provider, model, tier: options.tier ?? null, units, atMs };
  const cost = costOf(table, call);
  const maxOutput = maxOutputOf(table, provider, model, atMs);
  if (cost.unpriced.length > 0) cli.exit(EXIT.failed);
  const usd = usdText(cost.nanoUsd);
  if (options.json === true) {
    const at = formatTime(atMs);
    cli.terminal.json({ provider, model, tier: call.tier, at, units, usd, ...cost, maxOutput });
    return;
  }
  const known = cost.unpriced.length === 0;
  cli.terminal.out(
    renderFacts([
      ["cost", known ? `${usd} USD` : `unpriced (the rest: ${usd} USD)`],
      ["without a price", cost.unpriced.join(", ") || "-"],
      ["longest answer", maxOutput === null ? "-" : `${maxOutput} tokens`],
      ["at", formatTime(atMs)],
      ["table", cost.table],
    ]),
  );
}

/** @throws CliError with exit 2 */
function readUnits(text: string): Units {
  const units: Partial<Record<Unit, number>> = {};
  for (const part of text.split(",")) {
    const [, name, count] = /^([a-z0-9_]+)=([0-9]{1,16})$/.exec(part.trim()) ?? [];
    const unit = UNITS.find((known) => known === name);
    const used = Number(count);
    if (unit === undefined || !Number.isSafeInteger(used)) {
      throw usageError("--units takes a list such as input=1000,output=200", `the units are ${UNITS.join(", ")}`);
    }
    if (units[unit] !== undefined) throw usageError(`--units says ${unit} twice`);
    units[unit] = used;
  }
  return units;
}

/** @throws CliError with exit 2 */
function readTime(text: string): number {
  try {
    return parseInstant(text);
  } catch {
    throw usageError("--at takes a day or a time in UTC", "such as 2026-08-16 or 2026-08-16T16:00Z");
  }
}
