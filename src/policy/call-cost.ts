import { costOf, type PricedCall, type PriceTable } from "./price-table.ts";

/** What a call cost, in the form that records keep. */
export interface CallCost {
  /** Nano-dollars, without what has no price; null when nothing of it has one. */
  readonly costNano: number | null;
  /** Something was used that has no price. */
  readonly unpriced: boolean;
  /** Version of the price table. */
  readonly table: string;
}

/**
 * The one way in which past and present calls are priced, so that working costs out again changes nothing but what prices
 * have changed. @param call of a provider that is not known, nothing is known
 */
export function callCost(
  table: PriceTable,
  call: Omit<PricedCall, "provider"> & { readonly provider: string | null },
): CallCost {
  const { nanoUsd, unpriced } = costOf(table, { ...call, provider: call.provider ?? "" });
  const unknown = unpriced.length > 0;
  return { costNano: unknown && nanoUsd === 0 ? null : nanoUsd, unpriced: unknown, table: table.version };
}
