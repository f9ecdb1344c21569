/**
 * Times as providers write them, and what becomes of them here. Every reader answers null to what it does not
 * understand; none throws. What is understood is bounded before it is believed.
 */

/** A time that a provider told: a span from now, or a point on its own clock. Milliseconds. */
export type ToldTime = { readonly inMs: number } | { readonly atMs: number };

/** How a provider writes the time of a reset; `null` elsewhere means: by the size of the number. */
export const TIME_FORMATS = ["seconds", "epoch-seconds", "epoch-ms", "duration", "rfc3339"] as const;
export type TimeFormat = (typeof TIME_FORMATS)[number];

/** Longest text that is looked at, in characters. */
const MAX_TEXT = 64;
/** A greater number is no count and no time. */
const MAX_NUMBER = 1e15;
/** A number below this is a span in seconds (4 months); from `EPOCH_SECONDS` on it is a point in time. */
const MAX_SPAN_S = 1e7;
/** September 2001, as seconds and as milliseconds. */
const EPOCH_SECONDS = 1e9;
const EPOCH_MS = 1e12;

const PLAIN_NUMBER = /^\d{1,16}(?:\.\d{1,9})?$/;
const DURATION = /^(?:\d{1,9}(?:\.\d{1,9})?(?:h|ms|m|s|us|µs|ns))+$/;
const DURATION_PART = /(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)/g;
const UNIT_MS: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1_000,
  ms: 1,
  us: 1e-3,
  µs: 1e-3,
  ns: 1e-6,
};
const RFC3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})$/;

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const IMF_DATE = /^[A-Z][a-z]{2}, (\d{2}) ([A-Z][a-z]{2}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT$/;
const RFC850_DATE = /^[A-Z][a-z]{5,8}, (\d{2})-([A-Z][a-z]{2})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) GMT$/;
const ASCTIME_DATE = /^[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})$/;
/** An RFC 850 year that seems to be further ahead than this is one of the past century (RFC 9110 section 5.6.7). */
const MAX_YEARS_AHEAD = 50;

/** A number of at least 0 in plain decimal, also with a fraction; no sign, no exponent. */
export function plainNumber(text: string | null): number | null {
  if (text === null || text.length > MAX_TEXT) return null;
  const bare = text.trim();
  const value = PLAIN_NUMBER.test(bare) ? Number(bare) : null;
  return value === null || value > MAX_NUMBER ? null : value;
}

/** The whole number that a field begins with; what follows a comma or semicolon repeats or explains it. */
export function wholeNumber(text: string | null): number | null {
  if (text === null) return null;
  const value = plainNumber(text.slice(0, MAX_TEXT).split(/[,;]/, 1)[0] ?? null);
  return value === null ? null : Math.floor(value);
}

/** A duration as Go prints it: `12ms`, `6m0s`, `1h2m3.5s`. Milliseconds, rounded up. */
export function goDuration(text: string | null): number | null {
  if (text === null || text.length > MAX_TEXT || !DURATION.test(text)) return null;
  let sum = 0;
  for (const [, amount, unit = ""] of text.matchAll(DURATION_PART)) sum += Number(amount) * (UNIT_MS[unit] ?? 0);
  return Math.ceil(sum);
}

/** RFC 3339. A time in whole seconds may be anywhere in that second, so it is the end of it. */
export function rfc3339(text: string | null): number | null {
  if (text === null || text.length > MAX_TEXT) return null;
  const match = RFC3339.exec(text);
  const ms = match === null ? Number.NaN : Date.parse(text.replace(" ", "T").toUpperCase());
  if (Number.isNaN(ms)) return null;
  return match?.[1] === undefined ? ms + 999 : ms;
}

/** An HTTP date in any of its three forms (RFC 9110 section 5.6.7). @param nowMs only to place a year of two digits */
export function httpDate(text: string | null, nowMs: number): number | null {
  if (text === null || text.length > MAX_TEXT) return null;
  const imf = IMF_DATE.exec(text);
  if (imf) return utc(imf[3], imf[2], imf[1], imf.slice(4));
  const asctime = ASCTIME_DATE.exec(text);
  if (asctime) return utc(asctime[6], asctime[1], asctime[2], asctime.slice(3, 6));
  const rfc850 = RFC850_DATE.exec(text);
  return rfc850 ? utc(String(fullYear(Number(rfc850[3]), nowMs)), rfc850[2], rfc850[1], rfc850.slice(4)) : null;
}

function fullYear(twoDigits: number, nowMs: number): number {
  const thisYear = new Date(nowMs).getUTCFullYear();
  const year = thisYear - (thisYear % 100) + twoDigits;
  return year > thisYear + MAX_YEARS_AHEAD ? year - 100 : year;
}

function utc(year: string | undefined, month: string | undefined, day: string | undefined, time: string[]) {
  const at = Date.UTC(Number(year), MONTHS.indexOf(month ?? ""), Number(day), ...(time.map(Number) as [number]));
  const date = new Date(at);
  // The 31st of February, and months that are none, become other days.
  return date.getUTCDate() === Number(day) && MONTHS.includes(month ?? "") ? at : null;
}

/** @param format null: a number tells by its size what it is, anything else is a duration or RFC 3339 */
export function toldTime(text: string | null, format: TimeFormat | null): ToldTime | null {
  if (text === null) return null;
  const bare = text.slice(0, MAX_TEXT + 1).trim();
  const number = plainNumber(bare);
  if (number !== null) return numericTime(number, format);
  const span = format === null || format === "duration" ? goDuration(bare) : null;
  if (span !== null) return { inMs: span };
  const at = format === null || format === "rfc3339" ? rfc3339(bare) : null;
  return at === null ? null : { atMs: at };
}

function numericTime(number: number, format: TimeFormat | null): ToldTime | null {
  if (format === "rfc3339") return null;
  if (number < MAX_SPAN_S) return format === "epoch-seconds" || format === "epoch-ms" ? null : span(number);
  if (number >= EPOCH_MS) return format === null || format === "epoch-ms" ? { atMs: number } : null;
  if (number < EPOCH_SECONDS || (format !== null && format !== "epoch-seconds")) return null;
  return { atMs: number * 1000 + (Number.isInteger(number) ? 999 : 0) };
}

function span(seconds: number): ToldTime {
  return { inMs: Math.ceil(seconds * 1000) };
}
