import type { PolicyDocument } from "./parse.ts";
import type { PriceTable } from "./price-table.ts";
import type { PolicyProblem } from "./problem.ts";
import type { LimitFile } from "./schema.ts";

/**
 * Limits in dollars of routes whose provider has no price, or is free: the first kind refuses every call (or counts
 * none of them), the second never refuses one. Both are worth a warning, neither is a mistake of the policy.
 */
export function unpricedBudgets(document: PolicyDocument, prices: PriceTable): PolicyProblem[] {
  return Object.entries(document.content.routes).flatMap(([id, { provider, limits = [] }]) =>
    limits.flatMap((limit, index) => {
      const message = limit.usd === undefined ? null : coverage(provider, limit, prices);
      return message === null ? [] : [document.problemAt(["routes", id, "limits", index, "usd"], message)];
    }),
  );
}

function coverage(provider: string, { unpriced }: LimitFile, prices: PriceTable): string | null {
  const known = prices.providers.get(provider);
  if (known?.flat === true) return `calls of ${provider} are free by the price table, so this limit never denies one`;
  if (known !== undefined) return null;
  const effect = unpriced === "allow" ? "counts nothing" : "denies every call";
  return `the price table has no prices of ${provider}, so this limit ${effect}; add them and see \`sidekey prices check\``;
}
