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
  /** The request whose answer this comes from. */
  #number = -1;
  /** The last request that had been sent when the provider last told of this limit. */
  #sentWhenTold = -1;
  /** Lowest number told while requests were on their way without a pause; null when it may not be all of them. */
  #lowest: number | null = Number.POSITIVE_INFINITY;

  constructor(kind: LimitKind) {
    this.kind = kind;
  }

  /**
   * @param number of the request whose answer tells this, and that of the last one that was sent
   * @param included what is in the number that is told, in the lane's sums
   */
  told(window: LimitWindow, number: number, lastSent: number, included: number, nowMs: number): void {
    const past = window.resetAtMs !== null && window.resetAtMs <= nowMs;
    if (this.#number === -1) this.#lowest = null;
    this.#takeReset(window, number, nowMs);
    this.#sentWhenTold = lastSent;
    if (past || window.remaining === null) this.#lowest = null;
    else if (this.#lowest !== null) this.#lowest = Math.min(this.#lowest, window.remaining);
    // The answer to an earlier request may come late; its number is older.
    if (number < this.#number) return;
    this.#number = number;
    this.limit = window.limit ?? this.limit;
    this.seenAtMs = nowMs;
    this.#remaining = window.remaining;
    this.#bound = window.remaining === null ? null : included + window.remaining;
  }

  /**
   * A reset only ever moves away as requests are handled. So of answers to requests that were on their way together
   * the latest one holds, whichever came first; only a request that was sent afterwards may know better.
   */
  #takeReset({ resetAtMs }: LimitWindow, number: number, nowMs: number): void {
    const at = resetAtMs ?? this.#latestReset(nowMs);
    if (at === null || (this.resetAtMs !== null && number <= this.#sentWhenTold && at < this.resetAtMs)) return;
    this.resetAtMs = at;
    this.#toldResetMs = resetAtMs;
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

  /**
   * At its reset everything is there again, but for what is on its way: what was handled after it and answered has
   * moved the reset.
   * @param answered amounts that were answered, in the lane's sums
   */
  turn(nowMs: number, answered: number): void {
    if (this.resetAtMs === null || nowMs < this.resetAtMs) return;
    this.resetAtMs = null;
    this.#lowest = null;
    this.#remaining = this.limit;
    this.#bound = this.limit === null ? null : answered + this.limit;
  }

  /** At least this much is left; null when nobody knows. */
  left(sent: number): number | null {
    return this.#bound === null ? null : this.#bound - sent;
  }

  view(): WindowView | null {
    if (this.limit === null && this.#remaining === null) return null;
    const resetAtMs = this.resetAtMs === null ? null : this.#toldResetMs;
    return { kind: this.kind, limit: this.limit, remaining: this.#remaining, resetAtMs, seenAtMs: this.seenAtMs };
  }

  /** Without a word of it: a whole period from now, however the provider counts. */
  #latestReset(nowMs: number): number | null {
    const periodMs = limitPeriodMs(this.kind);
    return periodMs === null ? null : nowMs + periodMs;
  }
}
