import { TOKEN_UNITS, type Unit } from "../providers/usage/usage.ts";

/**
 * The numbers and times of prices.yaml. Money never becomes a fraction of a double: a decimal is taken apart into whole
 * nanos (1e-9), and what it is divided by stays a whole number beside it.
 */

/** Nanos in one: of a currency, of a factor, of a rate. */
export const NANO = 1_000_000_000n;
const DECIMALS = 9;

/** What a price is for: so many nanos of the currency for so many units. */
export interface UnitPrice {
  readonly nano: bigint;
  readonly quantity: bigint;
}

interface Quantities {
  /** What may stand behind the slash, and how many units it is. */
  readonly named: ReadonlyMap<string, bigint>;
  /** How many units a price without a slash is for; null: it has to say. */
  readonly bare: bigint | null;
  readonly what: string;
}

const TOKENS: Quantities = {
  named: new Map([
    ["1M", 1_000_000n],
    ["1k", 1_000n],
  ]),
  bare: 1_000_000n,
  what: "a price per million tokens, such as 2.50",
};
const EACH: Quantities = {
  ...TOKENS,
  bare: 1n,
  what: "a price for each, such as 0.04, or per thousand, such as 10/1k",
};
const OTHERS: ReadonlyMap<Unit, Quantities> = new Map([
  ["character", { ...TOKENS, bare: null, what: "a price with its quantity, such as 15/1M" }],
  [
    "second",
    {
      named: new Map([
        ["s", 1n],
        ["min", 60n],
        ["h", 3_600n],
      ]),
      bare: null,
      what: "a price per time, such as 0.006/min",
    },
  ],
  [
    "byte",
    { named: new Map([["GB", 1_000_000_000n]]), bare: null, what: "a price per 1000000000 bytes, such as 0.09/GB" },
  ],
]);

function quantitiesOf(unit: Unit): Quantities {
  if (TOKEN_UNITS.some((token) => token === unit)) return TOKENS;
  return OTHERS.get(unit) ?? EACH;
}

/** What to write as the price of `unit`, for messages and editors. */
export function priceHint(unit: Unit): string {
  return quantitiesOf(unit).what;
}

/** Shape of a price, for editors: `2.50`, `10/1k`, `0.006/min`. */
export const PRICE_PATTERN = /^[0-9]{1,7}(?:\.[0-9]{1,9})?(?:\/(?:1M|1k|s|min|h|GB))?$/;

/** Highest price of one quantity, and highest factor and rate. */
const MAX = 1_000_000n * NANO;

/** @throws Error that says what to write; the caller adds the place. */
export function parsePrice(unit: Unit, value: string | number): UnitPrice {
  const { named, bare, what } = quantitiesOf(unit);
  const text = String(value);
  const slash = typeof value === "string" ? text.indexOf("/") : -1;
  const nano = parseNano(slash === -1 ? value : text.slice(0, slash), what);
  if (slash === -1) {
    if (bare === null) throw new Error(`${text} has no quantity; write ${what}`);
    return { nano, quantity: bare };
  }
  const quantity = named.get(text.slice(slash + 1));
  if (quantity !== undefined) return { nano, quantity };
  const known = [...named.keys()].map((name) => `/${name}`).join(", ");
  throw new Error(`"${text.slice(0, 40)}" is per an unknown quantity; write one of ${known}`);
}

/**
 * A decimal from 0 to a million with at most nine decimals, in nanos. YAML makes a double of an unquoted number; up to a
 * million a double tells every such decimal from the next, so nothing is lost by then.
 * @throws Error that says what to write; the caller adds the place.
 */
export function parseNano(value: string | number, what: string): bigint {
  const nano = typeof value === "number" ? numberNano(value, what) : textNano(value, what);
  if (nano > MAX) throw new Error(`${value} is more than 1000000; write ${what}`);
  return nano;
}

function numberNano(value: number, what: string): bigint {
  if (!(value >= 0 && value <= Number.MAX_SAFE_INTEGER))
    throw new Error(`${value} is not a decimal number; write ${what}`);
  const text = value.toFixed(DECIMALS);
  if (Number(text) !== value) throw tooFine(String(value));
  return BigInt(text.replace(".", ""));
}

function textNano(text: string, what: string): bigint {
  const match = /^([0-9]{1,16})(?:\.([0-9]{1,32}))?$/.exec(text);
  if (match === null) throw new Error(`"${text.slice(0, 40)}" is not a decimal number; write ${what}`);
  const [, whole = "", fraction = ""] = match;
  if (fraction.length > DECIMALS) throw tooFine(text);
  return BigInt(whole + fraction.padEnd(DECIMALS, "0"));
}

function tooFine(text: string): Error {
  return new Error(`${text} has more than ${DECIMALS} decimals; write it for a larger quantity`);
}

/** Shape of a time, for editors: `2026-08-16`, `2026-08-16T16:00Z`. */
export const INSTANT_PATTERN = /^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{3})?)?Z)?$/;

/**
 * An ISO 8601 date (its beginning in UTC) or a time in UTC, as milliseconds since the epoch.
 * @throws Error that says what to write; the caller adds the place.
 */
export function parseInstant(text: string): number {
  const refuse = (): Error =>
    new Error(`"${text.slice(0, 40)}" is no time; write 2026-08-16 or 2026-08-16T16:00Z (UTC)`);
  if (!INSTANT_PATTERN.test(text)) throw refuse();
  const ms = Date.parse(text);
  // 31 February must not become the 3rd of March.
  if (Number.isNaN(ms) || new Date(ms).toISOString().slice(0, 16) !== text.padEnd(16, "T00:00").slice(0, 16)) {
    throw refuse();
  }
  return ms;
}
