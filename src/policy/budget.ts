import type { LimitSpec } from "./compile.ts";

/** What a call will probably use, and what it uses at most; null when nothing bounds it. Whole tokens or nano-dollars. */
export interface Estimate {
  readonly expected: number;
  readonly atMost: number | null;
}

/** What a call asks of the budgets that it falls under. */
export interface Ask {
  readonly tokens: Estimate;
  /** Null: the call has no price. */
  readonly usd: Estimate | null;
}

/** What a call has used. Null: nobody can know, so what was reserved stands. */
export interface Used {
  readonly tokens: number | null;
  readonly nanoUsd: number | null;
}

/** Of a call about which nothing is known: no price, no upper bound, no tokens expected. */
export const NOTHING_KNOWN: Ask = Object.freeze({
  tokens: Object.freeze({ expected: 0, atMost: null }),
  usd: null,
});

/** More than any limit holds: amounts are cut off here, so that no figure of a provider makes a sum inexact. */
export const MAX_AMOUNT = 1e15;

/**
 * Why a call can never pass a limit, however long it waits. `too_large`: it wants more than the whole limit;
 * `unbounded`: the limit is strict and nothing bounds the call; `unpriced`: it has no price and the limit wants one.
 */
export type Misfit = "too_large" | "unbounded" | "unpriced";

/** What a call takes of a limit: 1 of those that count calls, an amount of those that count what calls use. */
export function wantedOf({ kind, count, budget }: LimitSpec, ask: Ask): number | Misfit {
  if (budget === null) return 1;
  const estimate = kind === "usd" ? ask.usd : ask.tokens;
  if (estimate === null) return budget.unpriced === "deny" ? "unpriced" : 0;
  const amount = budget.strict ? estimate.atMost : estimate.expected;
  if (amount === null) return "unbounded";
  const whole = wholeAmount(amount);
  return whole > count ? "too_large" : whole;
}

/** Whether the call passes this limit without being counted: it has no price, and the limit allows that. */
export function isUncounted({ kind, budget }: LimitSpec, ask: Ask): boolean {
  return kind === "usd" && ask.usd === null && budget?.unpriced === "allow";
}

/** The part of `used` that a limit counts; null when it is not known, or no amount. */
export function usedOf({ kind }: LimitSpec, used: Used | null): number | null {
  const amount = kind === "usd" ? used?.nanoUsd : used?.tokens;
  return amount === undefined || amount === null || !(amount >= 0) ? null : wholeAmount(amount);
}

/** Rounded up; what is no number is more than any limit holds, so that a broken estimate is refused and never free. */
function wholeAmount(amount: number): number {
  if (Number.isNaN(amount)) return MAX_AMOUNT;
  return Math.min(MAX_AMOUNT, Math.max(0, Math.ceil(amount)));
}
