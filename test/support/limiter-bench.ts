import { createLimiter, type Limiter, type LimiterOptions } from "../../src/daemon/pipeline/limiter.ts";
import type { BudgetSpec, LimitSpec } from "../../src/policy/compile.ts";
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

/** A budget of `count` tokens in a period that slides. */
export function tokensPer(
  name: string,
  count: number,
  periodMs: number,
  waitMs: number,
  more: Partial<BudgetSpec> = {},
): LimitSpec {
  const budget: BudgetSpec = { calendar: null, strict: false, unpriced: "allow", warn: [], ...more };
  return { ...requests(name, count, periodMs, count, waitMs), kind: "tokens", budget };
}

/** The same in nano-dollars. */
export function usdPer(
  name: string,
  count: number,
  periodMs: number,
  waitMs: number,
  more: Partial<BudgetSpec> = {},
): LimitSpec {
  return { ...tokensPer(name, count, periodMs, waitMs, { unpriced: "deny", ...more }), kind: "usd" };
}

export interface LimiterBench {
  clock: FakeClock;
  table: LimitTable;
  limiter: Limiter;
}

/** A limiter on a clock that only moves when told to. */
export function limiterBench(
  maxWaiting = 1000,
  told: Pick<LimiterOptions, "onWarning" | "onOverrun"> = {},
): LimiterBench {
  const clock = fakeClock();
  const table = new LimitTable();
  const options = { table, nowUs: clock.nowUs, setTimer: clock.setTimer, maxWaiting, ...told };
  return { clock, table, limiter: createLimiter(options) };
}
