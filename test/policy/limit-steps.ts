import fc from "fast-check";
import type { LimitSpec } from "../../src/policy/compile.ts";
import type { Hold, LimitRequest } from "../../src/policy/limit.ts";
import { LimitTable } from "../../src/policy/limit.ts";

export function requestsPer(count: number, periodMs: number, more: Partial<LimitSpec> = {}): LimitSpec {
  return {
    name: "plan",
    kind: "requests",
    per: ["credential"],
    count,
    periodMs,
    burst: count,
    waitMs: 0,
    mode: "enforce",
    budget: null,
    ...more,
  };
}

export function concurrent(count: number, more: Partial<LimitSpec> = {}): LimitSpec {
  return {
    name: "open",
    kind: "concurrent",
    per: ["client"],
    count,
    periodMs: 0,
    burst: count,
    waitMs: 0,
    mode: "enforce",
    budget: null,
    ...more,
  };
}

/** One thing that may happen to a table. `pick` chooses among what is there. */
export type Step =
  | { readonly do: "reserve"; readonly wanted: readonly number[] }
  | { readonly do: "release" | "refund"; readonly pick: number }
  | { readonly do: "advance"; readonly us: number }
  | { readonly do: "clock-back"; readonly us: number }
  | { readonly do: "restart" };

export const anySteps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant("reserve" as const),
        wanted: fc.subarray([0, 1, 2, 3], { minLength: 1 }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constantFrom("release" as const, "refund" as const), pick: fc.nat(50) }),
    },
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant("advance" as const), us: fc.oneof(fc.nat(3), fc.nat(400), fc.nat(3000)) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("clock-back" as const), us: fc.nat(2500) }) },
    { weight: 1, arbitrary: fc.constant({ do: "restart" as const }) },
  ),
  { maxLength: 80 },
);

/** A request that was let through, on the world's clock, which sidekey does not see. */
export interface Grant {
  readonly worldUs: number;
  readonly key: string;
}

interface Held {
  readonly hold: Hold;
  readonly wanted: readonly LimitRequest[];
  readonly grants: readonly Grant[];
}

/**
 * Plays steps against a table and keeps its own, naive books. The table's clock lags behind the world's by whatever it
 * has been set back; it never runs ahead, which is all that a limiter can ask of a clock.
 */
export class LimitPlay {
  table: LimitTable;
  worldUs = 1_000_000;
  lagUs = 0;
  /** Grants that were not given back. */
  grants: Grant[] = [];
  held: Held[] = [];
  readonly limits: readonly LimitRequest[];
  readonly #maxBuckets: number;

  constructor(limits: readonly LimitRequest[], maxBuckets = 100) {
    this.limits = limits;
    this.#maxBuckets = maxBuckets;
    this.table = new LimitTable({ maxBuckets });
  }

  get nowUs(): number {
    return this.worldUs - this.lagUs;
  }

  run(step: Step): void {
    if (step.do === "reserve") this.reserve(step.wanted.flatMap((index) => this.limits[index] ?? []));
    else if (step.do === "advance") this.worldUs += step.us;
    else if (step.do === "clock-back") this.lagUs += step.us;
    else if (step.do === "restart") this.restart();
    else this.settle(step.do, step.pick);
  }

  reserve(wanted: readonly LimitRequest[]): void {
    const result = this.table.tryReserve(wanted, this.nowUs);
    if (!result.ok) return;
    const passed = wanted.filter(({ key }) => !result.shadowed.some((denial) => denial.key === key));
    const grants = passed
      .filter(({ spec }) => spec.kind === "requests")
      .map(({ key }) => ({ worldUs: this.worldUs, key }));
    this.grants.push(...grants);
    this.held.push({ hold: result.hold, wanted: passed, grants });
  }

  settle(how: "release" | "refund", pick: number): void {
    const [held] = this.held.splice(pick % Math.max(1, this.held.length), 1);
    if (held === undefined) return;
    this.table[how](held.hold);
    if (how === "refund") this.grants = this.grants.filter((grant) => !held.grants.includes(grant));
  }

  /** What is concurrent dies with the process; holds of the old one must not disturb the new one. */
  restart(): void {
    const rows = JSON.parse(JSON.stringify(this.table.exportState()));
    const old = this.held.splice(0);
    this.table = new LimitTable({ maxBuckets: this.#maxBuckets });
    this.table.importState(rows, this.nowUs);
    for (const { hold } of old) this.table.refund(hold);
  }

  /** Brute force: the most grants of `key` in any half-open window of the length, over the world's clock. */
  mostInWindow(key: string, lengthUs: number): number {
    const times = this.grants.filter((grant) => grant.key === key).map(({ worldUs }) => worldUs);
    return Math.max(0, ...times.map((from) => times.filter((time) => time >= from && time < from + lengthUs).length));
  }

  heldOf(key: string): number {
    return this.held.filter(({ wanted }) => wanted.some((request) => request.key === key)).length;
  }
}
