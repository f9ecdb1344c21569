import type { Unit, Units } from "../providers/usage/usage.ts";
import { parseYamlStrict, type YamlFile, YamlProblem } from "../providers/yaml-document.ts";
import { fingerprint } from "./fingerprint.ts";
import { frozenMap } from "./freeze.ts";
import { compileProviders, type ProviderPrices } from "./price-compile.ts";
import { inHours } from "./price-hours.ts";
import type { PricePeriod, PriceStep } from "./price-period.ts";
import { type Charge, charge, chargeUnknown, chargeUnlisted, type Rates, requestLength } from "./price-rates.ts";
import { type PricesFile, pricesFile } from "./price-schema.ts";
import { formatProblem, MAX_PROBLEMS, type PolicyProblem } from "./problem.ts";
import { problemAt, shapeProblems } from "./shape-problem.ts";

/** What calls cost, frozen. */
export interface PriceTable {
  /** The table's own name and a digest of the file, such as `2026-11-28+5be1c09af3d2`; every cost carries it. */
  readonly version: string;
  /** By the id of the catalog. */
  readonly providers: ReadonlyMap<string, ProviderPrices>;
}

/** The table of a daemon that has none: every call is unpriced. */
export const NO_PRICES: PriceTable = Object.freeze({
  version: "none",
  providers: frozenMap<string, ProviderPrices>([]),
});

/** A price file that cannot be used. `message` lists the problems (50 at most) as `file:line path: what is wrong`. */
export class PriceError extends Error {
  override readonly name = "PriceError";
  readonly file: string;
  readonly problems: readonly PolicyProblem[];

  constructor(file: string, problems: readonly PolicyProblem[]) {
    const sorted = [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
    super(sorted.map((problem) => formatProblem(file, problem)).join("\n"));
    this.file = file;
    this.problems = sorted;
  }
}

/** A price file as it is written, and what it comes to. */
export interface PriceDocument {
  readonly content: PricesFile;
  readonly table: PriceTable;
}

/**
 * Parses prices.yaml strictly.
 * @param file name for messages
 * @throws PriceError with the problems of the file (50 at most), each with line, column and path
 */
export function parsePriceDocument(text: string, file: string): PriceDocument {
  const yaml = readYaml(text, file);
  const checked = pricesFile.safeParse(yaml.value ?? {});
  if (!checked.success) throw new PriceError(file, shapeProblems(yaml, checked.error.issues, unknownKey));
  const problems: PolicyProblem[] = [];
  const providers = compileProviders(checked.data, (path, message) => {
    if (problems.length < MAX_PROBLEMS) problems.push(problemAt(yaml.lineOf(path), path, message));
  });
  if (problems.length > 0) throw new PriceError(file, problems);
  const version = `${checked.data.table}+${fingerprint(text)}`;
  return { content: checked.data, table: Object.freeze({ version, providers }) };
}

/** As `parsePriceDocument`, for those who only want to know what calls cost. @throws PriceError */
export function parsePrices(text: string, file: string): PriceTable {
  return parsePriceDocument(text, file).table;
}

function readYaml(text: string, file: string): YamlFile {
  try {
    return parseYamlStrict(text, file);
  } catch (error) {
    if (!(error instanceof YamlProblem)) throw error;
    throw new PriceError(file, [problemAt(error, [], error.problem)]);
  }
}

function unknownKey(): string {
  return "unknown key; remove it or correct its spelling";
}

/** One call, as far as its price depends on it. */
export interface PricedCall {
  /** Id of the catalog. */
  readonly provider: string;
  readonly model: string | null;
  /** As the provider names it; null, `default` and `standard` are what the prices themselves are for. */
  readonly tier: string | null;
  readonly units: Units;
  /** When it was made, in epoch milliseconds. */
  readonly atMs: number;
}

/** What a call costs. */
export interface Cost {
  /** Nano-dollars, rounded up once; without the units in `unpriced`, so a lower bound when there are any. */
  readonly nanoUsd: number;
  /** Units that were used and have no price. Empty: the cost is known. */
  readonly unpriced: readonly Unit[];
  /** Version of the table. */
  readonly table: string;
}

/**
 * What a call costs by a table. Never throws: whatever is not known is unpriced, never 0. `request`, `byte` and `credit`
 * cost only what the table says, and a call of a listed provider is not unpriced for want of that.
 */
export function costOf(table: PriceTable, call: PricedCall): Cost {
  const { nanoUsd, unpriced } = chargeOf(table, call);
  return { nanoUsd, unpriced, table: table.version };
}

const FREE: Charge = Object.freeze({ nanoUsd: 0, unpriced: Object.freeze([]) });

function chargeOf(table: PriceTable, call: PricedCall): Charge {
  const prices = table.providers.get(call.provider);
  if (prices === undefined) return chargeUnlisted(call.units);
  if (prices.flat) return FREE;
  const rates = ratesFor(prices, call);
  return rates === null ? chargeUnknown(call.units) : charge(call.units, rates);
}

function ratesFor(prices: ProviderPrices, { model, tier, units, atMs }: PricedCall): Rates | null {
  const period = periodAt(prices, model, atMs);
  if (period === null) return null;
  const steps = stepsFor(period, tier);
  if (steps === null) return null;
  const length = steps.length === 1 ? 0 : requestLength(units);
  const step = steps.findLast(({ above }) => length > above);
  if (step === undefined) return null;
  return period.peak.length > 0 && inHours(period.peak, atMs) ? step.peakRates : step.rates;
}

/** A model that is not named is looked up as the empty name, which only the pattern `*` covers. */
function periodAt(prices: ProviderPrices, model: string | null, atMs: number): PricePeriod | null {
  const periods = prices.find(model ?? "");
  return periods?.find(({ fromMs, toMs }) => atMs >= fromMs && atMs < toMs) ?? null;
}

/** Other names for what has no name of its own. */
const STANDARD_TIERS: ReadonlySet<string> = new Set(["default", "standard"]);

/** Null for a tier that the table does not know: it may be dearer than the others. */
function stepsFor({ standard, tiers }: PricePeriod, tier: string | null): readonly PriceStep[] | null {
  if (tier === null) return standard;
  return tiers.get(tier) ?? (STANDARD_TIERS.has(tier) ? standard : null);
}

/** Most tokens that one answer of a model can have, where the table says it; null where nobody knows. */
export function maxOutputOf(table: PriceTable, provider: string, model: string | null, atMs: number): number | null {
  const prices = table.providers.get(provider);
  if (prices === undefined) return null;
  return periodAt(prices, model, atMs)?.maxOutput ?? null;
}
