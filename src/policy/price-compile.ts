import type { YamlPath } from "../providers/yaml-document.ts";
import { frozenList, frozenMap } from "./freeze.ts";
import { compileModelPattern, MAX_MODEL_LENGTH, type ModelPattern, patternsOverlap } from "./model-pattern.ts";
import { compilePeriods, type DatedRate, type PricePeriod, type ReportPrice } from "./price-period.ts";
import type { ModelFile, PricesFile, ProviderFile, RateFile } from "./price-schema.ts";
import { NANO, parseInstant, parseNano } from "./price-value.ts";

/** Most names and patterns of one provider: each pattern is compared with the others. */
const MAX_NAMES = 2_000;
/** Look-ups by model that are remembered, per provider; then it begins anew. Clients choose the names. */
const MAX_REMEMBERED = 512;

/** What one provider costs. */
export interface ProviderPrices {
  /** A subscription: no call costs anything. */
  readonly flat: boolean;
  /** Periods of the entry that names `model` best, in order of time; null when none does. Empty for no model. */
  find(model: string): readonly PricePeriod[] | null;
}

type Currencies = ReadonlyMap<string, readonly DatedRate[]>;

/** Compiles what the schema has accepted; what is wrong goes to `report`, and the result is not to be used then. */
export function compileProviders(file: PricesFile, report: ReportPrice): ReadonlyMap<string, ProviderPrices> {
  const currencies: Currencies = new Map(
    Object.entries(file.currencies ?? {}).map(([code, rates]) => [
      code,
      compileRatesOfExchange(rates, ["currencies", code], report),
    ]),
  );
  return frozenMap(
    Object.entries(file.providers).map(([id, provider]) => [id, compileProvider(id, provider, currencies, report)]),
  );
}

function compileRatesOfExchange(files: readonly RateFile[], at: YamlPath, report: ReportPrice): readonly DatedRate[] {
  const rates = files
    .map(({ from, usd }, index) => ({ fromMs: parseInstant(from), nano: parseNano(usd, "a rate"), index }))
    .sort((a, b) => a.fromMs - b.fromMs || a.index - b.index);
  for (const [order, { fromMs, index }] of rates.entries()) {
    if (rates[order - 1]?.fromMs === fromMs) report([...at, index, "from"], "begins when another one does; keep one");
  }
  return frozenList(rates);
}

const DOLLARS: readonly DatedRate[] = [{ fromMs: Number.NEGATIVE_INFINITY, nano: NANO }];
const FLAT: ProviderPrices = Object.freeze({ flat: true, find: () => null });

function compileProvider(id: string, file: ProviderFile, currencies: Currencies, report: ReportPrice): ProviderPrices {
  if (file.flat === true) return FLAT;
  const at = ["providers", id];
  const currency = file.currency ?? "USD";
  const rates = currency === "USD" ? DOLLARS : (currencies.get(currency) ?? []);
  if (rates.length === 0) {
    report([...at, "currency"], `there are no rates for ${currency}; add ${currency} under currencies`);
  }
  const models = file.models ?? [];
  const periods = models.map((model, index) => {
    return compilePeriods(model.prices, { at: [...at, "models", index, "prices"], rates, currency, report });
  });
  const names = models.flatMap((model, index) => compileNames(model, index, periods[index] ?? []));
  if (names.length > MAX_NAMES) {
    report([...at, "models"], `has more than ${MAX_NAMES} names; cover families with patterns`);
  } else checkNames(names, at, report);
  return Object.freeze({ flat: false, find: finder(names) });
}

interface Name {
  readonly pattern: ModelPattern;
  readonly periods: readonly PricePeriod[];
  readonly model: number;
  readonly index: number;
}

function compileNames({ names }: ModelFile, model: number, periods: readonly PricePeriod[]): Name[] {
  return names.map((source, index) => ({ pattern: compileModelPattern(source), periods, model, index }));
}

/** No model may have two prices: a name is written once, and of two patterns one has to be the narrower. */
function checkNames(names: readonly Name[], at: YamlPath, report: ReportPrice): void {
  const seen = new Map<string, Name>();
  const patterns: Name[] = [];
  for (const name of names) {
    const { pattern, model, index } = name;
    const here = [...at, "models", model, "names", index];
    const twin = seen.get(pattern.source);
    if (twin !== undefined) report(here, `"${pattern.source}" is in models[${twin.model}] too; keep one of them`);
    seen.set(pattern.source, name);
    if (pattern.exact || twin !== undefined) continue;
    const rival = patterns.find((other) => {
      const same = other.pattern.literals === pattern.literals && other.model !== model;
      return same && patternsOverlap(other.pattern, pattern);
    });
    if (rival !== undefined) {
      const { source } = rival.pattern;
      report(
        here,
        `"${pattern.source}" and "${source}" in models[${rival.model}] can mean the same model; make one narrower`,
      );
    }
    patterns.push(name);
  }
}

/** An exact name is meant before any pattern, a pattern with more characters before one with fewer. */
function finder(names: readonly Name[]): ProviderPrices["find"] {
  const exact = new Map(names.flatMap(({ pattern, periods }) => (pattern.exact ? [[pattern.source, periods]] : [])));
  const patterns = names
    .filter(({ pattern }) => !pattern.exact)
    .sort((a, b) => b.pattern.literals - a.pattern.literals);
  const remembered = new Map<string, readonly PricePeriod[] | null>();
  return (model) => {
    const known = exact.get(model) ?? remembered.get(model);
    if (known !== undefined) return known;
    if (model.length > MAX_MODEL_LENGTH) return null;
    const found = patterns.find(({ pattern }) => pattern.matches(model))?.periods ?? null;
    if (remembered.size >= MAX_REMEMBERED) remembered.clear();
    remembered.set(model, found);
    return found;
  };
}
