/** What a provider reported, read defensively: numbers that are no counts, names that are no names. */

/** A JSON object of an answer, parsed. */
export type Reported = Readonly<Record<string, unknown>>;

/** The most of anything that one call can use; a larger number is a mistake, and counting it would be a wrong charge. */
export const MAX_COUNT = 1e12;
const MAX_USD = 1e6;
const NANO_PER_USD = 1e9;
const MODEL_NAME = /^[\x21-\x7e]{1,128}$/;
const TIER_NAME = /^[a-z][a-z0-9_-]{0,31}$/;
/** How providers call what costs the list price. */
const LIST_PRICE = new Set(["default", "auto", "standard", "on_demand", "standard_only"]);

/** A captured value as an object; null when it is something else. */
export function reportedObject(raw: Buffer | null): Reported | null {
  return raw?.[0] === 0x7b ? asObject(parsed(raw)) : null;
}

/** A captured string; null when it is something else. */
export function reportedText(raw: Buffer | null): string | null {
  const value = raw?.[0] === 0x22 ? parsed(raw) : null;
  return typeof value === "string" ? value : null;
}

/** A captured value, whatever it is; null when it is not JSON. */
export function parsed(raw: Buffer | null): unknown {
  if (raw === null) return null;
  try {
    return JSON.parse(raw.toString("utf8"));
  } catch {
    return null;
  }
}

export function asObject(value: unknown): Reported | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Reported) : null;
}

/** A member of its own, never of the prototype; undefined when there is none. */
export function memberOf(object: Reported | null, name: string): unknown {
  return object !== null && Object.hasOwn(object, name) ? object[name] : undefined;
}

/** The first of these members that is an object; null when none is. */
export function objectIn(object: Reported | null, ...names: readonly string[]): Reported | null {
  for (const name of names) {
    const found = asObject(memberOf(object, name));
    if (found !== null) return found;
  }
  return null;
}

/** The first of these members that is there: a whole number, or NaN for what is no count. Null when none is there. */
export function countIn(object: Reported | null, ...names: readonly string[]): number | null {
  for (const name of names) {
    const value = memberOf(object, name);
    if (value === undefined || value === null) continue;
    return isCount(value) ? value : Number.NaN;
  }
  return null;
}

/** A part of something: what is no count is no part. */
export function partIn(object: Reported | null, ...names: readonly string[]): number {
  return countIn(object, ...names) || 0;
}

export function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MAX_COUNT;
}

/** Seconds, rounded up; null when it is no length of time. */
export function secondsIn(object: Reported | null, name: string): number | null {
  const value = memberOf(object, name);
  return typeof value === "number" && value >= 0 && value <= MAX_COUNT ? Math.ceil(value) : null;
}

/** The name of a model; null when the value is none that may be shown and stored. */
export function modelName(value: unknown): string | null {
  return typeof value === "string" && MODEL_NAME.test(value) ? value : null;
}

/** The name of a way to be served that has a price of its own; null for the list price. */
export function tierName(value: unknown): string | null {
  const name = typeof value === "string" ? value.toLowerCase() : "";
  return TIER_NAME.test(name) && !LIST_PRICE.has(name) ? name : null;
}

/** Dollars as whole nano-dollars, rounded up; null when it is no sum of money. */
export function nanoUsd(value: unknown): number | null {
  if (typeof value !== "number" || !(value >= 0 && value <= MAX_USD)) return null;
  // Fifteen digits are what a double carries; the rest is noise that must not round up to another nano-dollar.
  return Math.ceil(Number((value * NANO_PER_USD).toPrecision(15)));
}
