import { NANO_PER_USD } from "./amount.ts";
import type { LimitSpec } from "./compile.ts";

/** An amount of a limit in words: `1200 tokens`, `0.25 USD`. Exact: nano-dollars are written as they are. */
export function amountText({ kind }: Pick<LimitSpec, "kind">, amount: number): string {
  return kind === "usd" ? `${usdText(amount)} USD` : `${amount} tokens`;
}

/** Whole nano-dollars as dollars, with two decimals at least. */
export function usdText(nanoUsd: number): string {
  const whole = Math.floor(nanoUsd / NANO_PER_USD);
  const fraction = String(nanoUsd % NANO_PER_USD).padStart(9, "0");
  return `${whole}.${fraction.slice(0, 2)}${fraction.slice(2).replace(/0+$/, "")}`;
}

/** `25.00 USD per day (Europe/Berlin)`, `200000 tokens in 60 s`. */
export function budgetText(spec: LimitSpec): string {
  const amount = amountText(spec, spec.count);
  const calendar = spec.budget?.calendar ?? null;
  return calendar === null
    ? `${amount} in ${spec.periodMs / 1000} s`
    : `${amount} per ${calendar.unit} (${calendar.zone})`;
}
