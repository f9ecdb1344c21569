import type { LimitSpec } from "./compile.ts";
import { usdText } from "./usd-text.ts";

/** An amount of a limit in words: `1200 tokens`, `0.25 USD`. Exact: nano-dollars are written as they are. */
export function amountText({ kind }: Pick<LimitSpec, "kind">, amount: number): string {
  return kind === "usd" ? `${usdText(amount)} USD` : `${amount} tokens`;
}

/** `25.00 USD per day (Europe/Berlin)`, `200000 tokens in 60 s`. */
export function budgetText(spec: LimitSpec): string {
  const amount = amountText(spec, spec.count);
  const calendar = spec.budget?.calendar ?? null;
  return calendar === null
    ? `${amount} in ${spec.periodMs / 1000} s`
    : `${amount} per ${calendar.unit} (${calendar.zone})`;
}
