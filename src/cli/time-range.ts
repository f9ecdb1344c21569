import { usageError } from "./failure.ts";
import { parseExpiry, parseSpan } from "./output.ts";

const DAY_MS = 86_400_000;
const EXAMPLES = "for example 30m, 24h or 7d, 2027-01-31, or 2027-01-31T10:00Z";

/**
 * A moment of the past: a span back from now (`24h`), a time (`2027-01-31T10:00Z`) or a day (`2027-01-31`, UTC).
 * @param edge which end of a day is meant; the end is the first moment that is not part of it
 * @returns epoch milliseconds; null when it is none of these
 */
export function parseMoment(text: string, nowMs: number, edge: "start" | "end"): number | null {
  const span = parseSpan(text);
  if (span !== null) return nowMs - span;
  const ms = parseExpiry(text, nowMs);
  if (ms === null || text.includes("T")) return ms;
  return Math.floor(ms / DAY_MS) * DAY_MS + (edge === "end" ? DAY_MS : 0);
}

/**
 * What `--since` and `--until` say; without an end, until now.
 * @throws CliError when one is no time, or the end is not after the start
 */
export function timeRange(
  { since, until }: { readonly since: string; readonly until?: string },
  nowMs: number,
): { sinceMs: number; untilMs: number } {
  const sinceMs = parseMoment(since, nowMs, "start");
  if (sinceMs === null) throw usageError("--since takes a span, a day or a time", EXAMPLES);
  const untilMs = until === undefined ? nowMs : parseMoment(until, nowMs, "end");
  if (untilMs === null) throw usageError("--until takes a span, a day or a time", EXAMPLES);
  if (untilMs <= sinceMs) throw usageError("--until is not after --since", "both count from now, or are in UTC");
  return { sinceMs, untilMs };
}
