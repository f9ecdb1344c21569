import type { LimitHeaders } from "../schema.ts";
import { type LimitKind, limitKind } from "./limit-kind.ts";
import { type AnswerClock, type LimitFields, type LimitWindow, limitWindow } from "./limit-window.ts";
import { rateLimitList } from "./ratelimit-list.ts";
import { toldTime, wholeNumber } from "./told-time.ts";

/** `RateLimit-Limit` (draft -06 and older) and the many `X-RateLimit-Limit`, in the order in which they are believed. */
const FAMILIES = ["ratelimit", "x-ratelimit", "x-rate-limit"].map((family) => {
  return { limit: `${family}-limit`, remaining: `${family}-remaining`, reset: `${family}-reset` };
});
const BINANCE = /^x-(mbx-used-weight|mbx-order-count|sapi-used-ip-weight)-(\d{1,3})([smhd])$/;
const INTERVAL_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** How a catalog file tells of limits; null when it does not. */
type Rules = LimitHeaders | null;

/** The fields that need no telling: the IETF's list, else its older three or those that begin with `x-`. */
export function standardLimits(fields: LimitFields, clock: AnswerClock, rules: Rules): LimitWindow[] {
  const listed = rateLimitList(fields, clock);
  if (listed.length > 0) return listed;
  for (const names of FAMILIES) {
    // Most answers have none of them.
    if (fields.field(names.limit) === null && fields.field(names.remaining) === null) continue;
    const window = namedLimit(fields, clock, { ...rules, ...names });
    if (window !== null) return [window];
  }
  return [];
}

/** Fields that the catalog names. Where there is no limit, what is used and what is left are it together. */
export function namedLimits(fields: LimitFields, clock: AnswerClock, rules: Rules): LimitWindow[] {
  return [namedLimit(fields, clock, rules ?? {})].filter((window) => window !== null);
}

type Names = Partial<Pick<LimitHeaders, "kind" | "limit" | "remaining" | "used" | "reset" | "resetAs">>;

function namedLimit({ field }: LimitFields, clock: AnswerClock, names: Names): LimitWindow | null {
  const at = (name: string | undefined): string | null => (name === undefined ? null : field(name));
  const remaining = wholeNumber(at(names.remaining));
  const used = wholeNumber(at(names.used));
  const sum = used === null || remaining === null ? null : used + remaining;
  const reset = toldTime(at(names.reset), names.resetAs ?? null);
  return limitWindow(names.kind ?? "requests", { limit: wholeNumber(at(names.limit)) ?? sum, remaining, reset }, clock);
}

/** Binance tells what was used, by interval, and not how much there is: that is in the catalog's `quotas`. */
export function binanceLimits({ field, names }: LimitFields, clock: AnswerClock, rules: Rules): LimitWindow[] {
  const windows = new Map<LimitKind, LimitWindow>();
  for (const name of names()) {
    const match = BINANCE.exec(name);
    if (match === null) continue;
    const thing = match[1] === "mbx-order-count" ? "orders" : "weight";
    const kind = limitKind(thing, Number(match[2]) * (INTERVAL_MS[match[3] ?? ""] ?? 0));
    const limit = rules?.quotas?.[kind] ?? null;
    const used = wholeNumber(field(name));
    if (limit === null || used === null) continue;
    const window = limitWindow(kind, { limit, remaining: Math.max(0, limit - used), reset: null }, clock);
    if (window !== null) windows.set(kind, window);
  }
  return [...windows.values()];
}
