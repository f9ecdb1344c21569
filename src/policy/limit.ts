import { type Ask, isUncounted, type Misfit, type Used, usedOf, wantedOf } from "./budget.ts";
import { BudgetBucket, type Held } from "./budget-bucket.ts";
import { Calendars } from "./calendar.ts";
import type { LimitSpec } from "./compile.ts";
import { RequestBucket } from "./limit-bucket.ts";
import { type Bucket, isConcurrent, LimitCounters } from "./limit-counters.ts";

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

/** A limit that does not let a call through. */
export interface LimitDenial extends LimitRequest {
  /** `no_room`: not now. Anything else: never, however long it waits. */
  readonly reason: "no_room" | Misfit;
  /** Microseconds until it has room, if nobody else takes it; null when that depends on a `release`, or never comes. */
  readonly retryAfterUs: number | null;
}

/** What a reservation took. Settle it exactly once, with `release` or `refund`; settling it again does nothing. */
export interface Hold {
  readonly settled: boolean;
}

export type Reservation =
  | {
      readonly ok: true;
      readonly hold: Hold;
      readonly shadowed: readonly LimitDenial[];
      /** Budgets that the call passes uncounted, because it has no price and they allow that. */
      readonly uncounted: readonly LimitRequest[];
    }
  | { readonly ok: false; readonly denied: LimitDenial; readonly shadowed: readonly LimitDenial[] };

/** The use of a budget has passed one of its levels upward. */
export interface BudgetWarning extends LimitRequest {
  readonly percent: number;
  /** Tokens or nano-dollars that are settled, and of how many. */
  readonly used: number;
  readonly limit: number;
  /** Until nothing would be missing, if nothing more were used. */
  readonly resetMs: number;
}

/** A call has used more than the upper bound that a strict budget had reserved for it. */
export interface BudgetOverrun extends LimitRequest {
  readonly over: number;
}

/** What settling a call has shown. */
export interface Settlement {
  readonly warnings: readonly BudgetWarning[];
  readonly overruns: readonly BudgetOverrun[];
}

/** One exported counter; `state` is opaque. */
export interface LimitStateRow {
  readonly key: string;
  readonly state: string;
}

/** Counters kept at most; beyond that, those that are as good as new are dropped. */
export const MAX_BUCKETS = 10_000;
/** A call that has not been settled after this time counts as used at its estimate. */
const LEASE_MS = 3_600_000;

interface Taken extends LimitRequest {
  readonly bucket: Bucket;
  /** Time of a `requests` grant. */
  readonly grantedUs: number;
  /** What is held of a budget. */
  readonly held: Held | null;
}

class TableHold implements Hold {
  settled = false;
  readonly ask: Ask;
  taken: readonly Taken[];

  constructor(ask: Ask, taken: readonly Taken[]) {
    this.ask = ask;
    this.taken = taken;
  }
}

const NOTHING_SHOWN: Settlement = Object.freeze({ warnings: Object.freeze([]), overruns: Object.freeze([]) });
const NONE: readonly never[] = Object.freeze([]);

/**
 * All counters. Pure: time comes in as integer microseconds since the epoch, from a clock that does not go back, and
 * state leaves through `exportState`. Single-threaded use makes every call atomic (guarantee G11).
 */
export class LimitTable {
  readonly #counters: LimitCounters;
  /** No decision is made as of an earlier time: counters that were dropped as idle then would be missing. */
  #floorUs = Number.NEGATIVE_INFINITY;

  constructor(options: { maxBuckets?: number; leaseMs?: number } = {}) {
    const rules = { calendars: new Calendars(), leaseUs: (options.leaseMs ?? LEASE_MS) * 1000 };
    this.#counters = new LimitCounters(options.maxBuckets ?? MAX_BUCKETS, rules);
  }

  /**
   * Takes what the call wants of every limit, or nothing of any. A key that is given twice is taken once. Limits in
   * `shadow` mode are reported in `shadowed` when they would have denied, count only what they would have let through,
   * and never deny. Of several limits that deny the one that takes longest is named: one that the call can never
   * pass first, then one that waits for a `release`.
   */
  tryReserve(requests: readonly LimitRequest[], nowUs: number, ask: Ask): Reservation {
    const clock = this.#clock(nowUs);
    const granted: LimitRequest[] = [];
    const shadowed: LimitDenial[] = [];
    let denied: LimitDenial | null = null;
    for (const request of distinct(requests)) {
      const denial = this.#denial(request, ask, clock, nowUs);
      if (denial === null) granted.push(request);
      else if (request.spec.mode === "shadow") shadowed.push(denial);
      else denied = later(denied, denial);
    }
    const shortage = this.#counters.shortage(requests, clock);
    if (shortage !== null) denied = later(denied, noRoom(shortage.request, shortage.endsUs, nowUs));
    if (denied !== null) return { ok: false, denied, shadowed };
    const uncounted = ask.usd === null ? granted.filter(({ spec }) => isUncounted(spec, ask)) : NONE;
    return { ok: true, hold: new TableHold(ask, this.#take(granted, ask, clock)), shadowed, uncounted };
  }

  /**
   * Why this limit by itself would deny now; null when it would not. Changes nothing.
   */
  denialOf(request: LimitRequest, nowUs: number, ask: Ask): LimitDenial | null {
    return this.#denial(request, ask, this.#clock(nowUs), nowUs);
  }

  /**
   * Moves a hold to another credential, after an attempt with the first one that used nothing: of the limits that
   * follow a credential or provider what is concurrent is free again, requests stay counted, budgets get back all
   * they held; in their place the hold takes what the call wants of `requests`. The other limits stay as they are.
   * @param requests all limits of the call, with the new credential's keys
   * @returns false, with nothing changed, when that has no room at once
   */
  exchange(hold: Hold, requests: readonly LimitRequest[], nowUs: number): boolean {
    if (!(hold instanceof TableHold) || hold.settled) return false;
    const clock = this.#clock(nowUs);
    const [left, kept] = [hold.taken.filter(follows), hold.taken.filter((taken) => !follows(taken))];
    const wanted = distinct(requests).filter(follows);
    const granted: LimitRequest[] = [];
    for (const request of wanted) {
      const own = left.find(({ key }) => key === request.key);
      if (this.#denial(request, hold.ask, clock, nowUs, own) === null) granted.push(request);
      else if (request.spec.mode === "enforce") return false;
    }
    if (this.#counters.shortage(wanted, clock) !== null) return false;
    for (const taken of left) this.#giveUp(taken, clock);
    hold.taken = [...kept, ...this.#take(granted, hold.ask, clock)];
    return true;
  }

  /**
   * Ends a reservation whose request was sent: what is concurrent is free again, requests stay counted, budgets count
   * what was really used.
   * @param used null when nobody knows; then what was reserved counts
   */
  release(hold: Hold, used: Used | null, nowUs: number): Settlement {
    if (!(hold instanceof TableHold) || hold.settled) return NOTHING_SHOWN;
    hold.settled = true;
    const clock = this.#clock(nowUs);
    const warnings: BudgetWarning[] = [];
    const overruns: BudgetOverrun[] = [];
    for (const { spec, key, bucket, held } of hold.taken) {
      if (held === null || !(bucket instanceof BudgetBucket)) {
        this.#free(key, bucket);
        continue;
      }
      const { over, warn, spec: current } = bucket.settle(held, usedOf(spec, used), clock);
      if (over > 0 && spec.budget?.strict) overruns.push({ spec, key, over });
      for (const percent of warn) warnings.push(warningOf({ spec: current, key }, percent, bucket, clock, nowUs));
    }
    return { warnings, overruns };
  }

  /** Ends a reservation whose request never left sidekey: it is as if it had not been made. */
  refund(hold: Hold, nowUs: number): void {
    if (!(hold instanceof TableHold) || hold.settled) return;
    hold.settled = true;
    const clock = this.#clock(nowUs);
    for (const taken of hold.taken) {
      if (taken.bucket instanceof RequestBucket) taken.bucket.giveBack(taken.grantedUs);
      else this.#giveUp(taken, clock);
    }
  }

  /**
   * What could be taken right now: calls, tokens, or nano-dollars.
   * @returns `resetUs`: microseconds until nothing would be missing; null for `concurrent`, where nobody can know
   */
  remaining(spec: LimitSpec, key: string, nowUs: number): { remaining: number; resetUs: number | null; limit: number } {
    const limit = spec.count;
    const bucket = this.#counters.find(spec, key);
    if (bucket === undefined) return { remaining: spec.burst, resetUs: 0, limit };
    if (isConcurrent(bucket)) return { remaining: Math.max(0, limit - bucket.held), resetUs: null, limit };
    const { remaining, fullAtUs } = bucket.remaining(spec, this.#clock(nowUs));
    return { remaining, resetUs: Math.max(0, fullAtUs - nowUs), limit };
  }

  /** All counters but the concurrent ones, for the next start. What is concurrent ends with the process that holds it. */
  exportState(): LimitStateRow[] {
    return this.#counters.exportState();
  }

  /** Continues from exported counters. Rows that cannot be read are left out. */
  importState(rows: readonly LimitStateRow[], nowUs: number): void {
    this.#floorUs = this.#clock(nowUs);
    this.#counters.importState(rows, this.#floorUs);
  }

  #clock(nowUs: number): number {
    if (!Number.isSafeInteger(nowUs)) throw new Error(`internal: ${nowUs} is not a time in whole microseconds`);
    return Math.max(nowUs, this.#floorUs);
  }

  /** @param own what the call holds of this limit already and is about to give up */
  #denial(request: LimitRequest, ask: Ask, clock: number, nowUs: number, own?: Taken): LimitDenial | null {
    const { spec, key } = request;
    const wanted = wantedOf(spec, ask);
    if (typeof wanted !== "number") return { spec, key, reason: wanted, retryAfterUs: null };
    const bucket = this.#counters.find(spec, key);
    if (bucket === undefined) return null;
    const ready = readyAt(bucket, spec, own === undefined ? wanted : wanted - heldOf(own), clock);
    return ready === clock ? null : noRoom(request, ready, nowUs);
  }

  #take(granted: readonly LimitRequest[], ask: Ask, clock: number): Taken[] {
    if (this.#counters.makeRoom(granted, clock)) this.#floorUs = clock;
    const taken: Taken[] = [];
    for (const { spec, key } of granted) {
      const bucket = this.#counters.findOrMake(spec, key);
      if (bucket === null) continue;
      let [grantedUs, held]: [number, Held | null] = [clock, null];
      if (bucket instanceof RequestBucket) grantedUs = bucket.grant(spec, clock);
      else if (bucket instanceof BudgetBucket) held = bucket.reserve(spec, Number(wantedOf(spec, ask)), clock);
      else bucket.held++;
      taken.push({ spec, key, bucket, grantedUs, held });
    }
    return taken;
  }

  /** Gives back all but the requests, which were sent. */
  #giveUp({ key, bucket, held }: Taken, clock: number): void {
    if (held !== null && bucket instanceof BudgetBucket) bucket.refund(held, clock);
    else this.#free(key, bucket);
  }

  #free(key: string, bucket: Bucket): void {
    if (!isConcurrent(bucket)) return;
    bucket.held--;
    if (bucket.held === 0) this.#counters.drop(key, bucket);
  }
}

function follows({ spec }: LimitRequest): boolean {
  return followsCredential(spec);
}

/** `clock` when there is room; null when only a release can make some. Changes nothing. */
function readyAt(bucket: Bucket, spec: LimitSpec, wanted: number, clock: number): number | null {
  if (bucket instanceof RequestBucket) return bucket.readyAt(spec, clock);
  if (bucket instanceof BudgetBucket) return bucket.readyAt(spec, wanted, clock);
  return bucket.held + wanted <= spec.count ? clock : null;
}

/** What a call gives back of a limit when it gives it up. */
function heldOf({ bucket, held }: Taken): number {
  if (held !== null) return held.lapsed ? 0 : held.amount;
  return isConcurrent(bucket) ? 1 : 0;
}

function noRoom({ spec, key }: LimitRequest, readyUs: number | null, nowUs: number): LimitDenial {
  return { spec, key, reason: "no_room", retryAfterUs: readyUs === null ? null : readyUs - nowUs };
}

function warningOf(
  request: LimitRequest,
  percent: number,
  bucket: BudgetBucket,
  clock: number,
  nowUs: number,
): BudgetWarning {
  const { used, fullAtUs } = bucket.remaining(request.spec, clock);
  const resetMs = Math.max(0, fullAtUs - nowUs) / 1000;
  return { ...request, percent, used, limit: request.spec.count, resetMs };
}

/** Each key once. */
function distinct(requests: readonly LimitRequest[]): readonly LimitRequest[] {
  if (requests.length < 2) return requests;
  return [...new Map(requests.map((request) => [request.key, request])).values()];
}

/** The denial that has to be waited for longer. */
function later(a: LimitDenial | null, b: LimitDenial): LimitDenial {
  if (a === null || (a.reason === "no_room" && b.reason !== "no_room")) return b;
  if (a.reason !== "no_room" || a.retryAfterUs === null) return a;
  return b.retryAfterUs === null || b.retryAfterUs > a.retryAfterUs ? b : a;
}
