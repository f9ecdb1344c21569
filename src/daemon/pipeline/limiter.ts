import type { Ask, Used } from "../../policy/budget.ts";
import type { LimitSpec } from "../../policy/compile.ts";
import {
  type BudgetOverrun,
  type BudgetWarning,
  followsCredential,
  type Hold,
  type LimitDenial,
  type LimitRequest,
  type LimitStateRow,
  type LimitTable,
  type Reservation,
} from "../../policy/limit.ts";
import type { SetTimer } from "./clock.ts";
import { type LimitDenied, limitDenied } from "./limit-denied.ts";
import { inTime, LimitQueues } from "./limit-queues.ts";
import { type LimitState, limitState } from "./ratelimit-fields.ts";

/** Requests that may wait for one counter. */
const MAX_WAITING = 1000;
/** Counters per limit that the lowest-remaining gauge looks at. */
const MAX_WATCHED_KEYS = 1000;

export interface LimiterOptions {
  readonly table: LimitTable;
  /** Whole microseconds since the epoch; must not go back. */
  readonly nowUs: () => number;
  readonly setTimer: SetTimer;
  readonly maxWaiting?: number;
  /** A budget's use has passed a level: once per level and window, over restarts too. Must not throw. */
  readonly onWarning?: (warning: BudgetWarning) => void;
  /** A provider reports more than the upper bound that a strict budget had reserved. Must not throw. */
  readonly onOverrun?: (overrun: BudgetOverrun) => void;
}

/** Who wants to pass limits, and with how much. */
export interface Caller {
  /** The client's name: clients that wait for the same counter take turns. */
  readonly client: string;
  readonly ask: Ask;
  /** Aborts when the client goes away; asked for only when the request has to wait. */
  readonly gone: () => AbortSignal;
}

/** What one request holds of its limits. It must be settled once; settling again does nothing. */
export interface LimiterHold {
  /**
   * The request was sent: it stays counted, what was concurrent is free again, budgets count what it has used.
   * @param used null when nobody knows; then what was reserved counts
   */
  release(used: Used | null): void;
  /** The request never left sidekey: it is as if it had not been made. */
  refund(): void;
  /**
   * Moves on to another credential after an attempt that used nothing (see `LimitTable.exchange`).
   * @param wanted all limits of the request, with the new credential's keys
   * @returns false, with nothing changed, when there is no room at once or others wait for it
   */
  exchange(wanted: readonly LimitRequest[]): boolean;
  /** The limit it queued for last, and for how long altogether; null when it did not queue. */
  readonly waited: { readonly limit: string; readonly ms: number } | null;
  /** Limits in shadow mode that would have refused it. */
  readonly shadowed: readonly LimitDenial[];
  /** Budgets that it passes uncounted, because it has no price and they allow that. */
  readonly uncounted: readonly LimitRequest[];
}

export interface Limiter {
  /**
   * Takes what the call wants of every limit or nothing of any. At once when there is room and nobody waits for it whose turn
   * comes first; otherwise when its turn comes, for at most the limit's `waitMs`. Clients take turns, the requests of
   * one client go in order of arrival.
   * @throws LimitDenied, and ProxyError `client_closed` when `gone` aborts; both also as rejections
   */
  reserve(wanted: readonly LimitRequest[], caller: Caller): LimiterHold | Promise<LimiterHold>;
  /** Where the limits of a request stand now, for the fields of its answer. */
  states(wanted: readonly LimitRequest[]): LimitState[];
  /** Requests that wait now. */
  waiting(): number;
  /** The lowest remaining count over the counters that `spec` has used; null when it has used none. */
  lowestRemaining(spec: LimitSpec): number | null;
  /** All counters to save, when one has changed since the last call; else null. */
  changedState(): LimitStateRow[] | null;
}

type Granted = Extract<Reservation, { ok: true }>;

class QueueingLimiter implements Limiter {
  readonly #table: LimitTable;
  readonly #options: LimiterOptions;
  readonly #queues: LimitQueues;
  readonly #watched = new WeakMap<LimitSpec, Set<string>>();
  #changed = false;

  constructor(options: LimiterOptions) {
    this.#options = options;
    this.#table = options.table;
    this.#queues = new LimitQueues({
      table: options.table,
      nowUs: options.nowUs,
      setTimer: options.setTimer,
      maxWaiting: options.maxWaiting ?? MAX_WAITING,
      holdOf: (wanted, granted, waited) => this.#holdOf(wanted, granted, waited),
    });
  }

  reserve(wanted: readonly LimitRequest[], caller: Caller): LimiterHold | Promise<LimiterHold> {
    for (const request of wanted) this.#watch(request);
    const nowUs = this.#options.nowUs();
    const arrival = this.#queues.arrive(wanted, caller, nowUs);
    if (this.#queues.waiting > 0) {
      const misfit = this.#misfit(wanted, caller.ask, nowUs);
      if (misfit !== null) throw this.#denied(misfit, wanted, caller.ask);
      const ahead = this.#queues.ahead(arrival);
      if (ahead !== null) return this.#queues.join(arrival, ahead, null);
    }
    const tried = this.#table.tryReserve(wanted, nowUs, caller.ask);
    if (tried.ok) {
      this.#queues.tookTurn(arrival);
      return this.#holdOf(wanted, tried, null);
    }
    const { denied } = tried;
    if (!inTime(denied, nowUs, nowUs)) throw this.#denied(denied, wanted, caller.ask);
    return this.#queues.join(arrival, denied, denied.retryAfterUs);
  }

  states(wanted: readonly LimitRequest[]): LimitState[] {
    const nowUs = this.#options.nowUs();
    return wanted.map((request) => limitState(this.#table, request, nowUs));
  }

  waiting(): number {
    return this.#queues.waiting;
  }

  lowestRemaining(spec: LimitSpec): number | null {
    const keys = this.#watched.get(spec);
    if (keys === undefined) return null;
    const nowUs = this.#options.nowUs();
    let lowest = spec.count;
    for (const key of keys) lowest = Math.min(lowest, this.#table.remaining(spec, key, nowUs).remaining);
    return lowest;
  }

  changedState(): LimitStateRow[] | null {
    if (!this.#changed) return null;
    this.#changed = false;
    return this.#table.exportState();
  }

  #watch({ spec, key }: LimitRequest): void {
    let keys = this.#watched.get(spec);
    if (keys === undefined) {
      keys = new Set();
      this.#watched.set(spec, keys);
    }
    if (keys.size < MAX_WATCHED_KEYS) keys.add(key);
  }

  /** A limit that the call can never pass, so that it must not queue for another one first. */
  #misfit(wanted: readonly LimitRequest[], ask: Ask, nowUs: number): LimitDenial | null {
    for (const request of wanted) {
      if (request.spec.budget === null || request.spec.mode === "shadow") continue;
      const denial = this.#table.denialOf(request, nowUs, ask);
      if (denial !== null && denial.reason !== "no_room") return denial;
    }
    return null;
  }

  #denied(denied: LimitDenial, wanted: readonly LimitRequest[], ask: Ask): LimitDenied {
    return limitDenied(this.#table, this.#options.nowUs(), { denied, wanted, ask, reason: denied.reason });
  }

  #holdOf(
    wanted: readonly LimitRequest[],
    { hold, shadowed, uncounted }: Granted,
    waited: LimiterHold["waited"],
  ): LimiterHold {
    this.#changed = true;
    let taken = wanted;
    return {
      waited,
      shadowed,
      uncounted,
      release: (used) => {
        if (hold.settled) return;
        this.#release(hold, used);
        if (taken.some(({ spec }) => spec.budget !== null)) this.#changed = true;
        this.#queues.freed(taken.filter(({ spec }) => spec.kind !== "requests"));
      },
      refund: () => {
        if (hold.settled) return;
        this.#table.refund(hold, this.#options.nowUs());
        this.#changed = true;
        this.#queues.freed(taken);
      },
      exchange: (next) => {
        if (!this.#exchange(hold, taken, next)) return false;
        taken = next;
        return true;
      },
    };
  }

  #release(hold: Hold, used: Used | null): void {
    const { warnings, overruns } = this.#table.release(hold, used, this.#options.nowUs());
    for (const warning of warnings) this.#options.onWarning?.(warning);
    for (const overrun of overruns) this.#options.onOverrun?.(overrun);
  }

  #exchange(hold: Hold, taken: readonly LimitRequest[], next: readonly LimitRequest[]): boolean {
    const held = new Set(taken.map(({ key }) => key));
    const added = next.filter(
      ({ spec, key }) => followsCredential(spec) && (spec.kind === "requests" || !held.has(key)),
    );
    if (this.#queues.anyWaits(added)) return false;
    if (!this.#table.exchange(hold, next, this.#options.nowUs())) return false;
    this.#changed = true;
    this.#queues.freed(taken.filter(({ spec }) => followsCredential(spec) && spec.kind !== "requests"));
    return true;
  }
}

/** Queues requests in front of the pure limit table. One per daemon: all routes share its counters. */
export function createLimiter(options: LimiterOptions): Limiter {
  return new QueueingLimiter(options);
}
