import { createLimiter, type Limiter } from "../../src/daemon/pipeline/limiter.ts";
import type { LimitSpec } from "../../src/policy/compile.ts";
import { LimitTable } from "../../src/policy/limit.ts";
import { type FakeClock, fakeClock } from "./fake-clock.ts";

/** A limit of `count` requests per period. */
export function requests(name: string, count: number, periodMs: number, burst: number, waitMs: number): LimitSpec {
  return { name, kind: "requests", per: ["credential"], count, periodMs, burst, waitMs, mode: "enforce", budget: null };
}

/** A limit of `count` at once. */
export function concurrent(name: string, count: number, waitMs: number): LimitSpec {
  return { ...requests(name, count, 0, count, waitMs), kind: "concurrent" };
}

export interface LimiterBench {
  clock: FakeClock;
  table: LimitTable;
  limiter: Limiter;
}

/** A limiter on a clock that only moves when told to. */
export function limiterBench(maxWaiting = 1000): LimiterBench {
  const clock = fakeClock();
  const table = new LimitTable();
  return { clock, table, limiter: createLimiter({ table, nowUs: clock.nowUs, setTimer: clock.setTimer, maxWaiting }) };
}
