import type { LimitSpec } from "./compile.ts";
import { GrantRing } from "./grant-ring.ts";

/** The numbers of a `requests` limit, in integer microseconds. */
interface Pace {
  /** Grants per period. */
  readonly count: number;
  readonly periodUs: number;
  readonly burst: number;
  /** Emission interval: ceil(period / count), rounded up so that no rounding ever lets one more through. */
  readonly intervalUs: number;
}

/** What a bucket needs of a limit. */
type PaceSpec = Pick<LimitSpec, "count" | "periodMs" | "burst">;

function paceOf(spec: PaceSpec): Pace {
  const periodUs = spec.periodMs * 1000;
  return { count: spec.count, periodUs, burst: spec.burst, intervalUs: Math.ceil(periodUs / spec.count) };
}

/**
 * Counter of a `requests` limit of N per period P with burst B. Two bounds hold together:
 *
 * - pacing (GCRA, as in ITU-T I.371): one grant per interval T = ceil(P/N) in the long run, at most B without a pause;
 * - window: never more than N grants within any half-open window of length P.
 *
 * The second one is needed because a GCRA with a burst lets N + B through in its first period, and providers count
 * windows. With B = 1 pacing implies the window. Together they make "300/min" true of every minute there is.
 *
 * Time comes in and must not go back; if it does, the bucket stays at the latest time at which it granted. So the
 * clock of the bucket never runs ahead of a clock that is only set back, and a step back grants nothing extra.
 */
export class RequestBucket {
  #pace: Pace;
  /** Grants of the last period at least; what is older has been folded into `#baseUs`. */
  readonly #grants = new GrantRing();
  /** Theoretical arrival time of the GCRA: before the grants in the ring, and after them. */
  #baseUs: number;
  #arrivalUs: number;
  #latestUs: number;
  /** The exported state, until something changes. */
  #text: string | null = null;

  constructor(spec: PaceSpec) {
    this.#pace = paceOf(spec);
    this.#baseUs = Number.NEGATIVE_INFINITY;
    this.#arrivalUs = Number.NEGATIVE_INFINITY;
    this.#latestUs = Number.NEGATIVE_INFINITY;
  }

  /** Earliest time at which one more grant is within both bounds; a time not after `nowUs` means now. Changes nothing. */
  readyAt(spec: PaceSpec, nowUs: number): number {
    const { pace, arrivalUs } = this.#under(spec);
    const { count, periodUs, burst, intervalUs } = pace;
    const paced = arrivalUs - (burst - 1) * intervalUs;
    const windowed = this.#grants.length < count ? paced : this.#grants.at(this.#grants.length - count) + periodUs;
    const ready = Math.max(paced, windowed);
    return ready <= this.#clock(nowUs) ? nowUs : ready;
  }

  /** Takes one grant; only right when `readyAt` says now. Returns its time, the receipt for `giveBack`. */
  grant(spec: PaceSpec, nowUs: number): number {
    const { pace, arrivalUs } = this.#under(spec);
    const time = this.#clock(nowUs);
    const keptUs = Math.max(pace.periodUs, this.#pace.periodUs);
    this.#pace = pace;
    this.#text = null;
    while (this.#grants.length > 0 && this.#grants.at(0) <= time - keptUs) {
      this.#baseUs = arrivalAfter(this.#baseUs, this.#grants.shift(), pace);
    }
    this.#grants.push(time);
    this.#arrivalUs = arrivalAfter(arrivalUs, time, pace);
    this.#latestUs = time;
    return time;
  }

  /**
   * Undoes one grant whose request was never sent. Both bounds stay exact: the pacing is worked out again from the
   * grants that remain, as if this one had never been. One that is older than a period has no part in the window any
   * more and keeps its small part in the pacing.
   */
  giveBack(grantedUs: number): void {
    if (!this.#grants.remove(grantedUs)) return;
    this.#arrivalUs = this.#arrivalAfterAll(this.#pace);
    this.#text = null;
  }

  /** Grants that could be taken right now one after the other, and the time at which none would be missing. */
  remaining(spec: PaceSpec, nowUs: number): { remaining: number; fullAtUs: number } {
    const { pace, arrivalUs } = this.#under(spec);
    const { count, periodUs, burst, intervalUs } = pace;
    const time = this.#clock(nowUs);
    const inWindow = this.#grants.length - this.#grants.countUpTo(time - periodUs);
    const ahead = Math.max(0, arrivalUs - time);
    const paced = Math.max(0, burst - Math.ceil(ahead / intervalUs));
    return { remaining: Math.max(0, Math.min(count - inWindow, paced)), fullAtUs: this.idleAt() };
  }

  /** From this time on the bucket is as good as a new one. */
  idleAt(): number {
    const newest = this.#grants.length === 0 ? Number.NEGATIVE_INFINITY : this.#grants.at(this.#grants.length - 1);
    return Math.max(this.#latestUs, this.#arrivalUs, newest + this.#pace.periodUs);
  }

  /** Everything there is to know, as one line of JSON; null when the bucket has never granted. Kept until a change. */
  exportState(): string | null {
    if (this.#latestUs === Number.NEGATIVE_INFINITY) return null;
    this.#text ??= this.#write();
    return this.#text;
  }

  #write(): string {
    const { count, periodUs, burst } = this.#pace;
    const base = this.#baseUs === Number.NEGATIVE_INFINITY ? null : this.#baseUs;
    return JSON.stringify({
      v: 1,
      count,
      periodUs,
      burst,
      base,
      latest: this.#latestUs,
      grants: this.#grants.toArray(),
    });
  }

  /**
   * Continues from an exported state. If the clock was set back in between, all times are moved so that the latest
   * one is now: no grant looks older than it is, and nobody waits for the clock to catch up.
   */
  static importState(state: string, nowUs: number): RequestBucket | null {
    const saved = readState(state);
    if (saved === null) return null;
    const { count, periodUs, burst } = saved;
    const bucket = new RequestBucket({ count, burst, periodMs: periodUs / 1000 });
    const ahead = Math.max(0, saved.latest - nowUs);
    for (const time of saved.grants) bucket.#grants.push(time - ahead);
    bucket.#baseUs = saved.base === null ? Number.NEGATIVE_INFINITY : saved.base - ahead;
    bucket.#arrivalUs = bucket.#arrivalAfterAll(bucket.#pace);
    bucket.#latestUs = saved.latest - ahead;
    return bucket;
  }

  #clock(nowUs: number): number {
    return Math.max(nowUs, this.#latestUs);
  }

  /** The numbers to go by under `spec`; when the policy has changed them, the pacing is worked out anew. */
  #under(spec: PaceSpec): { pace: Pace; arrivalUs: number } {
    const { count, periodUs, burst } = this.#pace;
    if (spec.count === count && spec.burst === burst && spec.periodMs * 1000 === periodUs) {
      return { pace: this.#pace, arrivalUs: this.#arrivalUs };
    }
    const pace = paceOf(spec);
    return { pace, arrivalUs: this.#arrivalAfterAll(pace) };
  }

  #arrivalAfterAll(pace: Pace): number {
    return this.#grants.toArray().reduce((arrival, time) => arrivalAfter(arrival, time, pace), this.#baseUs);
  }
}

/**
 * One step of the GCRA. The upper bound is what a grant in time leaves at most; it only matters for grants of an
 * earlier, larger limit, which would otherwise be waited off one interval each.
 */
function arrivalAfter(arrivalUs: number, time: number, { intervalUs, burst }: Pace): number {
  return Math.min(Math.max(arrivalUs, time) + intervalUs, time + burst * intervalUs);
}

interface SavedState {
  readonly count: number;
  readonly periodUs: number;
  readonly burst: number;
  readonly base: number | null;
  readonly latest: number;
  readonly grants: readonly number[];
}

/** Null for anything but what `exportState` writes: a counter is not worth failing a start for. */
function readState(text: string): SavedState | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const { v, count, periodUs, burst, base, latest, grants } = value as Record<string, unknown>;
  if (v !== 1 || !isCount(count) || !isCount(periodUs) || !isCount(burst) || burst > count) return null;
  if (!(base === null || isTime(base)) || !isTime(latest) || !Array.isArray(grants)) return null;
  const ascending = grants.every((time, index) => isTime(time) && (index === 0 || time >= grants[index - 1]));
  return ascending ? { count, periodUs, burst, base, latest, grants } : null;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value);
}
