/** A part of every week in UTC, in minutes since Monday 00:00; the end is not part of it. */
export interface WeekHours {
  readonly fromMinute: number;
  readonly toMinute: number;
}

const DAYS: readonly string[] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY = "(mon|tue|wed|thu|fri|sat|sun)";
const TIME = "([01][0-9]|2[0-3]|24):([0-5][0-9])";

/** Shape of hours, for editors: `mon-fri 01:00-04:00`, `sat 00:00-24:00`. */
export const HOURS_PATTERN = new RegExp(`^${DAY}(?:-${DAY})? ${TIME}-${TIME}$`);

const DAY_MINUTES = 24 * 60;
const WEEK_MINUTES = 7 * DAY_MINUTES;
/** The epoch was a Thursday. */
const EPOCH_MINUTE = 3 * DAY_MINUTES;

/**
 * Hours of one or several days: `mon-fri 01:00-04:00`, one entry per day.
 * @throws Error that says what to write; the caller adds the place.
 */
export function parseHours(text: string): readonly WeekHours[] {
  const match = HOURS_PATTERN.exec(text);
  if (match === null) {
    throw new Error(`"${text.slice(0, 40)}" are no hours; write them in UTC, such as mon-fri 01:00-04:00`);
  }
  const first = DAYS.indexOf(match[1] ?? "");
  const last = match[2] === undefined ? first : DAYS.indexOf(match[2]);
  const from = minutes(match[3], match[4]);
  const to = minutes(match[5], match[6]);
  if (last < first) throw new Error(`"${text}" ends on an earlier day of the week; write two entries`);
  if (to <= from || to > DAY_MINUTES) {
    throw new Error(`"${text}" ends before it begins; write two entries for hours around midnight, up to 24:00`);
  }
  return Array.from({ length: last - first + 1 }, (_, offset) => {
    const day = (first + offset) * DAY_MINUTES;
    return Object.freeze({ fromMinute: day + from, toMinute: day + to });
  });
}

function minutes(hours: string | undefined, rest: string | undefined): number {
  return Number(hours) * 60 + Number(rest);
}

/** Whether a time lies in any of the hours. */
export function inHours(hours: readonly WeekHours[], atMs: number): boolean {
  const sinceMonday = (Math.floor(atMs / 60_000) + EPOCH_MINUTE) % WEEK_MINUTES;
  const minute = sinceMonday < 0 ? sinceMonday + WEEK_MINUTES : sinceMonday;
  return hours.some(({ fromMinute, toMinute }) => minute >= fromMinute && minute < toMinute);
}
