import type { SetTimer } from "./clock.ts";

/** One request that waits for its turn. */
export interface Waiter {
  readonly client: string;
  /** Milliseconds since the epoch; at that time it is refused. */
  readonly deadlineMs: number;
  /** When its turn is, as far as can be told now: at most `nowMs` for at once, null when something has to happen first. */
  readyAt(nowMs: number): number | null;
  grant(): void;
  /** @param readyAtMs when its turn would have been; null when that is unknown */
  refuse(why: "late" | "full", readyAtMs: number | null): void;
}

export interface WaitLineOptions {
  readonly nowMs: () => number;
  readonly setTimer: SetTimer;
  readonly maxWaiting: number;
  /** How long the next one has to wait after a turn, in milliseconds. */
  readonly gapMs: (waiting: number) => number;
}

const nothing = (): void => {};

/**
 * Requests that wait for one thing: clients take turns, the requests of one client go in order of arrival. A client
 * that floods fills its own part of the line: when the line is full, the newest of whoever has most in it has to go.
 */
export class WaitLine {
  readonly #options: WaitLineOptions;
  /** By client; the first one is whose turn it is. */
  readonly #clients = new Map<string, Waiter[]>();
  readonly #deadlines = new Map<Waiter, () => void>();
  #notBeforeMs = 0;
  #cancelWake: () => void = nothing;

  constructor(options: WaitLineOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#deadlines.size;
  }

  join(waiter: Waiter): void {
    if (this.size >= this.#options.maxWaiting && !this.#makeRoom(waiter)) {
      waiter.refuse("full", waiter.readyAt(this.#options.nowMs()));
      return;
    }
    const own = this.#clients.get(waiter.client);
    if (own === undefined) this.#clients.set(waiter.client, [waiter]);
    else own.push(waiter);
    this.#watchDeadline(waiter);
    this.advance();
  }

  /** @returns false when it does not wait any more */
  leave(waiter: Waiter): boolean {
    if (!this.#remove(waiter)) return false;
    this.advance();
    return true;
  }

  /** Lets those go whose turn it is. To be called whenever something has happened. */
  advance(): void {
    for (let first = this.#first(); first !== undefined; first = this.#first()) {
      const nowMs = this.#options.nowMs();
      const readyAtMs = this.#readyAt(first, nowMs);
      if (readyAtMs !== null && readyAtMs > first.deadlineMs) {
        this.#remove(first);
        first.refuse("late", readyAtMs);
        continue;
      }
      if (readyAtMs === null || readyAtMs > nowMs) {
        this.#wakeAt(readyAtMs, nowMs);
        return;
      }
      this.#remove(first);
      this.#notBeforeMs = nowMs + this.#options.gapMs(this.size);
      this.#passTurn(first.client);
      first.grant();
    }
    this.#wakeAt(null, 0);
  }

  /** Sends those away whose turn cannot come in time any more. To be called when everybody has to wait longer. */
  sendAway(): void {
    const nowMs = this.#options.nowMs();
    for (const waiter of [...this.#deadlines.keys()]) {
      const readyAtMs = this.#readyAt(waiter, nowMs);
      if (readyAtMs === null || readyAtMs <= waiter.deadlineMs || !this.#remove(waiter)) continue;
      waiter.refuse("late", readyAtMs);
    }
    this.advance();
  }

  #readyAt(waiter: Waiter, nowMs: number): number | null {
    const at = waiter.readyAt(nowMs);
    return at === null ? null : Math.max(at, this.#notBeforeMs);
  }

  #first(): Waiter | undefined {
    for (const waiters of this.#clients.values()) return waiters[0];
    return undefined;
  }

  /** Whoever has had a turn goes behind the others. */
  #passTurn(client: string): void {
    const waiters = this.#clients.get(client);
    if (waiters === undefined) return;
    this.#clients.delete(client);
    this.#clients.set(client, waiters);
  }

  #remove(waiter: Waiter): boolean {
    const cancel = this.#deadlines.get(waiter);
    if (cancel === undefined) return false;
    cancel();
    this.#deadlines.delete(waiter);
    const waiters = this.#clients.get(waiter.client) ?? [];
    waiters.splice(waiters.indexOf(waiter), 1);
    if (waiters.length === 0) this.#clients.delete(waiter.client);
    return true;
  }

  /** @returns false when it is the newcomer who has to go */
  #makeRoom(newcomer: Waiter): boolean {
    let most: Waiter[] = [];
    for (const waiters of this.#clients.values()) if (waiters.length > most.length) most = waiters;
    const newest = most.at(-1);
    const own = this.#clients.get(newcomer.client)?.length ?? 0;
    if (newest === undefined || own + 1 >= most.length) return false;
    this.#remove(newest);
    newest.refuse("full", newest.readyAt(this.#options.nowMs()));
    return true;
  }

  #watchDeadline(waiter: Waiter): void {
    const leftMs = Math.max(0, Math.ceil(waiter.deadlineMs - this.#options.nowMs()));
    this.#deadlines.set(
      waiter,
      this.#options.setTimer(leftMs, () => this.#expire(waiter)),
    );
  }

  /** Time is up. It may be its turn at this very moment, so it is tried once more. */
  #expire(waiter: Waiter): void {
    this.advance();
    if (!this.#deadlines.has(waiter)) return;
    const nowMs = this.#options.nowMs();
    if (nowMs < waiter.deadlineMs) {
      this.#watchDeadline(waiter);
      return;
    }
    const readyAtMs = this.#readyAt(waiter, nowMs);
    this.#remove(waiter);
    waiter.refuse("late", readyAtMs);
    this.advance();
  }

  #wakeAt(atMs: number | null, nowMs: number): void {
    this.#cancelWake();
    this.#cancelWake =
      atMs === null
        ? nothing
        : this.#options.setTimer(Math.max(1, Math.ceil(atMs - nowMs)), () => {
            this.advance();
          });
  }
}
