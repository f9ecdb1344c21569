import { TOKEN_UNITS, UNITS, type Unit } from "../providers/usage/usage.ts";
import type { YamlPath } from "../providers/yaml-document.ts";
import { frozenList, frozenMap } from "./freeze.ts";
import { parseHours, type WeekHours } from "./price-hours.ts";
import { compileRates, type Rates } from "./price-rates.ts";
import { type PeriodFile, type StepFile, type TierFile, type WrittenPrices, writtenUnits } from "./price-schema.ts";
import { NANO, parseInstant, parseNano, parsePrice, type UnitPrice } from "./price-value.ts";

/** Prices from one moment to another. */
export interface PricePeriod {
  /** Epoch milliseconds; the end is not part of it and may be Infinity. */
  readonly fromMs: number;
  readonly toMs: number;
  /** Most tokens of one answer, where the table says it. */
  readonly maxOutput: number | null;
  /** When the dearer rates hold; empty when there are none. */
  readonly peak: readonly WeekHours[];
  readonly standard: readonly PriceStep[];
  readonly tiers: ReadonlyMap<string, readonly PriceStep[]>;
}

/** What is paid when a request is longer than `above` tokens. */
export interface PriceStep {
  /** -1 for the first one, which holds for every length. */
  readonly above: number;
  readonly rates: Rates;
  /** The same as `rates` when there are no peak hours. */
  readonly peakRates: Rates;
}

/** Notes a problem at a place of the file. */
export type ReportPrice = (path: YamlPath, message: string) => void;

/** A rate of exchange from one moment to the next. */
export interface DatedRate {
  readonly fromMs: number;
  /** Dollars for one, in nanos. */
  readonly nano: bigint;
}

export interface PeriodContext {
  readonly at: YamlPath;
  /** Ascending; the first one may begin at -Infinity. */
  readonly rates: readonly DatedRate[];
  readonly currency: string;
  readonly report: ReportPrice;
}

/** Compiles the periods of one model, in order of time. A period without `to` lasts until the next one begins. */
export function compilePeriods(files: readonly PeriodFile[], context: PeriodContext): readonly PricePeriod[] {
  const { at, report } = context;
  const ordered = files
    .map((file, index) => ({ file, index, fromMs: parseInstant(file.from) }))
    .sort((a, b) => a.fromMs - b.fromMs || a.index - b.index);
  const periods = ordered.flatMap(({ file, index, fromMs }, order) => {
    const here = [...at, index];
    const next = ordered[order + 1];
    const nextMs = next?.fromMs ?? Number.POSITIVE_INFINITY;
    const toMs = file.to === undefined ? nextMs : parseInstant(file.to);
    if (nextMs === fromMs) report([...at, next?.index ?? 0, "from"], `begins when prices[${index}] does; keep one`);
    else if (toMs <= fromMs) report([...here, "to"], "is not after from; a period has to last");
    else if (toMs > nextMs) {
      report([...here, "to"], `lies behind the beginning of prices[${next?.index}]; end it there, or leave to out`);
    }
    return compilePeriod(file, { fromMs, toMs }, { ...context, at: here });
  });
  return frozenList(periods);
}

/** One per rate of exchange that holds within the period. */
function compilePeriod(
  file: PeriodFile,
  span: { readonly fromMs: number; readonly toMs: number },
  context: PeriodContext,
): PricePeriod[] {
  const { at, rates, currency, report } = context;
  const plans = readPlans(file, at, report);
  const first = rates[0]?.fromMs ?? Number.POSITIVE_INFINITY;
  if (rates.length > 0 && span.fromMs < first) {
    report([...at, "from"], `is before the first rate of ${currency}; add one under currencies, or begin later`);
  }
  const peakFactor = file.peak === undefined ? NANO : parseNano(file.peak.factor, "a factor");
  const shared = { maxOutput: file.maxOutput ?? null, peak: frozenList((file.peak?.hours ?? []).flatMap(parseHours)) };
  return rates.flatMap((rate, index) => {
    const fromMs = Math.max(span.fromMs, rate.fromMs);
    const toMs = Math.min(span.toMs, rates[index + 1]?.fromMs ?? Number.POSITIVE_INFINITY);
    if (fromMs >= toMs) return [];
    const steps = (plan: Plan): readonly PriceStep[] => compileSteps(plan, rate.nano, peakFactor);
    return Object.freeze({
      ...shared,
      fromMs,
      toMs,
      standard: steps(plans.standard),
      tiers: frozenMap([...plans.tiers].map(([name, plan]) => [name, steps(plan)] as const)),
    });
  });
}

/** Prices as they are written, with a factor for tokens, in nanos. */
interface Plan {
  readonly steps: readonly { readonly above: number; readonly prices: ReadonlyMap<Unit, UnitPrice> }[];
  readonly factor: bigint;
}

function compileSteps({ steps, factor }: Plan, currency: bigint, peak: bigint): readonly PriceStep[] {
  return frozenList(
    steps.map(({ above, prices }) => {
      const rates = compileRates(prices, { currency, tier: factor, peak: NANO });
      const peakRates = peak === NANO ? rates : compileRates(prices, { currency, tier: factor, peak });
      return Object.freeze({ above, rates, peakRates });
    }),
  );
}

function readPlans(file: PeriodFile, at: YamlPath, report: ReportPrice): { standard: Plan; tiers: Map<string, Plan> } {
  if (writtenUnits(file).length === 0) report(at, "has no price; write what its units cost, such as input: 2.50");
  const steps = readSteps(file, file.above, at, report);
  const tiers = Object.entries(file.tiers ?? {}).map(([name, tier]) => {
    return [name, readTier(file, tier, { steps, at: [...at, "tiers", name], report })] as const;
  });
  return { standard: { steps, factor: NANO }, tiers: new Map(tiers) };
}

function readTier(
  base: PeriodFile,
  tier: TierFile,
  { steps, at, report }: { steps: Plan["steps"]; at: YamlPath; report: ReportPrice },
): Plan {
  if (typeof tier !== "object") return { steps, factor: parseNano(tier, "a factor") };
  if (writtenUnits(tier).length === 0) report(at, "has no price; write what differs, such as input: 1.25, or a factor");
  if (base.above !== undefined && tier.above === undefined) {
    report(at, "does not say what long requests cost; write its own above, or a factor");
  }
  return { steps: readSteps(merged(base, tier), tier.above, at, report), factor: NANO };
}

/** Prices of `changes`, and of `base` where it has none. */
function merged(base: WrittenPrices, changes: WrittenPrices): WrittenPrices {
  return Object.fromEntries(UNITS.map((unit) => [unit, changes[unit] ?? base[unit]]));
}

function readSteps(
  base: WrittenPrices,
  above: readonly StepFile[] | undefined,
  at: YamlPath,
  report: ReportPrice,
): Plan["steps"] {
  const first = { above: -1, prices: pricesOf(base) };
  const needed = writtenUnits(base).filter((unit) => TOKEN_UNITS.some((token) => token === unit));
  let before = 0;
  const later = (above ?? []).map((step, index) => {
    const here = [...at, "above", index];
    if (step.tokens <= before) report([...here, "tokens"], `is not above the ${before} before it; write them in order`);
    before = step.tokens;
    const absent = needed.filter((unit) => step[unit] === undefined);
    if (absent.length > 0) {
      report(here, `says nothing of ${absent.join(", ")}; write what it costs above ${step.tokens} tokens`);
    }
    return { above: step.tokens, prices: pricesOf(merged(base, step)) };
  });
  return [first, ...later];
}

function pricesOf(written: WrittenPrices): ReadonlyMap<Unit, UnitPrice> {
  return new Map(writtenUnits(written).map((unit) => [unit, parsePrice(unit, written[unit] ?? 0)]));
}
