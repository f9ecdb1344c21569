/** Milliseconds of each unit that a duration may carry. */
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** Milliseconds of each bare unit that may follow the slash of a rate. */
const RATE_UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/** Shape of a duration, for editors: `500ms`, `2s`, `5m`, `1h`, `1d`. */
export const DURATION_PATTERN = /^(?:0|[1-9][0-9]{0,8})(?:ms|s|m|h|d)$/;
/** Shape of a rate, for editors: `300/min`, `5/s`, `10000/d`, `100/15s`. */
export const RATE_PATTERN = /^[1-9][0-9]{0,8}\/(?:s|min|h|d|[1-9][0-9]{0,8}(?:ms|s|m|h|d))$/;

/** Units that people write in a rate, and the one that is accepted. */
const MEANT_UNIT: ReadonlyMap<string, string> = new Map([
  ["m", "min"],
  ["minute", "min"],
  ["sec", "s"],
  ["second", "s"],
  ["hour", "h"],
  ["day", "d"],
]);

/** Longest duration in milliseconds: 30 days. */
export const MAX_DURATION_MS = 30 * 86_400_000;
/** Most requests per period; the limiter remembers that many grant times per key. */
export const MAX_RATE_COUNT = 100_000;

export interface Rate {
  readonly count: number;
  readonly periodMs: number;
}

/**
 * Parses a whole number with a unit (`500ms`, `2s`, `5m`, `1h`, `1d`) to milliseconds.
 * @throws Error that says what to write; the caller adds the place.
 */
export function parseDuration(text: string): number {
  if (!DURATION_PATTERN.test(text)) throw new Error(durationProblem(text));
  const unit = text.replace(/^[0-9]+/, "");
  const ms = Number(text.slice(0, -unit.length)) * (UNIT_MS[unit] ?? Number.NaN);
  if (!(ms <= MAX_DURATION_MS)) throw new Error(`${text} is longer than 30 days; write 30d at most`);
  return ms;
}

function durationProblem(text: string): string {
  const shown = text.slice(0, 40);
  if (/^[0-9]+$/.test(text)) return `${shown} has no unit; write ${shown}s or ${shown}ms`;
  if (/^[0-9]+min$/.test(text)) return `"${shown}" is not a duration; write ${text.slice(0, -2)}`;
  return `"${shown}" is not a duration; write a whole number with ms, s, m, h or d, such as 500ms or 2s`;
}

/**
 * Parses requests per period: `5/s`, `300/min`, `1000/h`, `10000/d`, or a period with its own number, `100/15s`.
 * @throws Error that says what to write; the caller adds the place.
 */
export function parseRate(text: string): Rate {
  if (!RATE_PATTERN.test(text)) throw new Error(rateProblem(text));
  const slash = text.indexOf("/");
  const count = Number(text.slice(0, slash));
  const period = text.slice(slash + 1);
  const periodMs = RATE_UNIT_MS[period] ?? parseDuration(period);
  if (count > MAX_RATE_COUNT) {
    throw new Error(`${text} is more than ${MAX_RATE_COUNT} per period; write it per shorter period`);
  }
  return { count, periodMs };
}

function rateProblem(text: string): string {
  const shown = text.slice(0, 40);
  const count = /^[1-9][0-9]*/.exec(shown)?.[0];
  if (count === shown && count !== undefined) return `${shown} has no unit; write ${shown}/min`;
  const unit = shown.slice(shown.indexOf("/") + 1);
  const meant = MEANT_UNIT.get(unit);
  if (count !== undefined && meant !== undefined) return `"${shown}" is not a rate; write ${count}/${meant}`;
  return `"${shown}" is not a rate; write requests per period, such as 300/min, 5/s or 100/15s`;
}
