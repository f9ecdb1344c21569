import type { ProviderLimits } from "../../providers/limit-headers.ts";
import { type LimitKind, limitThing } from "../../providers/limits/limit-kind.ts";
import { MAX_HOLD_MS } from "../../providers/limits/retry-time.ts";
import { amountOf, type Need, noNeed, type Tally } from "./provider-need.ts";
import { ProviderWindow, type WindowView } from "./provider-window.ts";

/**
 * What one credential has left at its provider for one scope (a model, a host), and when the next request may go.
 *
 * A header tells what was left when the provider handled that one request (A). Of the others, those that were answered
 * before A was sent are in that number; any other may have been handled after A. So
 *
 *   left(now) = remaining told to A + A itself + what was answered before A was sent - what has been sent until now
 *
 * is never more than what the provider has left, if nobody else uses the key: that no 429 comes follows from it. It
 * holds for windows that are refilled at once and for buckets that are refilled all the time, which only ever have
 * more. When nothing is on its way, all that was sent has been answered, and the lowest number told is exact.
 *
 * Handling a request moves the reset away, or leaves it where it is. So at the latest reset that any answer has told,
 * everything is there again, but for what is on its way, and for what was sent and never answered: that stays counted
 * until a later request has been told a number, which has it in it.
 */

/** For so long after the first request of a credential others wait for its answer, which will tell its limits. */
const LEARN_MS = 2_000;
/** Once no more than this share of a limit is left, what is left is spread over the time until the reset. */
const LOW_SHARE = 0.2;
/** Kinds that one credential's answers may add up to. */
const MAX_WINDOWS = 16;

/** One request that was sent. */
export interface Trip {
  /** Requests are numbered in the order in which they are sent. */
  readonly number: number;
  readonly need: Need;
  /** What had been answered when it was sent. */
  readonly answeredBefore: Need;
  answered: boolean;
  over: boolean;
}

export class ProviderLane {
  readonly #windows = new Map<LimitKind, ProviderWindow>();
  readonly #sent: Tally = noNeed();
  readonly #answered: Tally = noNeed();
  /** Sent, never answered, and not yet in a number that was told to a request sent after `#lostUpTo`. */
  #lost: Tally = noNeed();
  #lostUpTo = 0;
  /** Sent, and neither answered nor given up. */
  #waiting = 0;
  /** Sent and not over: the answer may still be coming. */
  #open = 0;
  #lastSentMs = 0;
  #lastNumber = 0;
  #burstSinceMs = 0;
  /** The provider has answered and told no limits. */
  #silent = false;

  /** Nothing would be lost but what was told. */
  get idle(): boolean {
    return this.#open === 0;
  }

  /** The provider has told something of its limits. */
  get known(): boolean {
    return this.#windows.size > 0;
  }

  send(need: Need, number: number, nowMs: number): Trip {
    if (this.#waiting === 0) {
      this.#burstSinceMs = nowMs;
      for (const window of this.#windows.values()) window.beginBurst();
    }
    this.#waiting += 1;
    this.#open += 1;
    this.#lastSentMs = nowMs;
    this.#lastNumber = number;
    add(this.#sent, need);
    return { number, need, answeredBefore: { ...this.#answered }, answered: false, over: false };
  }

  /** The head of the answer has come. Its output tokens are yet to be counted, so they stay on their way. */
  answered(trip: Trip, status: number, { windows }: ProviderLimits, nowMs: number): void {
    const handled = { ...trip.need, output: 0 };
    if (!trip.over && !trip.answered) {
      trip.answered = true;
      this.#waiting -= 1;
      add(this.#answered, handled);
    }
    for (const [kind, window] of this.#windows) if (!windows.some((told) => told.kind === kind)) window.missed();
    for (const told of windows) {
      const thing = limitThing(told.kind);
      const included = amountOf(trip.answeredBefore, thing) + amountOf(handled, thing);
      this.#window(told.kind)?.told(told, trip.number, this.#lastNumber, included, nowMs);
    }
    if (windows.length > 0 && trip.number > this.#lostUpTo) {
      add(this.#answered, this.#lost);
      this.#lost = noNeed();
    }
    // A refusal may have come before anybody counted.
    if (windows.length === 0 && status < 400) this.#silent = true;
    this.#settled();
  }

  /**
   * Nothing more comes of a request.
   * @param output tokens that were written; null when nobody knows, then as many as were expected
   */
  over(trip: Trip, output: number | null): void {
    if (!this.#close(trip)) return;
    if (!trip.answered) {
      // Whether and when the provider has counted it nobody can say.
      this.#waiting -= 1;
      for (const window of this.#windows.values()) window.missed();
      add(this.#lost, trip.need);
      this.#lostUpTo = this.#lastNumber;
      this.#settled();
      return;
    }
    const written = output ?? trip.need.output;
    this.#sent.output += written - trip.need.output;
    this.#answered.output += written;
  }

  /** It never left: it is as if it had not been. */
  unsent(trip: Trip): void {
    if (trip.answered || !this.#close(trip)) return;
    this.#waiting -= 1;
    add(this.#sent, trip.need, -1);
    this.#settled();
  }

  /**
   * When a request may go, as far as can be told now: at most `nowMs` for at once, null when only an answer to what is
   * on its way can tell.
   * @param deadlineMs until when it can wait; it does not fail because nothing is known yet
   */
  readyAt(need: Need, nowMs: number, deadlineMs: number): number | null {
    if (this.#windows.size === 0) {
      const learnt = this.#silent || this.#waiting === 0;
      return learnt ? nowMs : Math.max(nowMs, Math.min(this.#burstSinceMs + LEARN_MS, deadlineMs));
    }
    let latest: number = nowMs;
    for (const window of this.#windows.values()) {
      const at = this.#readyIn(window, need, nowMs);
      if (at === null) return null;
      latest = Math.max(latest, at);
    }
    return latest;
  }

  #readyIn(window: ProviderWindow, need: Need, nowMs: number): number | null {
    const thing = limitThing(window.kind);
    window.turn(nowMs, amountOf(this.#answered, thing));
    // What is more than the whole limit needs all of it; the provider decides.
    const cost = Math.min(amountOf(need, thing), window.limit ?? Number.POSITIVE_INFINITY);
    const left = window.left(amountOf(this.#sent, thing));
    if (cost === 0 || left === null) return nowMs;
    const { resetAtMs, limit } = window;
    if (left >= cost) {
      if (resetAtMs === null || limit === null || left > limit * LOW_SHARE) return nowMs;
      // Equal distances, with the reset at the end of the last one.
      return this.#lastSentMs + ((resetAtMs - this.#lastSentMs) * cost) / (left + cost);
    }
    // A provider that says "nothing is left" for ever must not keep everybody away for ever.
    const believedMs = window.seenAtMs + MAX_HOLD_MS;
    if (resetAtMs !== null && nowMs < believedMs) return Math.min(resetAtMs, believedMs);
    return this.#waiting === 0 ? nowMs : null;
  }

  views(nowMs: number): WindowView[] {
    return [...this.#windows.values()].flatMap((window) => {
      window.turn(nowMs, amountOf(this.#answered, limitThing(window.kind)));
      return window.view() ?? [];
    });
  }

  /** Goes on from what an earlier process knew. */
  restore(window: WindowView): void {
    this.#window(window.kind)?.told(window, 0, 0, 0, window.seenAtMs);
  }

  /** Null when there are too many already. */
  #window(kind: LimitKind): ProviderWindow | null {
    const known = this.#windows.get(kind);
    if (known !== undefined || this.#windows.size >= MAX_WINDOWS) return known ?? null;
    const added = new ProviderWindow(kind);
    this.#windows.set(kind, added);
    return added;
  }

  #close(trip: Trip): boolean {
    if (trip.over) return false;
    trip.over = true;
    this.#open -= 1;
    return true;
  }

  #settled(): void {
    if (this.#waiting > 0) return;
    for (const window of this.#windows.values()) {
      const thing = limitThing(window.kind);
      // What is still being written is not in any number yet.
      if (thing !== "tokens" && thing !== "output_tokens") window.endBurst(amountOf(this.#sent, thing));
    }
  }
}

function add(sum: Tally, need: Need, sign = 1): void {
  sum.requests += sign * need.requests;
  sum.credits += sign * need.credits;
  sum.input += sign * need.input;
  sum.output += sign * need.output;
}
