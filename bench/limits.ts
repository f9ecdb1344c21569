import { nodeTimer, steadyClockUs } from "../src/daemon/pipeline/clock.ts";
import { createLimiter } from "../src/daemon/pipeline/limiter.ts";
import { parseUsdAmount } from "../src/policy/amount.ts";
import type { Ask } from "../src/policy/budget.ts";
import type { BudgetSpec, LimitSpec } from "../src/policy/compile.ts";
import { bucketKey, LimitTable } from "../src/policy/limit.ts";

const BUDGET: BudgetSpec = { calendar: null, strict: false, unpriced: "deny", warn: [50, 80, 95] };
const BERLIN: BudgetSpec = { ...BUDGET, calendar: { unit: "day", zone: "Europe/Berlin" } };
const ASK: Ask = { tokens: { expected: 1200, atMost: 5000 }, usd: { expected: 3_000_000, atMost: 9_000_000 } };
const USED = { tokens: 900, nanoUsd: 2_100_000 };

function limit(kind: LimitSpec["kind"], count: number, periodMs: number, budget: BudgetSpec | null = null): LimitSpec {
  return { name: kind, kind, per: ["client"], count, periodMs, burst: count, waitMs: 0, mode: "enforce", budget };
}

const REQUESTS = limit("requests", 100_000, 1000);
const OPEN = limit("concurrent", 1000, 0);
const TOKENS = limit("tokens", 1e12, 60_000, BUDGET);
const SPEND = limit("usd", parseUsdAmount("1000000/day").amount, 86_400_000, BERLIN);

/** The sets of limits that are compared: what they are called, and the limits. */
export const LIMIT_SETS: readonly (readonly [name: string, specs: readonly LimitSpec[]])[] = [
  ["no limits", []],
  ["1: requests", [REQUESTS]],
  ["1: tokens, sliding", [TOKENS]],
  ["1: dollars, calendar", [SPEND]],
  ["4: requests, concurrent, tokens, dollars", [REQUESTS, OPEN, TOKENS, SPEND]],
];

/**
 * What limits cost a request: nanoseconds of the core to reserve all of `specs` and to settle them with what was used,
 * with 50 calls in flight and 100 clients with counters of their own. The limits are so wide that nothing is refused.
 */
export function limitCost(specs: readonly LimitSpec[], calls: number): number {
  const limiter = createLimiter({ table: new LimitTable(), nowUs: steadyClockUs, setTimer: nodeTimer });
  const gone = () => new AbortController().signal;
  const clients = Array.from({ length: 100 }, (_, n) => {
    const ids = { client: `client-${n}`, credential: "main", provider: "p", route: "r", user: null };
    const wanted = specs.map((spec) => ({ spec, key: bucketKey(spec, ids) }));
    return { wanted, caller: { client: ids.client, ask: ASK, gone } };
  });
  const inFlight: (() => void)[] = [];
  const run = (count: number): number => {
    const before = process.cpuUsage();
    for (let n = 0; n < count; n++) {
      const client = clients[n % clients.length];
      if (client === undefined) continue;
      const hold = limiter.reserve(client.wanted, client.caller);
      if (hold instanceof Promise) throw new Error("the limits of this benchmark are too small");
      inFlight[n % 50]?.();
      inFlight[n % 50] = () => hold.release(USED);
    }
    const { user, system } = process.cpuUsage(before);
    return ((user + system) / count) * 1000;
  };
  run(calls / 4);
  return run(calls);
}
