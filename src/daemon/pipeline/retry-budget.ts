import type { Route } from "../../policy/compile.ts";

/** Retries per first try, at most. */
const SHARE = 0.2;
/** Retries per second that are always allowed: with little traffic a share is nothing. */
const ALWAYS_PER_S = 1;
/** Both are counted over this time. */
const WINDOW_S = 10;

/**
 * Bounds the retries of a route over all its clients, so that an outage is never met with a multiple of the traffic:
 * in 10 s no more than a fifth of the first tries, and 10. Counts of a policy snapshot's route end with it.
 */
export class RetryBudget {
  readonly #now: () => number;
  readonly #counts = new WeakMap<Route, Seconds>();

  /** @param now milliseconds, never set back */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** A request of this route goes out for the first time. */
  first(route: Route): void {
    this.#of(route).first += 1;
  }

  /** Takes one retry; false when there is none left. */
  take(route: Route): boolean {
    const slot = this.#of(route);
    const seconds = this.#counts.get(route);
    if (seconds === undefined || seconds.retries() + 1 > SHARE * seconds.firsts() + ALWAYS_PER_S * WINDOW_S)
      return false;
    slot.retries += 1;
    return true;
  }

  #of(route: Route): Second {
    let seconds = this.#counts.get(route);
    if (seconds === undefined) {
      seconds = new Seconds();
      this.#counts.set(route, seconds);
    }
    return seconds.at(Math.floor(this.#now() / 1000));
  }
}

interface Second {
  first: number;
  retries: number;
}

/** Counts by the second, the newest last. */
class Seconds {
  #newest = Number.NEGATIVE_INFINITY;
  readonly #slots: Second[] = Array.from({ length: WINDOW_S + 1 }, () => ({ first: 0, retries: 0 }));

  /** The slot of this second; what lies out of the window is forgotten. */
  at(second: number): Second {
    // A clock that was set back goes on counting where it was.
    const passed = Math.min(this.#slots.length, Math.max(0, second - this.#newest));
    for (let n = 0; n < passed; n++) {
      this.#slots.shift();
      this.#slots.push({ first: 0, retries: 0 });
    }
    this.#newest = Math.max(this.#newest, second);
    return this.#slots[WINDOW_S] ?? { first: 0, retries: 0 };
  }

  /** Of the last 9 to 10 s, so that a share is never taken of more than that. */
  firsts(): number {
    return this.#slots.slice(1).reduce((sum, { first }) => sum + first, 0);
  }

  /** Of the last 10 to 11 s. */
  retries(): number {
    return this.#slots.reduce((sum, { retries }) => sum + retries, 0);
  }
}
