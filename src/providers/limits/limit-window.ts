import type { LimitKind } from "./limit-kind.ts";
import { httpDate, plainNumber, type ToldTime } from "./told-time.ts";

/** A reset further ahead than this is not believed: the longest known limit counts over a month. */
export const MAX_RESET_MS = 31 * 86_400_000;
/** A clock that differs by less is not corrected: `Date` is in whole seconds, and the answer took a while. */
const MAX_SKEW_MS = 2_000;

/** Where one limit of a provider stands, as one answer tells it. Times are ms since the epoch on our clock. */
export interface LimitWindow {
  readonly kind: LimitKind;
  readonly limit: number | null;
  readonly remaining: number | null;
  /** When nothing will be missing any more. */
  readonly resetAtMs: number | null;
}

/** The fields of an answer, by lower-case name. */
export interface LimitFields {
  /** Null when there is none. */
  readonly field: (name: string) => string | null;
  /** For dialects whose names vary. */
  readonly names: () => Iterable<string>;
}

/** Our clock, and how far the provider's own is ahead of it when that is worth a correction. */
export interface AnswerClock {
  readonly nowMs: number;
  readonly aheadMs: number;
}

/** Reads the provider's `Date` only for answers that tell a time of its clock: most tell spans. */
class LazyClock implements AnswerClock {
  readonly nowMs: number;
  readonly #field: LimitFields["field"];

  constructor(field: LimitFields["field"], nowMs: number) {
    this.nowMs = nowMs;
    this.#field = field;
  }

  get aheadMs(): number {
    const date = httpDate(this.#field("date"), this.nowMs);
    return date === null || Math.abs(date - this.nowMs) <= MAX_SKEW_MS ? 0 : date - this.nowMs;
  }
}

/** @param nowMs when the answer came */
export function answerClock({ field }: LimitFields, nowMs: number): AnswerClock {
  return new LazyClock(field, nowMs);
}

/** Whether the answer comes from a cache (RFC 9111 section 5.1): what it says of limits is then old. */
export function isStored({ field }: LimitFields): boolean {
  return (plainNumber(field("age")) ?? 0) > 0;
}

/** A told time on our clock, in ms since the epoch. */
export function ourTime(told: ToldTime, clock: AnswerClock): number {
  return Math.ceil("inMs" in told ? clock.nowMs + told.inMs : told.atMs - clock.aheadMs);
}

/** What one answer tells of one limit; null when it tells nothing. A reset in the past is now. */
export function limitWindow(
  kind: LimitKind,
  told: { readonly limit: number | null; readonly remaining: number | null; readonly reset: ToldTime | null },
  clock: AnswerClock,
): LimitWindow | null {
  const { limit, remaining, reset } = told;
  if (limit === null && remaining === null) return null;
  const at = reset === null ? null : ourTime(reset, clock);
  const believed = at !== null && Math.abs(at - clock.nowMs) <= MAX_RESET_MS;
  return {
    kind,
    limit,
    // More than everything contradicts itself: the smaller number can do no harm.
    remaining: remaining !== null && limit !== null ? Math.min(remaining, limit) : remaining,
    resetAtMs: believed ? Math.max(at, clock.nowMs) : null,
  };
}
