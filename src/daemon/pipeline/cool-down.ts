/** How long something that failed is left alone, in milliseconds: at first, and at most. */
export interface CoolDownSpan {
  readonly firstMs: number;
  readonly longestMs: number;
}

/** `trial`: one may try it now. Else it is left alone until then, ms since the epoch. */
export type Standing = "trial" | { readonly untilMs: number };

/** Up to this share of a span is added, so that what failed together does not come back together. */
const JITTER = 0.2;
/** How soon it is worth asking again while a trial is under way. */
const TRIAL_MS = 1_000;

/**
 * Something that failed and is left alone for a while. Then one trial at a time finds out whether it is well again;
 * each failed trial doubles the span. Made when it fails, dropped by its owner when it is well.
 */
export class CoolDown {
  readonly #span: CoolDownSpan;
  readonly #random: () => number;
  /** When it began, ms since the epoch: what was sent before that proves nothing. */
  readonly sinceMs: number;
  #spanMs: number;
  #untilMs: number;
  #trying = false;

  /**
   * @param toldMs when the other side said it will be well, ms since the epoch; null when it did not
   * @param random 0 to below 1
   */
  constructor(span: CoolDownSpan, nowMs: number, toldMs: number | null, random: () => number) {
    this.#span = span;
    this.#random = random;
    this.sinceMs = nowMs;
    this.#spanMs = span.firstMs;
    this.#untilMs = this.#end(nowMs, toldMs);
  }

  get untilMs(): number {
    return this.#untilMs;
  }

  standing(nowMs: number): Standing {
    const leftMs = this.#untilMs - nowMs;
    // More than it can ever have been given: the clock was set back.
    const sane = leftMs <= this.#span.longestMs * (1 + JITTER);
    if (leftMs > 0 && sane) return { untilMs: this.#untilMs };
    return this.#trying ? { untilMs: nowMs + TRIAL_MS } : "trial";
  }

  /**
   * Begins a trial, even before its time; the caller has looked at the standing. False while another one is under way.
   * Who gets true calls `fail` or `giveBack` once.
   */
  try(): boolean {
    if (this.#trying) return false;
    this.#trying = true;
    return true;
  }

  get trying(): boolean {
    return this.#trying;
  }

  /** Ends a trial that failed. */
  fail(nowMs: number, toldMs: number | null): void {
    this.#trying = false;
    this.#spanMs = Math.min(this.#span.longestMs, this.#spanMs * 2);
    this.#untilMs = this.#end(nowMs, toldMs);
  }

  /** Ends a trial that told nothing, so that another one may begin. */
  giveBack(): void {
    this.#trying = false;
  }

  /** Heard meanwhile, from what had been sent before: later than was known makes it longer, sooner does not count. */
  told(nowMs: number, toldMs: number | null): void {
    if (toldMs !== null && toldMs > this.#untilMs) this.#untilMs = this.#end(nowMs, toldMs);
  }

  /** Exactly what was told, but never so long that a mistake over there puts it away for good. */
  #end(nowMs: number, toldMs: number | null): number {
    if (toldMs !== null && toldMs > nowMs) return Math.min(toldMs, nowMs + this.#span.longestMs);
    return nowMs + Math.round(this.#spanMs * (1 + JITTER * this.#random()));
  }
}
