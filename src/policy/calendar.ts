import type { CalendarUnit } from "./amount.ts";

const DAY_MS = 86_400_000;
/** No zone has been further from UTC than 16 hours, so a zone's midnight is always nearer to UTC's than this. */
const REACH_MS = 18 * 3_600_000;
/** Zones that are kept for each unit; a policy rarely has more than a few. */
const MAX_CALENDARS = 16;

/** `[startUs, endUs)`, microseconds since the epoch. */
export interface Period {
  readonly startUs: number;
  readonly endUs: number;
}

/**
 * Days, weeks (from Monday) or months of a zone. A period begins at the first moment at which the zone's date is that
 * of its first day, or a later one. So periods follow each other without a gap or an overlap whatever the zone does to
 * its clocks: a day has 23, 24 or 25 hours; it begins at 01:00 where midnight is skipped, and once where it comes twice;
 * a day that the zone leaves out (Samoa had no 30 December 2011) is no period.
 */
export class Calendar {
  readonly #unit: CalendarUnit;
  readonly #format: Intl.DateTimeFormat;
  #latest: Period = { startUs: 0, endUs: 0 };

  /** @throws RangeError when there is no such zone */
  constructor(unit: CalendarUnit, zone: string) {
    this.#unit = unit;
    this.#format = new Intl.DateTimeFormat("en-US", {
      timeZone: zone,
      calendar: "gregory",
      numberingSystem: "latn",
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
  }

  /** The period that `us` is in. */
  periodAt(us: number): Period {
    if (us >= this.#latest.startUs && us < this.#latest.endUs) return this.#latest;
    const ms = Math.floor(us / 1000);
    let next = firstDayOf(this.#unit, this.#localMs(ms));
    let startMs = this.#beginMs(next);
    let endMs = startMs;
    // More than once where the clock goes back over midnight: the date does too, the period does not.
    while (endMs <= ms) {
      startMs = endMs;
      next = nextFirstDay(this.#unit, next);
      endMs = this.#beginMs(next);
    }
    this.#latest = { startUs: startMs * 1000, endUs: endMs * 1000 };
    return this.#latest;
  }

  /** The first moment at which the zone's clock shows `midnightMs` or later. Zones change once in 36 hours at most. */
  #beginMs(midnightMs: number): number {
    let low = midnightMs - REACH_MS;
    let high = midnightMs + REACH_MS;
    const before = this.#offsetMs(low);
    const after = this.#offsetMs(high);
    if (before === after) return midnightMs - before;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (this.#offsetMs(middle) === before) low = middle;
      else high = middle;
    }
    return midnightMs - before < high ? midnightMs - before : Math.max(high, midnightMs - after);
  }

  #offsetMs(ms: number): number {
    return this.#localMs(ms) - ms;
  }

  /** What the zone's clock shows at `ms`, written as if it were UTC. */
  #localMs(ms: number): number {
    const shown: Partial<Record<Intl.DateTimeFormatPartTypes, number>> = {};
    for (const { type, value } of this.#format.formatToParts(ms)) shown[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = shown;
    return Date.UTC(year, month - 1, day, hour, minute, second) + (ms - Math.floor(ms / 1000) * 1000);
  }
}

/** The calendars that limits use. */
export class Calendars {
  readonly #known: Readonly<Record<CalendarUnit, Map<string, Calendar>>> = {
    day: new Map(),
    week: new Map(),
    month: new Map(),
  };

  periodAt({ unit, zone }: { readonly unit: CalendarUnit; readonly zone: string }, us: number): Period {
    const zones = this.#known[unit];
    let calendar = zones.get(zone);
    if (calendar === undefined) {
      if (zones.size >= MAX_CALENDARS) zones.clear();
      calendar = new Calendar(unit, zone);
      zones.set(zone, calendar);
    }
    return calendar.periodAt(us);
  }
}

/** Midnight of the first day of the period that the day of `localMs` is in. */
function firstDayOf(unit: CalendarUnit, localMs: number): number {
  const day = Math.floor(localMs / DAY_MS) * DAY_MS;
  if (unit === "day") return day;
  const date = new Date(day);
  if (unit === "month") return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1);
  return day - ((date.getUTCDay() + 6) % 7) * DAY_MS;
}

function nextFirstDay(unit: CalendarUnit, firstDay: number): number {
  if (unit === "day") return firstDay + DAY_MS;
  if (unit === "week") return firstDay + 7 * DAY_MS;
  const date = new Date(firstDay);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1);
}
