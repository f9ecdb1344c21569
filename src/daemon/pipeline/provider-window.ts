import { type LimitKind, limitPeriodMs } from "../../providers/limits/limit-kind.ts";
import type { LimitWindow } from "../../providers/limits/limit-window.ts";

/** One limit as it is known now. */
export interface WindowView extends LimitWindow {
  /** When the provider last told of it, in ms since the epoch. */
  readonly seenAtMs: number;
}

/**
 * One limit of a lane (see provider-lane.ts for what is proven there). Amounts are in the lane's sums: what is left is
 * a bound on everything that may be sent, less everything that was.
 */
export class ProviderWindow {
  readonly kind: LimitKind;
  limit: number | null = null;
  seenAtMs = 0;
  /** When it is full again, told or at the latest; null when that is unknown or past. */
  resetAtMs: number | null = null;
  #remaining: number | null = null;
  #toldResetMs: number | null = null;
  /** Everything that may be sent; null when nobody knows what remains. */
  #bound: number | null = null;
  /** The request whose answer all this comes from, and everything that is in the number it was told. */
  #number = -1;
  #included = 0;
  /** Lowest number told while requests were on their way without a pause; null when it may not be all of them. */
  #lowest: number | null = Number.POSITIVE_INFINITY;

  constructor(kind: LimitKind) {
    this.kind = kind;
  }

  /** @param included what is in the number that is told, in the lane's sums */
  told(window: LimitWindow, number: number, included: number, nowMs: number): void {
    const past = window.resetAtMs !== null && window.resetAtMs <= nowMs;
    if (this.#number === -1) this.#lowest = null;
    if (past || window.remaining === null) this.#lowest = null;
    else if (this.#lowest !== null) this.#lowest = Math.min(this.#lowest, window.remaining);
    // The answer to an earlier request may come late; its number is older.
    if (number < this.#number) return;
    this.#number = number;
    this.#included = included;
    this.limit = window.limit ?? this.limit;
    this.seenAtMs = nowMs;
    this.#remaining = window.remaining;
    this.#toldResetMs = window.resetAtMs;
    this.#bound = window.remaining === null ? null : included + window.remaining;
    this.resetAtMs = window.resetAtMs ?? this.#latestReset(nowMs);
  }

  /** An answer of this burst did not tell of this limit, or did not come. */
  missed(): void {
    this.#lowest = null;
  }

  beginBurst(): void {
    this.#lowest = Number.POSITIVE_INFINITY;
  }

  /** All that was sent has been answered: the lowest number told is what is left. */
  endBurst(sent: number): void {
    if (this.#lowest === null || this.#lowest === Number.POSITIVE_INFINITY || this.#bound === null) return;
    this.#bound = Math.max(this.#bound, sent + this.#lowest);
  }

  /** At its reset everything is there again, but for what the provider may already have counted after it. */
  turn(nowMs: number): void {
    if (this.resetAtMs === null || nowMs < this.resetAtMs) return;
    this.resetAtMs = null;
    this.#lowest = null;
    this.#remaining = this.limit;
    this.#bound = this.limit === null ? null : this.#included + this.limit;
  }

  /** At least this much is left; null when nobody knows. */
  left(sent: number): number | null {
    return this.#bound === null ? null : this.#bound - sent;
  }

  view(nowMs: number): WindowView | null {
    this.turn(nowMs);
    if (this.limit === null && this.#remaining === null) return null;
    const resetAtMs = this.resetAtMs === null ? null : this.#toldResetMs;
    return { kind: this.kind, limit: this.limit, remaining: this.#remaining, resetAtMs, seenAtMs: this.seenAtMs };
  }

  /** Without a word of it: a whole period from now, however the provider counts. */
  #latestReset(nowMs: number): number | null {
    const periodMs = limitPeriodMs(this.kind);
    if (periodMs !== null) return nowMs + periodMs;
    return this.resetAtMs !== null && this.resetAtMs > nowMs ? this.resetAtMs : null;
  }
}
