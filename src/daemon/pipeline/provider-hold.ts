import type { ProviderLimits } from "../../providers/limit-headers.ts";
import { MAX_HOLD_MS } from "../../providers/limits/retry-time.ts";

/** Without a word from the provider: 1 s, doubled with each refusal in a row, with up to a quarter on top, 60 s at most. */
const FIRST_BACKOFF_MS = 1_000;
const LONGEST_BACKOFF_MS = 48_000;
const BACKOFF_JITTER = 0.25;
/** Added to a told time at random, so that several holders of one key do not come back in the same moment. */
const MAX_JITTER_MS = 1_000;
const JITTER_SHARE = 0.1;
const MAX_DOUBLINGS = 6;
/** Told times are whole, our clock is finer: less than this is nothing to wait for. */
const LEAST_TOLD_MS = 1;

/**
 * Refusals by a limit, if the answer says when to come back; a 429 always is one. Binance bans with 418, Anthropic is
 * overloaded with 529. A 503 is trouble of one place, which the circuit breaker sees to.
 */
const HOLDING_STATUSES: ReadonlySet<number> = new Set([418, 529]);

/** A credential that its provider does not want to see for a while. */
export interface Held {
  readonly status: number;
  /** Milliseconds since the epoch. */
  readonly untilMs: number;
  /** The provider asked for more than is granted at once (an hour). */
  readonly capped: boolean;
}

/** Whether an answer is a refusal by a limit. */
export function isRefusal(status: number, { retryAtMs }: Pick<ProviderLimits, "retryAtMs">): boolean {
  return status === 429 || (retryAtMs !== null && HOLDING_STATUSES.has(status));
}

/**
 * Until when one credential is held. A hold is only ever extended, until a request that was sent after the last refusal
 * has got through. Requests are numbered in the order in which they are sent.
 */
export class ProviderHold {
  #untilMs = 0;
  #lengthMs = 0;
  #status = 0;
  #capped = false;
  /** Number of the last request that was sent when the hold began, and when it was last extended. */
  #beganAt = -1;
  #extendedAt = -1;
  /** Refusals in a row, those of one burst counted once. */
  #refusals = 0;

  /**
   * @param number of the request that was refused
   * @param latest number of the last request that was sent
   * @param random from 0 to 1
   */
  refused(
    answer: { readonly number: number; readonly status: number; readonly limits: ProviderLimits },
    latest: number,
    nowMs: number,
    random: number,
  ): void {
    const { retryAtMs, capped } = answer.limits;
    // What was on its way already says nothing new: a burst of refusals is one.
    if (answer.number > this.#beganAt) {
      this.#refusals += 1;
      this.#beganAt = latest;
    }
    const lengthMs = retryAtMs !== null && retryAtMs - nowMs >= LEAST_TOLD_MS ? retryAtMs - nowMs : null;
    const untilMs = nowMs + (lengthMs === null ? this.#backoffMs(random) : lengthMs + jitterMs(lengthMs, random));
    this.#extendedAt = latest;
    if (untilMs <= this.#untilMs) return;
    this.#untilMs = untilMs;
    this.#lengthMs = untilMs - nowMs;
    this.#status = answer.status;
    this.#capped = capped;
  }

  /** A request got through. That says nothing if it was sent before the last refusal came. */
  passed(number: number, nowMs: number): void {
    if (number <= this.#extendedAt) return;
    this.#refusals = 0;
    this.#untilMs = Math.min(this.#untilMs, nowMs);
  }

  /** Goes on from what an earlier process knew, whose clock may have been another. */
  restore({ status, untilMs, capped }: Held, nowMs: number): void {
    this.#untilMs = Math.min(untilMs, nowMs + MAX_HOLD_MS + MAX_JITTER_MS);
    this.#lengthMs = this.#untilMs - nowMs;
    this.#status = status;
    this.#capped = capped;
  }

  at(nowMs: number): Held | null {
    return this.#untilMs > nowMs ? { status: this.#status, untilMs: this.#untilMs, capped: this.#capped } : null;
  }

  /** Over how long those who waited are to be spread, from now on; 0 when no hold has just ended. */
  spreadLeftMs(nowMs: number): number {
    const spreadMs = Math.min(MAX_JITTER_MS, this.#lengthMs * JITTER_SHARE);
    return nowMs < this.#untilMs ? 0 : Math.max(0, this.#untilMs + spreadMs - nowMs);
  }

  #backoffMs(random: number): number {
    const doublings = Math.min(this.#refusals - 1, MAX_DOUBLINGS);
    return Math.min(FIRST_BACKOFF_MS * 2 ** doublings, LONGEST_BACKOFF_MS) * (1 + BACKOFF_JITTER * random);
  }
}

function jitterMs(lengthMs: number, random: number): number {
  return random * Math.min(MAX_JITTER_MS, lengthMs * JITTER_SHARE);
}
