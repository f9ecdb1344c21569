import type { LimitSpec } from "../../policy/compile.ts";
import type { Hold, LimitDenial, LimitRequest, LimitStateRow, LimitTable } from "../../policy/limit.ts";
import type { SetTimer } from "./clock.ts";
import { ProxyError } from "./errors.ts";
import { LimitDenied, type LimitReason } from "./limit-denied.ts";
import type { LimitState } from "./ratelimit-fields.ts";

/** Requests that may wait for one counter. */
const MAX_WAITING = 1000;
/** Counters per limit that the lowest-remaining gauge looks at. */
const MAX_WATCHED_KEYS = 1000;
/** What to say when only somebody else's release can make room. */
const UNKNOWN_RETRY_US = 1_000_000;

export interface LimiterOptions {
  readonly table: LimitTable;
  /** Whole microseconds; must not go back. */
  readonly nowUs: () => number;
  readonly setTimer: SetTimer;
  readonly maxWaiting?: number;
}

/** What one request holds of its limits. It must be settled once; settling again does nothing. */
export interface LimiterHold {
  /** The request was sent: it stays counted, what was concurrent is free again. */
  release(): void;
  /** The request never left sidekey: it is as if it had not been made. */
  refund(): void;
  /** The limit it queued for last, and for how long altogether; null when it did not queue. */
  readonly waited: { readonly limit: string; readonly ms: number } | null;
  /** Limits in shadow mode that would have refused it. */
  readonly shadowed: readonly LimitDenial[];
}

export interface Limiter {
  /**
   * Takes one grant of every limit or of none. At once when there is room and nobody waits for it; otherwise
   * in order of arrival, for at most the limit's `waitMs`.
   * @param gone aborts when the client goes away; asked for only when the request has to wait
   * @throws LimitDenied, and ProxyError `client_closed` when `gone` aborts; both also as rejections
   */
  reserve(wanted: readonly LimitRequest[], gone: () => AbortSignal): LimiterHold | Promise<LimiterHold>;
  /** Requests that wait now. */
  waiting(): number;
  /** The lowest remaining count over the counters that `spec` has used; null when it has used none. */
  lowestRemaining(spec: LimitSpec): number | null;
  /** All counters to save, when a grant was taken or given back since the last call; else null. */
  changedState(): LimitStateRow[] | null;
}

interface Waiter {
  /** Order of arrival. */
  readonly number: number;
  readonly arrivedUs: number;
  readonly wanted: readonly LimitRequest[];
  /** The one limit it waits for at the moment. */
  blocker: LimitRequest;
  cancelDeadline: () => void;
  grant(hold: LimiterHold): void;
  refuse(error: ProxyError): void;
}

/** Waiters for one counter, in order of arrival. */
interface Queue {
  readonly waiters: Waiter[];
  cancelWake: () => void;
}

const nothing = (): void => {};

class QueueingLimiter implements Limiter {
  readonly #options: Required<LimiterOptions>;
  readonly #queues = new Map<string, Queue>();
  readonly #watched = new WeakMap<LimitSpec, Set<string>>();
  #arrivals = 0;
  #waiting = 0;
  #changed = false;

  constructor(options: LimiterOptions) {
    this.#options = { maxWaiting: MAX_WAITING, ...options };
  }

  reserve(wanted: readonly LimitRequest[], gone: () => AbortSignal): LimiterHold | Promise<LimiterHold> {
    for (const request of wanted) this.#watch(request);
    const nowUs = this.#options.nowUs();
    const ahead = this.#queueAhead(wanted);
    if (ahead !== null) return this.#join(ahead, wanted, nowUs, null, gone());
    const tried = this.#options.table.tryReserve(wanted, nowUs);
    if (tried.ok) return this.#holdOf(tried.hold, wanted, tried.shadowed, null);
    const { denied } = tried;
    if (!this.#inTime(denied, nowUs, nowUs)) throw this.#denied(denied, wanted, "no_room", denied.retryAfterUs);
    return this.#join(denied, wanted, nowUs, denied.retryAfterUs, gone());
  }

  waiting(): number {
    return this.#waiting;
  }

  lowestRemaining(spec: LimitSpec): number | null {
    const keys = this.#watched.get(spec);
    if (keys === undefined) return null;
    const nowUs = this.#options.nowUs();
    let lowest = spec.count;
    for (const key of keys) lowest = Math.min(lowest, this.#options.table.remaining(spec, key, nowUs).remaining);
    return lowest;
  }

  changedState(): LimitStateRow[] | null {
    if (!this.#changed) return null;
    this.#changed = false;
    return this.#options.table.exportState();
  }

  #watch({ spec, key }: LimitRequest): void {
    let keys = this.#watched.get(spec);
    if (keys === undefined) {
      keys = new Set();
      this.#watched.set(spec, keys);
    }
    if (keys.size < MAX_WATCHED_KEYS) keys.add(key);
  }

  /** The limit whose queue a newcomer has to join; of several the one it may wait for longest. */
  #queueAhead(wanted: readonly LimitRequest[]): LimitRequest | null {
    if (this.#queues.size === 0) return null;
    let longest: LimitRequest | null = null;
    for (const request of wanted) {
      if (request.spec.mode === "shadow" || !this.#queues.has(request.key)) continue;
      if (longest === null || request.spec.waitMs > longest.spec.waitMs) longest = request;
    }
    return longest;
  }

  /** Whether waiting for `denied` can end in time for a request that arrived at `arrivedUs`. */
  #inTime({ spec, retryAfterUs }: LimitDenial, arrivedUs: number, nowUs: number): boolean {
    const left = deadlineUs(spec, arrivedUs) - nowUs;
    return left > 0 && (retryAfterUs === null || retryAfterUs <= left);
  }

  #join(
    blocker: LimitRequest,
    wanted: readonly LimitRequest[],
    nowUs: number,
    wakeAfterUs: number | null,
    signal: AbortSignal,
  ): Promise<LimiterHold> {
    if (signal.aborted) throw clientClosed();
    const ahead = this.#queues.get(blocker.key)?.waiters.length ?? 0;
    if (blocker.spec.waitMs === 0) throw this.#denied(blocker, wanted, "no_room", paceUs(blocker.spec, ahead));
    if (ahead >= this.#options.maxWaiting) {
      throw this.#denied(blocker, wanted, "queue_full", paceUs(blocker.spec, ahead));
    }
    return new Promise<LimiterHold>((resolve, reject) => {
      const settle = (): void => {
        waiter.cancelDeadline();
        signal.removeEventListener("abort", abandon);
        this.#waiting--;
      };
      const waiter: Waiter = {
        number: ++this.#arrivals,
        arrivedUs: nowUs,
        wanted,
        blocker,
        cancelDeadline: nothing,
        grant(hold) {
          settle();
          resolve(hold);
        },
        refuse(error) {
          settle();
          reject(error);
        },
      };
      const abandon = (): void => {
        this.#leave(waiter);
        waiter.refuse(clientClosed());
        this.#advance(waiter.blocker.key);
      };
      signal.addEventListener("abort", abandon, { once: true });
      this.#waiting++;
      this.#enqueue(waiter, blocker, nowUs, wakeAfterUs);
    });
  }

  /** Puts the waiter where its arrival places it in the blocker's queue, and sets both of its clocks. */
  #enqueue(waiter: Waiter, blocker: LimitRequest, nowUs: number, wakeAfterUs: number | null): void {
    waiter.blocker = blocker;
    waiter.cancelDeadline();
    const leftUs = deadlineUs(blocker.spec, waiter.arrivedUs) - nowUs;
    waiter.cancelDeadline = this.#options.setTimer(timerMs(leftUs), () => this.#expire(waiter));
    const queue = this.#queues.get(blocker.key) ?? { waiters: [], cancelWake: nothing };
    this.#queues.set(blocker.key, queue);
    let at = queue.waiters.length;
    while (at > 0 && (queue.waiters[at - 1]?.number ?? 0) > waiter.number) at--;
    queue.waiters.splice(at, 0, waiter);
    if (at === 0) this.#wakeAfter(queue, blocker.key, wakeAfterUs);
  }

  #wakeAfter(queue: Queue, key: string, afterUs: number | null): void {
    queue.cancelWake();
    queue.cancelWake = afterUs === null ? nothing : this.#options.setTimer(timerMs(afterUs), () => this.#advance(key));
  }

  #leave(waiter: Waiter): void {
    const { key } = waiter.blocker;
    const queue = this.#queues.get(key);
    const at = queue?.waiters.indexOf(waiter) ?? -1;
    if (queue === undefined || at === -1) return;
    queue.waiters.splice(at, 1);
    if (queue.waiters.length > 0) return;
    queue.cancelWake();
    this.#queues.delete(key);
  }

  /** Time is up. It may be its turn at this very moment, so it is tried once more. */
  #expire(waiter: Waiter): void {
    this.#advance(waiter.blocker.key);
    const queue = this.#queues.get(waiter.blocker.key);
    const at = queue?.waiters.indexOf(waiter) ?? -1;
    const nowUs = this.#options.nowUs();
    if (at === -1) return;
    const leftUs = deadlineUs(waiter.blocker.spec, waiter.arrivedUs) - nowUs;
    if (leftUs > 0) {
      // Timers may be early, or it moved on to a limit that lets it wait longer.
      waiter.cancelDeadline();
      waiter.cancelDeadline = this.#options.setTimer(timerMs(leftUs), () => this.#expire(waiter));
      return;
    }
    const { key } = waiter.blocker;
    this.#leave(waiter);
    waiter.refuse(this.#denied(waiter.blocker, waiter.wanted, "wait_expired", paceUs(waiter.blocker.spec, at)));
    this.#advance(key);
  }

  /** Lets waiters of one counter go on, first come first served, until one has to keep waiting for it. */
  #advance(key: string): void {
    const nowUs = this.#options.nowUs();
    for (let queue = this.#queues.get(key); queue !== undefined; queue = this.#queues.get(key)) {
      const first = queue.waiters[0];
      if (first === undefined || !this.#moveOn(first, queue, nowUs)) return;
    }
  }

  /** False when `waiter` stays first in this queue. */
  #moveOn(waiter: Waiter, queue: Queue, nowUs: number): boolean {
    const earlier = this.#earlierElsewhere(waiter);
    if (earlier !== null) {
      this.#leave(waiter);
      this.#enqueue(waiter, earlier, nowUs, null);
      return true;
    }
    const tried = this.#options.table.tryReserve(waiter.wanted, nowUs);
    if (tried.ok) {
      this.#leave(waiter);
      const waited = { limit: waiter.blocker.spec.name, ms: (nowUs - waiter.arrivedUs) / 1000 };
      waiter.grant(this.#holdOf(tried.hold, waiter.wanted, tried.shadowed, waited));
      return true;
    }
    const { denied } = tried;
    if (!this.#inTime(denied, waiter.arrivedUs, nowUs)) {
      this.#leave(waiter);
      waiter.refuse(this.#denied(denied, waiter.wanted, "wait_expired", denied.retryAfterUs));
      return true;
    }
    if (denied.key !== waiter.blocker.key) {
      this.#leave(waiter);
      this.#enqueue(waiter, denied, nowUs, denied.retryAfterUs);
      return true;
    }
    this.#wakeAfter(queue, denied.key, denied.retryAfterUs);
    return false;
  }

  /** Another limit of this waiter for which somebody waits who came before it. */
  #earlierElsewhere(waiter: Waiter): LimitRequest | null {
    for (const request of waiter.wanted) {
      if (request.key === waiter.blocker.key || request.spec.mode === "shadow") continue;
      const first = this.#queues.get(request.key)?.waiters[0];
      if (first !== undefined && first.number < waiter.number) return request;
    }
    return null;
  }

  #holdOf(
    hold: Hold,
    wanted: readonly LimitRequest[],
    shadowed: readonly LimitDenial[],
    waited: LimiterHold["waited"],
  ): LimiterHold {
    const { table } = this.#options;
    this.#changed = true;
    const refund = (): void => {
      if (hold.settled) return;
      table.refund(hold);
      this.#changed = true;
      this.#advanceAll(wanted);
    };
    const release = (): void => {
      if (hold.settled) return;
      table.release(hold);
      this.#advanceAll(wanted.filter(({ spec }) => spec.kind === "concurrent"));
    };
    return { release, refund, waited, shadowed };
  }

  #advanceAll(freed: readonly LimitRequest[]): void {
    if (this.#queues.size > 0) for (const { key } of freed) this.#advance(key);
  }

  #denied(
    denied: LimitRequest,
    wanted: readonly LimitRequest[],
    reason: LimitReason,
    retryAfterUs: number | null,
  ): LimitDenied {
    const nowUs = this.#options.nowUs();
    const stateOf = ({ spec, key }: LimitRequest): LimitState => {
      const { remaining, resetUs } = this.#options.table.remaining(spec, key, nowUs);
      return { spec, remaining, resetMs: resetUs === null ? null : resetUs / 1000 };
    };
    const afterMs = (retryAfterUs ?? UNKNOWN_RETRY_US) / 1000;
    return new LimitDenied(denied, reason, afterMs, stateOf(denied), wanted.map(stateOf));
  }
}

function deadlineUs(spec: LimitSpec, arrivedUs: number): number {
  return arrivedUs + spec.waitMs * 1000;
}

/** Rounded up: a timer that is early would only have to be set again. */
function timerMs(us: number): number {
  return Math.max(0, Math.ceil(us / 1000));
}

/** About when a request behind `ahead` others would get through; unknown for what only a release can free. */
function paceUs(spec: LimitSpec, ahead: number): number | null {
  return spec.kind === "concurrent" ? null : ((ahead + 1) * spec.periodMs * 1000) / spec.count;
}

function clientClosed(): ProxyError {
  return new ProxyError("client_closed", "the client went away while its request waited for a limit");
}

/** Queues requests in front of the pure limit table. One per daemon: all routes share its counters. */
export function createLimiter(options: LimiterOptions): Limiter {
  return new QueueingLimiter(options);
}
