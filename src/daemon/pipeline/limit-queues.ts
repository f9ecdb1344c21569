import type { LimitSpec } from "../../policy/compile.ts";
import type { LimitDenial, LimitRequest, LimitTable, Reservation } from "../../policy/limit.ts";
import type { SetTimer } from "./clock.ts";
import { ProxyError } from "./errors.ts";
import { FairQueue } from "./fair-queue.ts";
import { type LimitReason, limitDenied } from "./limit-denied.ts";
import type { Caller, LimiterHold } from "./limiter.ts";

export interface LimitQueuesOptions {
  readonly table: LimitTable;
  /** Whole microseconds; must not go back. */
  readonly nowUs: () => number;
  readonly setTimer: SetTimer;
  /** Requests that may wait for one counter. */
  readonly maxWaiting: number;
  /** Makes what a waiter gets when its reservation is granted. */
  readonly holdOf: (
    wanted: readonly LimitRequest[],
    granted: Extract<Reservation, { ok: true }>,
    waited: LimiterHold["waited"],
  ) => LimiterHold;
}

/** A request at the door. */
export interface Arrival {
  /** Order of arrival. */
  readonly number: number;
  readonly arrivedUs: number;
  readonly client: string;
  readonly caller: Caller;
  readonly wanted: readonly LimitRequest[];
}

interface Waiter extends Arrival {
  /** The one limit it waits for at the moment. */
  blocker: LimitRequest;
  cancelDeadline: () => void;
  grant(hold: LimiterHold): void;
  refuse(error: ProxyError): void;
}

/** Waiters for one counter. */
interface Queue {
  readonly waiters: FairQueue<Waiter>;
  cancelWake: () => void;
}

const nothing = (): void => {};

/**
 * Requests that wait for limits. Each waits in the queue of one counter and holds nothing meanwhile, so no two can wait
 * for each other; when its turn there comes it takes all its limits or moves on to the queue of the one without room.
 */
export class LimitQueues {
  readonly #options: LimitQueuesOptions;
  readonly #queues = new Map<string, Queue>();
  /** Counters whose queue has to be looked at. */
  readonly #due = new Set<string>();
  #advancing = false;
  #arrivals = 0;
  #waiting = 0;

  constructor(options: LimitQueuesOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiting;
  }

  arrive(wanted: readonly LimitRequest[], caller: Caller, nowUs: number): Arrival {
    return { number: ++this.#arrivals, arrivedUs: nowUs, client: caller.client, caller, wanted };
  }

  /** The limit whose queue a newcomer has to join before anything; of several the one it may wait for longest. */
  ahead(arrival: Arrival): LimitRequest | null {
    let longest: LimitRequest | null = null;
    for (const request of arrival.wanted) {
      if (!this.#isAhead(request, arrival)) continue;
      if (longest === null || request.spec.waitMs > longest.spec.waitMs) longest = request;
    }
    return longest;
  }

  /** Whether anybody waits for one of these. */
  anyWaits(requests: readonly LimitRequest[]): boolean {
    return this.#queues.size > 0 && requests.some(({ key }) => this.#queues.has(key));
  }

  /** Notes that a request got past the queues of its limits. */
  tookTurn({ wanted, client }: Arrival): void {
    if (this.#queues.size === 0) return;
    for (const { spec, key } of wanted) {
      const queue = spec.mode === "shadow" ? undefined : this.#queues.get(key);
      if (queue === undefined) continue;
      const before = queue.waiters.first();
      queue.waiters.tookTurn(client);
      if (queue.waiters.first() !== before) this.#advance(key);
    }
  }

  /** Something of these may have room again. */
  freed(requests: readonly LimitRequest[]): void {
    if (this.#queues.size > 0) for (const { key } of requests) this.#advance(key);
  }

  /** @throws LimitDenied, and ProxyError `client_closed`; both also as rejections */
  join(arrival: Arrival, blocker: LimitRequest, wakeAfterUs: number | null): Promise<LimiterHold> {
    const signal = arrival.caller.gone();
    if (signal.aborted) throw clientClosed();
    if (blocker.spec.waitMs === 0) throw this.#denied(arrival, blocker, "no_room");
    if (this.#isFullFor(arrival, blocker.key)) throw this.#denied(arrival, blocker, "queue_full");
    return new Promise<LimiterHold>((resolve, reject) => {
      const settle = (): void => {
        waiter.cancelDeadline();
        signal.removeEventListener("abort", abandon);
        this.#waiting--;
      };
      const waiter: Waiter = {
        ...arrival,
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
      this.#enqueue(waiter, blocker, arrival.arrivedUs, wakeAfterUs);
    });
  }

  /** Nobody may fill more than half of the places that others leave, so that there is always one for a newcomer. */
  #isFullFor({ client }: Arrival, key: string): boolean {
    const waiters = this.#queues.get(key)?.waiters;
    return waiters !== undefined && waiters.sizeOf(client) >= this.#options.maxWaiting - waiters.size;
  }

  /** Whether somebody waits for this limit whose turn comes before that of `arrival`. */
  #isAhead({ spec, key }: LimitRequest, arrival: Arrival): boolean {
    const queue = spec.mode === "shadow" ? undefined : this.#queues.get(key);
    return queue !== undefined && !queue.waiters.isTurnOf(arrival);
  }

  /** Puts the waiter where its arrival places it in the blocker's queue, and sets both of its clocks. */
  #enqueue(waiter: Waiter, blocker: LimitRequest, nowUs: number, wakeAfterUs: number | null): void {
    waiter.blocker = blocker;
    waiter.cancelDeadline();
    const leftUs = deadlineUs(blocker.spec, waiter.arrivedUs) - nowUs;
    waiter.cancelDeadline = this.#options.setTimer(timerMs(leftUs), () => this.#expire(waiter));
    const queue = this.#queues.get(blocker.key) ?? { waiters: new FairQueue<Waiter>(), cancelWake: nothing };
    this.#queues.set(blocker.key, queue);
    queue.waiters.add(waiter);
    if (queue.waiters.first() === waiter) this.#wakeAfter(queue, blocker.key, wakeAfterUs);
  }

  #wakeAfter(queue: Queue, key: string, afterUs: number | null): void {
    queue.cancelWake();
    queue.cancelWake = afterUs === null ? nothing : this.#options.setTimer(timerMs(afterUs), () => this.#advance(key));
  }

  #leave(waiter: Waiter): void {
    const { key } = waiter.blocker;
    const queue = this.#queues.get(key);
    if (queue === undefined || !queue.waiters.remove(waiter) || queue.waiters.size > 0) return;
    queue.cancelWake();
    this.#queues.delete(key);
  }

  /** Time is up. It may be its turn at this very moment, so it is tried once more. */
  #expire(waiter: Waiter): void {
    this.#advance(waiter.blocker.key);
    if (!this.#queues.get(waiter.blocker.key)?.waiters.has(waiter)) return;
    const leftUs = deadlineUs(waiter.blocker.spec, waiter.arrivedUs) - this.#options.nowUs();
    if (leftUs > 0) {
      // Timers may be early, or it moved on to a limit that lets it wait longer.
      waiter.cancelDeadline();
      waiter.cancelDeadline = this.#options.setTimer(timerMs(leftUs), () => this.#expire(waiter));
      return;
    }
    this.#leave(waiter);
    waiter.refuse(this.#denied(waiter, waiter.blocker, "wait_expired"));
    this.#advance(waiter.blocker.key);
  }

  /** Lets waiters of one counter go on, turn by turn, until one has to keep waiting for it. */
  #advance(key: string): void {
    this.#due.add(key);
    // What this changes in other queues is done by the same loop and not in a recursion as deep as they are long.
    if (this.#advancing) return;
    this.#advancing = true;
    try {
      for (const next of this.#due) {
        this.#due.delete(next);
        this.#serve(next, this.#options.nowUs());
      }
    } finally {
      this.#advancing = false;
    }
  }

  #serve(key: string, nowUs: number): void {
    for (let queue = this.#queues.get(key); queue !== undefined; queue = this.#queues.get(key)) {
      const first = queue.waiters.first();
      if (first === undefined || !this.#moveOn(first, queue, nowUs)) return;
    }
  }

  /** False when `waiter` stays first in this queue. */
  #moveOn(waiter: Waiter, queue: Queue, nowUs: number): boolean {
    const { wanted, caller, arrivedUs } = waiter;
    const elsewhere = wanted.find((request) => request.key !== waiter.blocker.key && this.#isAhead(request, waiter));
    if (elsewhere !== undefined) {
      this.#leave(waiter);
      this.#enqueue(waiter, elsewhere, nowUs, null);
      return true;
    }
    const tried = this.#options.table.tryReserve(wanted, nowUs, caller.ask);
    if (tried.ok) {
      this.#leave(waiter);
      const waited = { limit: waiter.blocker.spec.name, ms: (nowUs - arrivedUs) / 1000 };
      waiter.grant(this.#options.holdOf(wanted, tried, waited));
      this.tookTurn(waiter);
      return true;
    }
    const { denied } = tried;
    if (!inTime(denied, arrivedUs, nowUs)) {
      this.#leave(waiter);
      waiter.refuse(
        limitDenied(this.#options.table, nowUs, { denied, wanted, ask: caller.ask, reason: "wait_expired" }),
      );
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

  /** A refusal by a limit that others wait for already. */
  #denied({ wanted, caller }: Arrival, { spec, key }: LimitRequest, reason: LimitReason): ProxyError {
    const { table } = this.#options;
    const nowUs = this.#options.nowUs();
    const retryAfterUs =
      spec.budget === null
        ? paceUs(spec, this.#queues.get(key)?.waiters.size ?? 0)
        : (table.denialOf({ spec, key }, nowUs, caller.ask)?.retryAfterUs ?? null);
    return limitDenied(table, nowUs, { denied: { spec, key, retryAfterUs }, wanted, ask: caller.ask, reason });
  }
}

/** Whether waiting for `denied` can end in time for a request that arrived at `arrivedUs`. */
export function inTime({ spec, reason, retryAfterUs }: LimitDenial, arrivedUs: number, nowUs: number): boolean {
  const left = deadlineUs(spec, arrivedUs) - nowUs;
  return reason === "no_room" && left > 0 && (retryAfterUs === null || retryAfterUs <= left);
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
