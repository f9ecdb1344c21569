import { CoolDown, type CoolDownSpan, type Standing } from "./cool-down.ts";

/**
 * Circuit breakers: what fails again and again is left alone for a while, so that requests to it fail at once and it
 * can recover. One per upstream authority and credential version. A failure is a connection that could not be made or
 * broke before an answer, or an answer that says that the provider is in trouble (5xx); never one about the request or
 * the key.
 *
 * A client can make a provider fail on purpose, with a request that it cannot digest. So while several clients are
 * served one alone opens no breaker; and one that was opened on one client's word is tried at once for another client.
 */

/** Results that are looked at: the last so many, and none older. */
const WINDOW_RESULTS = 20;
const WINDOW_MS = 10_000;
/** It opens with so many failures among them, when they are also half of them. */
const FEWEST_FAILURES = 5;
const COOL_DOWN: CoolDownSpan = { firstMs: 1_000, longestMs: 60_000 };

const MAX_BREAKERS = 10_000;

interface Result {
  readonly atMs: number;
  readonly client: string;
  readonly failed: boolean;
}

interface Served {
  readonly client: string;
  readonly atMs: number;
}

/** One request that goes out. Only the first call counts; `abandoned` tells nothing about the provider. */
export interface BreakerPass {
  readonly succeeded: (nowMs: number) => void;
  readonly failed: (nowMs: number) => void;
  readonly abandoned: () => void;
}

/** A breaker that lets nothing through but trials. */
export interface OpenBreaker {
  readonly key: string;
  /** Trials may begin from then on, ms since the epoch. */
  readonly untilMs: number;
  /** A trial is under way, or may begin. */
  readonly halfOpen: boolean;
}

class Breaker {
  readonly #random: () => number;
  #results: Result[] = [];
  /** The newest success of each of two clients, the newest first: a flood of failures must not push them out. */
  #served: readonly Served[] = [];
  /** Null while it is closed. */
  #open: CoolDown | null = null;
  /** The one client on whose word it opened; null when there were more. */
  #accuser: string | null = null;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** @returns null while it is closed */
  standing(client: string, nowMs: number): Standing | null {
    if (this.#open === null) return null;
    const secondOpinion = this.#accuser !== null && this.#accuser !== client;
    return secondOpinion && !this.#open.trying ? "trial" : this.#open.standing(nowMs);
  }

  begin(client: string, nowMs: number): BreakerPass {
    const trial = this.standing(client, nowMs) === "trial" && this.#open?.try() ? this.#open : null;
    let over = false;
    const once = (act: () => void): void => {
      if (over) return;
      over = true;
      act();
    };
    return {
      succeeded: (atMs) => once(() => this.#succeeded(client, trial, atMs)),
      failed: (atMs) => once(() => this.#failed(client, trial, atMs)),
      abandoned: () => once(() => trial?.giveBack()),
    };
  }

  opened(nowMs: number): Omit<OpenBreaker, "key"> | null {
    if (this.#open === null) return null;
    const { untilMs } = this.#open;
    return { untilMs, halfOpen: untilMs <= nowMs || this.#open.trying };
  }

  #succeeded(client: string, trial: CoolDown | null, nowMs: number): void {
    if (this.#open !== null && trial !== this.#open) return;
    this.#open = null;
    this.#accuser = null;
    const [newest, before] = this.#served;
    const other = newest?.client === client ? before : newest;
    this.#served = other === undefined ? [{ client, atMs: nowMs }] : [{ client, atMs: nowMs }, other];
    this.#note({ atMs: nowMs, client, failed: false });
  }

  #failed(client: string, trial: CoolDown | null, nowMs: number): void {
    if (this.#open !== null) {
      // What was sent before it opened is old news.
      if (trial !== this.#open) return;
      if (client !== this.#accuser) this.#accuser = null;
      trial.fail(nowMs, null);
      return;
    }
    this.#note({ atMs: nowMs, client, failed: true });
    const failures = this.#results.filter(({ failed }) => failed);
    if (failures.length < FEWEST_FAILURES || failures.length * 2 < this.#results.length) return;
    const accuser = onlyClient(failures);
    if (accuser !== null && this.#servesOthers(accuser, nowMs)) return;
    this.#accuser = accuser;
    this.#open = new CoolDown(COOL_DOWN, nowMs, null, this.#random);
    this.#results = [];
  }

  #servesOthers(client: string, nowMs: number): boolean {
    return this.#served.some((one) => one.client !== client && one.atMs > nowMs - WINDOW_MS);
  }

  #note(result: Result): void {
    this.#results.push(result);
    const oldest = result.atMs - WINDOW_MS;
    while (this.#results.length > WINDOW_RESULTS || (this.#results[0]?.atMs ?? oldest) < oldest) this.#results.shift();
  }
}

function onlyClient(results: readonly Result[]): string | null {
  const first = results[0]?.client ?? null;
  return results.every(({ client }) => client === first) ? first : null;
}

/** All breakers, by a key of the caller's. */
export class Breakers {
  readonly #random: () => number;
  readonly #limit: number;
  readonly #all = new Map<string, Breaker>();

  /** @param random 0 to below 1 */
  constructor(random: () => number, limit: number = MAX_BREAKERS) {
    this.#random = random;
    this.#limit = limit;
  }

  /** @returns null while it is closed */
  standing(key: string, client: string, nowMs: number): Standing | null {
    return this.#all.get(key)?.standing(client, nowMs) ?? null;
  }

  /** For a request that goes out now, whatever the standing is; it is the trial when the standing allowed one. */
  begin(key: string, client: string, nowMs: number): BreakerPass {
    let breaker = this.#all.get(key);
    if (breaker === undefined) {
      if (this.#all.size >= this.#limit) this.#forgetOne();
      breaker = new Breaker(this.#random);
      this.#all.set(key, breaker);
    }
    return breaker.begin(client, nowMs);
  }

  /** Those that are not closed. */
  open(nowMs: number): OpenBreaker[] {
    const open: OpenBreaker[] = [];
    for (const [key, breaker] of this.#all) {
      const opened = breaker.opened(nowMs);
      if (opened) open.push({ key, ...opened });
    }
    return open;
  }

  get size(): number {
    return this.#all.size;
  }

  /** The one that was made first: what is still in use comes back with its next request. */
  #forgetOne(): void {
    for (const key of this.#all.keys()) {
      this.#all.delete(key);
      return;
    }
  }
}
