import { parseDuration } from "./duration.ts";

/** A period that begins with the calendar's day, week (on Monday) or month. */
export type CalendarUnit = "day" | "week" | "month";

/** How much per time. */
export interface Amount {
  /** Tokens, or nano-dollars. */
  readonly amount: number;
  /** Length in milliseconds; the longest one for calendar periods, which differ in length. */
  readonly periodMs: number;
  /** Null: a window that slides. */
  readonly calendar: CalendarUnit | null;
}

/** Nano-dollars in a dollar: the unit in which money is counted, so that sums are exact integers. */
export const NANO_PER_USD = 1_000_000_000;

/** Shape of an amount, for editors: `200000/min`, `25/day`, `0.50/h`, `500/month`, `90000/15m`. */
export const AMOUNT_PATTERN =
  /^[0-9]{1,13}(?:\.[0-9]{1,9})?\/(?:s|min|h|d|day|week|month|[1-9][0-9]{0,8}(?:ms|s|m|h|d))$/;

const MAX_TOKENS = 1e12;
const MAX_USD = 1e6;
const SLIDING_MS: Readonly<Record<string, number>> = { s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 };
const CALENDAR_MS: Readonly<Record<CalendarUnit, number>> = {
  day: 86_400_000,
  week: 7 * 86_400_000,
  month: 31 * 86_400_000,
};

/** @throws Error that says what to write; the caller adds the place. */
export function parseTokenAmount(text: string): Amount {
  const { number, ...period } = parse(text, "tokens per time, such as 200000/min or 5000000/day");
  if (number.includes(".")) throw new Error(`"${text}": tokens are whole; write ${number.split(".")[0]}/...`);
  const amount = Number(number);
  if (amount < 1 || amount > MAX_TOKENS) throw new Error(`"${text}": write from 1 to ${MAX_TOKENS} tokens`);
  return { amount, ...period };
}

/** @throws Error that says what to write; the caller adds the place. */
export function parseUsdAmount(text: string): Amount {
  const { number, ...period } = parse(text, "dollars per time, such as 25/day or 500/month");
  const [whole = "0", fraction = ""] = number.split(".");
  const amount = Number(whole) * NANO_PER_USD + Number(fraction.padEnd(9, "0"));
  if (amount < 1 || amount > MAX_USD * NANO_PER_USD)
    throw new Error(`"${text}": write from 0.000000001 to ${MAX_USD} dollars`);
  return { amount, ...period };
}

function parse(text: string, what: string): { number: string; periodMs: number; calendar: CalendarUnit | null } {
  if (!AMOUNT_PATTERN.test(text)) throw new Error(`"${text.slice(0, 40)}" is not an amount; write ${what}`);
  const slash = text.indexOf("/");
  const number = text.slice(0, slash);
  const period = text.slice(slash + 1);
  if (period === "day" || period === "week" || period === "month") {
    return { number, periodMs: CALENDAR_MS[period], calendar: period };
  }
  return { number, periodMs: SLIDING_MS[period] ?? parseDuration(period), calendar: null };
}
