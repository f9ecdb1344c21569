import { type Amount, parseTokenAmount, parseUsdAmount } from "./amount.ts";
import type { LimitScope, LimitSpec } from "./compile.ts";
import { parseDuration, parseRate } from "./duration.ts";
import { frozenList } from "./freeze.ts";
import type { LimitFile } from "./schema.ts";

const SCOPE_ORDER: readonly LimitScope[] = ["client", "credential", "provider", "route", "user"];
const WARN_AT: readonly number[] = [50, 80, 95];

/** Resolves the units of one limit. */
export function compileLimit(file: LimitFile): LimitSpec {
  const shared = {
    name: file.name,
    per: frozenList(SCOPE_ORDER.filter((scope) => file.per.includes(scope))),
    waitMs: file.wait === undefined ? 0 : parseDuration(file.wait),
    mode: file.mode ?? "enforce",
    budget: null,
  } as const;
  if (file.tokens !== undefined)
    return compileBudget(file, { ...shared, kind: "tokens" }, parseTokenAmount(file.tokens));
  if (file.usd !== undefined) return compileBudget(file, { ...shared, kind: "usd" }, parseUsdAmount(file.usd));
  if (file.requests === undefined) {
    const count = file.concurrent ?? 1;
    return Object.freeze({ ...shared, kind: "concurrent", count, periodMs: 0, burst: count });
  }
  const { count, periodMs } = parseRate(file.requests);
  return Object.freeze({ ...shared, kind: "requests", count, periodMs, burst: file.burst ?? count });
}

type Shared = Pick<LimitSpec, "name" | "kind" | "per" | "waitMs" | "mode">;

function compileBudget(file: LimitFile, shared: Shared, { amount, periodMs, calendar }: Amount): LimitSpec {
  const budget = Object.freeze({
    calendar: calendar === null ? null : Object.freeze({ unit: calendar, zone: file.zone ?? "UTC" }),
    strict: file.strict ?? false,
    unpriced: file.unpriced ?? (shared.kind === "usd" ? "deny" : "allow"),
    warn: frozenList([...(file.warn ?? WARN_AT)].sort((a, b) => a - b)),
  });
  return Object.freeze({ ...shared, count: amount, periodMs, burst: amount, budget });
}
