import fc from "fast-check";
import type { Ask } from "../../src/policy/budget.ts";
import type { BudgetSpec, LimitSpec } from "../../src/policy/compile.ts";
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

/** A budget; `strict` and the rest as in a policy. */
export function tokensPer(count: number, periodMs: number, more: Partial<BudgetSpec> = {}): LimitSpec {
  const budget: BudgetSpec = { calendar: null, strict: false, unpriced: "allow", warn: [], ...more };
  return { ...requestsPer(count, periodMs), name: "tokens", kind: "tokens", budget };
}

/** The same in nano-dollars. */
export function usdPer(count: number, periodMs: number, more: Partial<BudgetSpec> = {}): LimitSpec {
  return { ...tokensPer(count, periodMs, { unpriced: "deny", ...more }), name: "spend", kind: "usd" };
}

/** A call that is expected to use so many tokens, and at most so many. */
export function tokens(expected: number, atMost: number | null = expected): Ask {
  return { tokens: { expected, atMost }, usd: null };
}

/** What a call of a play is expected to use, and what it then does use: at most `expected + more`. */
export interface Use {
  readonly expected: number;
  readonly more: number;
  readonly real: number;
}

/** One thing that may happen to a table. `pick` chooses among what is there. */
export type Step =
  | { readonly do: "reserve"; readonly wanted: readonly number[]; readonly use: Use }
  | { readonly do: "release" | "refund" | "forget"; readonly pick: number }
  | { readonly do: "advance"; readonly us: number }
  | { readonly do: "clock-back"; readonly us: number }
  | { readonly do: "restart" };

const anyUse: fc.Arbitrary<Use> = fc
  .record({ expected: fc.nat(4), more: fc.nat(3), share: fc.nat(100) })
  .map(({ expected, more, share }) => ({ expected, more, real: Math.round(((expected + more) * share) / 100) }));

export const anySteps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant("reserve" as const),
        wanted: fc.subarray([0, 1, 2, 3, 4, 5], { minLength: 1 }),
        use: anyUse,
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constantFrom("release" as const, "release" as const, "refund" as const, "forget" as const),
        pick: fc.nat(50),
      }),
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

/** A call that budgets let through, on the world's clock. */
export interface Call {
  readonly keys: ReadonlySet<string>;
  readonly use: Use;
  readonly fromUs: number;
  /** The last moment at which its provider can have booked it. */
  toUs: number | null;
  /** Nobody told what it used. */
  unknown: boolean;
}

interface Held {
  readonly hold: Hold;
  readonly wanted: readonly LimitRequest[];
  readonly grants: readonly Grant[];
  readonly call: Call;
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
  /** Calls that were not given back. */
  calls: Call[] = [];
  held: Held[] = [];
  readonly limits: readonly LimitRequest[];
  readonly #maxBuckets: number;

  constructor(limits: readonly LimitRequest[], maxBuckets = 100) {
    this.limits = limits;
    this.#maxBuckets = maxBuckets;
    this.table = this.#newTable();
  }

  get nowUs(): number {
    return this.worldUs - this.lagUs;
  }

  run(step: Step): void {
    if (step.do === "reserve")
      this.reserve(
        step.wanted.flatMap((index) => this.limits[index] ?? []),
        step.use,
      );
    else if (step.do === "advance") this.worldUs += step.us;
    else if (step.do === "clock-back") this.lagUs += step.us;
    else if (step.do === "restart") this.restart();
    else this.settle(step.do, step.pick);
  }

  reserve(wanted: readonly LimitRequest[], use: Use): void {
    const result = this.table.tryReserve(wanted, this.nowUs, tokens(use.expected, use.expected + use.more));
    if (!result.ok) return;
    const passed = wanted.filter(({ key }) => !result.shadowed.some((denial) => denial.key === key));
    const grants = passed
      .filter(({ spec }) => spec.kind === "requests")
      .map(({ key }) => ({ worldUs: this.worldUs, key }));
    const keys = new Set(passed.map(({ key }) => key));
    const call: Call = { keys, use, fromUs: this.worldUs, toUs: null, unknown: false };
    this.grants.push(...grants);
    this.calls.push(call);
    this.held.push({ hold: result.hold, wanted: passed, grants, call });
  }

  /** `forget`: the call ends, and nobody can tell what it used. */
  settle(how: "release" | "refund" | "forget", pick: number): void {
    const [held] = this.held.splice(pick % Math.max(1, this.held.length), 1);
    if (held === undefined) return;
    const { call, hold } = held;
    call.toUs = this.worldUs;
    call.unknown = how === "forget";
    const used = how === "forget" ? null : { tokens: call.use.real, nanoUsd: null };
    if (how !== "refund") this.table.release(hold, used, this.nowUs);
    else {
      this.table.refund(hold, this.nowUs);
      this.grants = this.grants.filter((grant) => !held.grants.includes(grant));
      this.calls = this.calls.filter((other) => other !== call);
    }
  }

  /** What is concurrent dies with the process; holds of the old one must not disturb the new one. */
  restart(): void {
    const rows = JSON.parse(JSON.stringify(this.table.exportState()));
    const old = this.held.splice(0);
    this.table = this.#newTable();
    this.table.importState(rows, this.nowUs);
    for (const { hold, call } of old) {
      call.toUs = this.worldUs;
      this.table.release(hold, { tokens: 1000, nanoUsd: null }, this.nowUs);
    }
  }

  /** Brute force: the most grants of `key` in any half-open window of the length, over the world's clock. */
  mostInWindow(key: string, lengthUs: number): number {
    const times = this.grants.filter((grant) => grant.key === key).map(({ worldUs }) => worldUs);
    return Math.max(0, ...times.map((from) => times.filter((time) => time >= from && time < from + lengthUs).length));
  }

  /**
   * Brute force: by how much the budget was exceeded in any window, if the provider books each call at the worst moment
   * between its beginning and its end, beyond what calls in flight used more than they were expected to.
   */
  mostOverBudget({ key, spec }: LimitRequest): number {
    const calls = this.calls.filter((call) => call.keys.has(key));
    const held = ({ use }: Call): number => (spec.budget?.strict ? use.expected + use.more : use.expected);
    const real = (call: Call): number => (call.unknown ? held(call) : call.use.real);
    const edges = calls.flatMap(({ fromUs, toUs }) => (toUs === null ? [fromUs] : [fromUs, toUs]));
    const over = edges.map((from) => {
      const inside = calls.filter(
        ({ fromUs, toUs }) => fromUs < from + spec.periodMs * 1000 && (toUs === null || toUs >= from),
      );
      const last = Math.max(...inside.map(({ fromUs }) => fromUs));
      const inFlight = inside.filter(({ toUs }) => toUs === null || toUs >= last);
      const error = inFlight.reduce((sum, call) => sum + Math.max(0, real(call) - held(call)), 0);
      return inside.reduce((sum, call) => sum + real(call), 0) - error - spec.count;
    });
    return Math.max(0, ...over);
  }

  heldOf(key: string): number {
    return this.held.filter(({ wanted }) => wanted.some((request) => request.key === key)).length;
  }

  #newTable(): LimitTable {
    return new LimitTable({ maxBuckets: this.#maxBuckets });
  }
}
