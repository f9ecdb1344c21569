import type { AlertBook } from "../alerts.ts";

const ONE = "pool_down_to_one";
const EMPTY = "pool_empty";

/** A pool that is better or worse for less than this is not told: a rate limit takes keys out for seconds. */
const HOLD_MS = 15_000;
/** Pools that are watched; there are as many as routes. */
const MAX_POOLS = 1_000;

/** The credentials of one route. */
export interface Pool {
  readonly route: string;
  /** How many it has, at least two. */
  readonly members: number;
  /** How many of them could be used now. */
  readonly usable: number;
}

type Level = "well" | "one" | "none";

interface Watched {
  /** What was seen last, and since when. */
  level: Level;
  since: number;
  /** What has been told. */
  told: Level;
}

/** Tells when a route that has several credentials is left with one, or none, that can be used. */
export class Pools {
  readonly #alerts: Pick<AlertBook, "raise" | "clear">;
  /** By route. */
  readonly #watched = new Map<string, Watched>();

  constructor(alerts: Pick<AlertBook, "raise" | "clear" | "open">, nowMs: number) {
    this.#alerts = alerts;
    for (const { kind, object } of alerts.open()) {
      const told: Level | null = kind === EMPTY ? "none" : kind === ONE ? "one" : null;
      if (told !== null) this.#watched.set(object.slice("route:".length), { level: told, since: nowMs, told });
    }
  }

  get size(): number {
    return this.#watched.size;
  }

  /** @param pools all there are now; what was a pool and is none any more has nothing to tell */
  look(pools: readonly Pool[], nowMs: number): void {
    const there = new Set<string>();
    for (const pool of pools.slice(0, MAX_POOLS)) {
      there.add(pool.route);
      this.#lookAt(pool, nowMs);
    }
    for (const [route, watched] of this.#watched) {
      if (there.has(route)) continue;
      this.#watched.delete(route);
      this.#clear(route, watched.told);
    }
  }

  #lookAt(pool: Pool, nowMs: number): void {
    const { route, usable } = pool;
    const level = usable === 0 ? "none" : usable === 1 ? "one" : "well";
    const watched = this.#watched.get(route) ?? { level, since: nowMs, told: "well" };
    this.#watched.set(route, watched);
    if (level !== watched.level) {
      watched.level = level;
      watched.since = nowMs;
    }
    if (level === watched.told || nowMs - watched.since < HOLD_MS) return;
    this.#clear(route, watched.told);
    watched.told = level;
    if (level !== "well") this.#raise(pool, level);
  }

  #raise({ route, members }: Pool, level: "one" | "none"): void {
    const next = "see `sidekey credential list` and repair or replace the others";
    if (level === "one") {
      this.#alerts.raise(
        ONE,
        `route:${route}`,
        "warning",
        `route ${route} is left with 1 of ${members} credentials; ${next}`,
      );
      return;
    }
    const message = `none of the ${members} credentials of route ${route} can be used, its requests are refused; ${next}`;
    this.#alerts.raise(EMPTY, `route:${route}`, "critical", message);
  }

  #clear(route: string, told: Level): void {
    if (told !== "well") this.#alerts.clear(told === "one" ? ONE : EMPTY, `route:${route}`);
  }
}
