import type { LimitSpec } from "./compile.ts";
import { RequestBucket } from "./limit-bucket.ts";

/** Whom a reservation is for; null where it does not apply (no user, no credential). */
export interface LimitIds {
  readonly client: string | null;
  readonly credential: string | null;
  readonly provider: string;
  readonly route: string;
  readonly user: string | null;
}

/**
 * Name of the counter that a request falls into. A limit per credential or provider follows that credential or
 * provider over all routes, because that is what the provider counts; any other limit belongs to its route. The
 * numbers are left out, so that a changed limit goes on from what has been used.
 */
export function bucketKey(spec: LimitSpec, ids: LimitIds): string {
  const scope = followsCredential(spec) ? null : ids.route;
  // No name or user id holds a line break, so the parts cannot run into each other.
  let key = `${spec.kind}\n${spec.name}\n${scope ?? ""}`;
  for (const by of spec.per) key += `\n${by}\n${ids[by] ?? ""}`;
  return key;
}

/** Whether the limit's counter is shared by all routes to the same credential or provider. */
export function followsCredential({ per }: LimitSpec): boolean {
  return !per.includes("route") && (per.includes("credential") || per.includes("provider"));
}

/** One limit that a request has to pass, and the counter it falls into (`bucketKey`). */
export interface LimitRequest {
  readonly spec: LimitSpec;
  readonly key: string;
}

/** A limit that had no room. */
export interface LimitDenial extends LimitRequest {
  /** Microseconds until it has, if nobody else takes it; null when that depends on a `release`. */
  readonly retryAfterUs: number | null;
}

/** What a reservation took. Settle it exactly once, with `release` or `refund`; settling it again does nothing. */
export interface Hold {
  readonly settled: boolean;
}

export type Reservation =
  | { readonly ok: true; readonly hold: Hold; readonly shadowed: readonly LimitDenial[] }
  | { readonly ok: false; readonly denied: LimitDenial; readonly shadowed: readonly LimitDenial[] };

/** One exported counter; `state` is opaque. */
export interface LimitStateRow {
  readonly key: string;
  readonly state: string;
}

/** Counters kept at most; beyond that, those that are as good as new are dropped. */
export const MAX_BUCKETS = 10_000;

/** Counter of a `concurrent` limit. */
interface ConcurrentBucket {
  held: number;
}

type Bucket = RequestBucket | ConcurrentBucket;

interface Taken {
  readonly key: string;
  readonly bucket: Bucket;
  /** Time of a `requests` grant. */
  readonly grantedUs: number;
}

class TableHold implements Hold {
  settled = false;
  readonly taken: readonly Taken[];

  constructor(taken: readonly Taken[]) {
    this.taken = taken;
  }
}

/**
 * All counters. Pure: time comes in as integer microseconds from a clock that does not go back, and state leaves
 * through `exportState`. Single-threaded use makes every call atomic (guarantee G11).
 */
export class LimitTable {
  readonly #buckets = new Map<string, Bucket>();
  readonly #maxBuckets: number;
  /** No decision is made as of an earlier time: counters that were dropped as idle then would be missing. */
  #floorUs = Number.NEGATIVE_INFINITY;

  constructor(options: { maxBuckets?: number } = {}) {
    this.#maxBuckets = options.maxBuckets ?? MAX_BUCKETS;
  }

  /**
   * Takes one grant of every limit, or none of any. A key that is given twice is taken once. Limits in `shadow` mode
   * are reported in `shadowed` when they would have denied, count only what they would have let through, and never
   * deny. Of several limits without room the one that takes longest is named; one that waits for a `release` first.
   */
  tryReserve(requests: readonly LimitRequest[], nowUs: number): Reservation {
    const clock = this.#clock(nowUs);
    const granted: LimitRequest[] = [];
    const shadowed: LimitDenial[] = [];
    let denied: LimitDenial | null = null;
    for (const { spec, key } of new Map(requests.map((request) => [request.key, request])).values()) {
      const ready = this.#readyAt(spec, key, clock);
      if (ready === clock) {
        granted.push({ spec, key });
        continue;
      }
      const denial = { spec, key, retryAfterUs: ready === null ? null : ready - nowUs };
      if (spec.mode === "shadow") shadowed.push(denial);
      else denied = later(denied, denial);
    }
    const full = this.#withoutRoom(requests, nowUs);
    if (full !== null) denied = later(denied, full);
    if (denied !== null) return { ok: false, denied, shadowed };
    return { ok: true, hold: new TableHold(this.#take(granted, clock)), shadowed };
  }

  /** Ends a reservation whose request was sent: what is concurrent is free again, the request stays counted. */
  release(hold: Hold): void {
    this.#settle(hold, false);
  }

  /** Ends a reservation whose request never left sidekey: it is as if it had not been made. */
  refund(hold: Hold): void {
    this.#settle(hold, true);
  }

  /**
   * What could be taken right now.
   * @returns `resetUs`: microseconds until nothing would be missing; null for `concurrent`, where nobody can know
   */
  remaining(spec: LimitSpec, key: string, nowUs: number): { remaining: number; resetUs: number | null; limit: number } {
    const limit = spec.count;
    const bucket = this.#buckets.get(key);
    if (spec.kind === "concurrent") {
      const held = bucket === undefined || bucket instanceof RequestBucket ? 0 : bucket.held;
      return { remaining: Math.max(0, limit - held), resetUs: held === 0 ? 0 : null, limit };
    }
    if (!(bucket instanceof RequestBucket)) return { remaining: spec.burst, resetUs: 0, limit };
    const { remaining, fullAtUs } = bucket.remaining(spec, this.#clock(nowUs));
    return { remaining, resetUs: Math.max(0, fullAtUs - nowUs), limit };
  }

  /** Request counters, for the next start. What is concurrent ends with the process that holds it. */
  exportState(): LimitStateRow[] {
    const rows: LimitStateRow[] = [];
    for (const [key, bucket] of this.#buckets) {
      const state = bucket instanceof RequestBucket ? bucket.exportState() : null;
      if (state !== null) rows.push({ key, state });
    }
    return rows;
  }

  /** Continues from exported counters. Rows that cannot be read are left out. */
  importState(rows: readonly LimitStateRow[], nowUs: number): void {
    const clock = this.#clock(nowUs);
    for (const { key, state } of rows) {
      const bucket = RequestBucket.importState(state, clock);
      if (bucket !== null && bucket.idleAt() > clock && !this.#buckets.has(key)) this.#buckets.set(key, bucket);
    }
    this.#floorUs = clock;
  }

  #clock(nowUs: number): number {
    if (!Number.isSafeInteger(nowUs)) throw new Error(`internal: ${nowUs} is not a time in whole microseconds`);
    return Math.max(nowUs, this.#floorUs);
  }

  /** `clock` when there is room; null when only a release can make some. Changes nothing. */
  #readyAt(spec: LimitSpec, key: string, clock: number): number | null {
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) return clock;
    if (bucket instanceof RequestBucket) return bucket.readyAt(spec, clock);
    return bucket.held < spec.count ? clock : null;
  }

  /**
   * A limit for which there is no counter and no room for one is denied: to let it through uncounted, or to forget a
   * counter in use, would exceed a limit. Changes nothing.
   */
  #withoutRoom(requests: readonly LimitRequest[], nowUs: number): LimitDenial | null {
    const { first, excess } = this.#missing(requests);
    if (first === null || excess <= 0) return null;
    const wanted = new Set(requests.map(({ key }) => key));
    const idleTimes = [...this.#buckets].filter(([key]) => !wanted.has(key)).map(([, bucket]) => idleAt(bucket));
    const enoughAt = idleTimes.sort((a, b) => a - b)[excess - 1] ?? Number.POSITIVE_INFINITY;
    if (enoughAt <= this.#clock(nowUs)) return null;
    return { ...first, retryAfterUs: enoughAt === Number.POSITIVE_INFINITY ? null : enoughAt - nowUs };
  }

  /** The first limit without a counter, and how many counters would be too many. */
  #missing(requests: readonly LimitRequest[]): { first: LimitRequest | null; excess: number } {
    const missing = requests.filter(({ spec, key }) => spec.mode === "enforce" && !this.#buckets.has(key));
    const count = new Set(missing.map(({ key }) => key)).size;
    return { first: missing[0] ?? null, excess: this.#buckets.size + count - this.#maxBuckets };
  }

  /** Forgets the idle counters when there are too many; `#withoutRoom` has seen that they are enough. */
  #makeRoom(granted: readonly LimitRequest[], clock: number): void {
    const { first, excess } = this.#missing(granted);
    if (first === null || excess <= 0) return;
    const wanted = new Set(granted.map(({ key }) => key));
    for (const [key, bucket] of this.#buckets) {
      if (!wanted.has(key) && idleAt(bucket) <= clock) this.#buckets.delete(key);
    }
    this.#floorUs = clock;
  }

  #take(granted: readonly LimitRequest[], clock: number): Taken[] {
    this.#makeRoom(granted, clock);
    const taken: Taken[] = [];
    for (const { spec, key } of granted) {
      const bucket = this.#bucketFor(spec, key);
      if (bucket === null) continue;
      if (!(bucket instanceof RequestBucket)) bucket.held++;
      const grantedUs = bucket instanceof RequestBucket ? bucket.grant(spec, clock) : clock;
      taken.push({ key, bucket, grantedUs });
    }
    return taken;
  }

  /** Null when there is no room for the counter of a shadow limit, which then goes uncounted. */
  #bucketFor(spec: LimitSpec, key: string): Bucket | null {
    const existing = this.#buckets.get(key);
    if (existing !== undefined) return existing;
    if (spec.mode === "shadow" && this.#buckets.size >= this.#maxBuckets) return null;
    const bucket = spec.kind === "requests" ? new RequestBucket(spec) : { held: 0 };
    this.#buckets.set(key, bucket);
    return bucket;
  }

  #settle(hold: Hold, giveBack: boolean): void {
    if (!(hold instanceof TableHold) || hold.settled) return;
    hold.settled = true;
    for (const { key, bucket, grantedUs } of hold.taken) {
      if (bucket instanceof RequestBucket) {
        if (giveBack) bucket.giveBack(grantedUs);
        continue;
      }
      bucket.held--;
      if (bucket.held === 0 && this.#buckets.get(key) === bucket) this.#buckets.delete(key);
    }
  }
}

/** Time from which a counter may be forgotten. */
function idleAt(bucket: Bucket): number {
  return bucket instanceof RequestBucket ? bucket.idleAt() : Number.POSITIVE_INFINITY;
}

/** The denial that has to be waited for longer. */
function later(a: LimitDenial | null, b: LimitDenial): LimitDenial {
  if (a === null) return b;
  if (a.retryAfterUs === null || b.retryAfterUs === null) return a.retryAfterUs === null ? a : b;
  return b.retryAfterUs > a.retryAfterUs ? b : a;
}
