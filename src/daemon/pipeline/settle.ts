import type { PriceTable } from "../../policy/price-table.ts";
import { tokensOf } from "../../providers/usage/usage.ts";
import type { Outcome } from "./exchange.ts";
import type { ExchangeState } from "./exchange-state.ts";
import { figureCost } from "./figure-cost.ts";
import { outputTokens } from "./provider-need.ts";

/** What an exchange came to, as its outcome tells it. */
export type Spent = Pick<
  Outcome,
  "meaning" | "operation" | "usage" | "costNano" | "unpriced" | "priceTable" | "limits"
>;

export const NOTHING_SPENT: Spent = Object.freeze({
  meaning: null,
  operation: null,
  usage: null,
  costNano: null,
  unpriced: false,
  priceTable: null,
  limits: null,
});

export interface SettleDeps {
  readonly prices: () => PriceTable;
  /** A call on a route with a limit in dollars has no price. */
  readonly unpriced: (call: { readonly route: string; readonly model: string | null; readonly atMs: number }) => void;
}

/**
 * The exchange is over: works out what it used and cost, tells its limits, and gives back everything that it held. Of
 * several tries only the last can have used something.
 */
export function settle(x: ExchangeState, deps: SettleDeps): void {
  const { attempts, hold, route } = x;
  const last = attempts?.last ?? null;
  const usage = last?.watch.ended(x.answered, last.transfer.bytesDown) ?? null;
  const cost = figureCost(deps.prices(), route?.provider.id ?? null, usage, x.atMs);
  if (attempts !== null && last !== null) {
    const { meaning, limitsText: limits } = last.watch;
    x.spent = { meaning, operation: attempts.call.facts.operation, usage, ...cost, limits };
  }
  if (!x.sent) hold?.refund();
  else
    hold?.release(
      usage === null ? null : { tokens: tokensOf(usage.units), nanoUsd: cost.unpriced ? null : cost.costNano },
    );
  last?.close(usage === null ? null : outputTokens(usage.units));
  const uncounted = cost.unpriced || (hold !== null && hold.uncounted.length > 0);
  if (!x.sent || !uncounted || route === null || !route.limits.some(({ kind }) => kind === "usd")) return;
  deps.unpriced({ route: route.id, model: usage?.model ?? attempts?.call.facts.model ?? null, atMs: x.atMs });
}
