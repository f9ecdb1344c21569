import { TOKEN_UNITS, UNITS, type Unit, type Units } from "../providers/usage/usage.ts";
import { NANO, type UnitPrice } from "./price-value.ts";

/**
 * What is paid for each unit, as whole numbers over one denominator: `nano-dollars = sum(count * weight) / denominator`.
 * Nothing is rounded before the division, so a call is rounded once.
 */
export interface Rates {
  /** In the order of UNITS; null where there is no price. */
  readonly weights: readonly (bigint | null)[];
  readonly denominator: bigint;
  /** The same as doubles, which are five times as quick; used as long as every number in the sum is a safe integer. */
  readonly quick: { readonly weights: readonly (number | null)[]; readonly denominator: number };
}

/** What a unit costs that has no price of its own. */
const FALLBACKS: ReadonlyMap<Unit, Unit> = new Map([
  ["cached_input", "input"],
  ["cache_write", "input"],
  ["cache_write_1h", "cache_write"],
  ["reasoning", "output"],
]);

/** A call that used these and has no price for them is priced all the same: hardly anybody bills by them. */
const ONLY_WHEN_PRICED: ReadonlySet<Unit> = new Set(["request", "byte", "credit"]);

/** A multiple of every quantity that a price can be for: 1e9 (GB) and 3600 (h). */
const QUANTITY = 9_000_000_000n;
const TOKENS: ReadonlySet<Unit> = new Set(TOKEN_UNITS);
const INDEX: ReadonlyMap<Unit, number> = new Map(UNITS.map((unit, index) => [unit, index]));
/** Units that a request is made of, whose sum says how long it is. */
const LENGTH_UNITS = [
  "input",
  "cached_input",
  "cache_write",
  "cache_write_1h",
  "input_audio",
  "input_image",
] as const satisfies readonly Unit[];

export interface RateFactors {
  /** Dollars for one of the currency, in nanos. */
  readonly currency: bigint;
  /** What tokens are multiplied by for the tier and for the hour, in nanos; other units never are. */
  readonly tier: bigint;
  readonly peak: bigint;
}

/** Puts prices over one denominator, as small as it gets: small numbers are quick. */
export function compileRates(prices: ReadonlyMap<Unit, UnitPrice>, factors: RateFactors): Rates {
  const whole = QUANTITY * NANO * NANO * NANO;
  const weights = UNITS.map((unit) => {
    const price = effectivePrice(prices, unit);
    if (price === undefined) return null;
    const factor = TOKENS.has(unit) ? factors.tier * factors.peak : NANO * NANO;
    return price.nano * (QUANTITY / price.quantity) * factors.currency * factor;
  });
  const divisor = weights.reduce<bigint>((all, weight) => (weight === null ? all : gcd(all, weight)), whole);
  const reduced = weights.map((weight) => (weight === null ? null : weight / divisor));
  const quick = {
    weights: Object.freeze(reduced.map((weight) => (weight === null ? null : Number(weight)))),
    denominator: Number(whole / divisor),
  };
  return Object.freeze({
    weights: Object.freeze(reduced),
    denominator: whole / divisor,
    quick: Object.freeze(quick),
  });
}

function effectivePrice(prices: ReadonlyMap<Unit, UnitPrice>, unit: Unit): UnitPrice | undefined {
  const own = prices.get(unit);
  const other = FALLBACKS.get(unit);
  return own !== undefined || other === undefined ? own : effectivePrice(prices, other);
}

function gcd(a: bigint, b: bigint): bigint {
  while (b !== 0n) [a, b] = [b, a % b];
  return a;
}

/** A whole number of units, whatever a provider reported: nothing below one counts, a part of one counts as one. */
function countOf(units: Units, unit: Unit): number {
  const count = units[unit] ?? 0;
  return count > 0 ? Math.min(Math.ceil(count), Number.MAX_SAFE_INTEGER) : 0;
}

/** Tokens that the model read, of all kinds: what prices for long requests go by. */
export function requestLength(units: Units): number {
  let sum = 0;
  for (const unit of LENGTH_UNITS) sum += countOf(units, unit);
  return sum;
}

export interface Charge {
  readonly nanoUsd: number;
  readonly unpriced: readonly Unit[];
}

const NOTHING_UNPRICED: readonly Unit[] = Object.freeze([]);

/** Charges units, rounded up to a whole nano-dollar; at most Number.MAX_SAFE_INTEGER of them (nine million dollars). */
export function charge(units: Units, rates: Rates): Charge {
  const { weights, denominator } = rates.quick;
  let sum = 0;
  let unpriced: Unit[] | null = null;
  for (const unit of Object.keys(units) as Unit[]) {
    const count = countOf(units, unit);
    if (count === 0) continue;
    const weight = weights[INDEX.get(unit) ?? -1];
    if (typeof weight === "number") sum += count * weight;
    else if (!ONLY_WHEN_PRICED.has(unit)) unpriced = [...(unpriced ?? []), unit];
  }
  // A sum of whole numbers that is itself safe was exact all the way; the remainder of safe integers is exact too.
  const safe = sum <= Number.MAX_SAFE_INTEGER && denominator <= Number.MAX_SAFE_INTEGER;
  const part = sum % denominator;
  const nanoUsd = safe ? (sum - part) / denominator + (part > 0 ? 1 : 0) : chargeLarge(units, rates);
  return { nanoUsd, unpriced: unpriced ?? NOTHING_UNPRICED };
}

function chargeLarge(units: Units, { weights, denominator }: Rates): number {
  let sum = 0n;
  for (const [index, unit] of UNITS.entries()) sum += BigInt(countOf(units, unit)) * (weights[index] ?? 0n);
  const nano = (sum + denominator - 1n) / denominator;
  return nano > Number.MAX_SAFE_INTEGER ? Number.MAX_SAFE_INTEGER : Number(nano);
}

/** Charges units of a model that has no price: nothing, and it says so. */
export function chargeUnknown(units: Units): Charge {
  const unpriced = UNITS.filter((unit) => countOf(units, unit) > 0 && !ONLY_WHEN_PRICED.has(unit));
  return { nanoUsd: 0, unpriced: Object.freeze(unpriced) };
}

/** Charges units of a provider of which nothing at all is known, so that not even a request is known to be free. */
export function chargeUnlisted(units: Units): Charge {
  return { nanoUsd: 0, unpriced: Object.freeze(UNITS.filter((unit) => countOf(units, unit) > 0)) };
}
