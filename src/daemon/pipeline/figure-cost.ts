import { callCost } from "../../policy/call-cost.ts";
import type { PriceTable } from "../../policy/price-table.ts";
import type { UsageFigure } from "../../providers/usage/usage.ts";
import { CHARGED_BY_PROVIDER } from "../../store/usage-record.ts";
import type { Outcome } from "./exchange.ts";

type FigureCost = Pick<Outcome, "costNano" | "unpriced" | "priceTable">;

const NO_COST: FigureCost = Object.freeze({ costNano: null, unpriced: false, priceTable: null });

/**
 * What an exchange cost, as its outcome tells it: what the provider says it charged, else what the table says.
 * @param usage null when no answer was read for it
 * @param atMs arrival of the request
 */
export function figureCost(
  table: PriceTable,
  provider: string | null,
  usage: UsageFigure | null,
  atMs: number,
): FigureCost {
  if (usage === null) return NO_COST;
  if (usage.charged !== null) {
    return { costNano: usage.charged, unpriced: false, priceTable: CHARGED_BY_PROVIDER };
  }
  const { model, tier, units } = usage;
  const { costNano, unpriced, table: priceTable } = callCost(table, { provider, model, tier, units, atMs });
  return { costNano, unpriced, priceTable };
}
