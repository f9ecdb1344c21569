import type { Units } from "./usage.ts";

/** Tokens by what happened to them, which is how reports and metrics tell them. Disjoint, as units are. */
export interface TokenSums {
  readonly input: number;
  readonly cachedInput: number;
  /** Written to a cache, for however long. */
  readonly cacheWrite: number;
  readonly output: number;
  readonly reasoning: number;
}

/** Sound and pictures count to their direction; the exact split stays in the units. Null when no tokens were used. */
export function tokenSums(units: Units): TokenSums | null {
  // Written out, because it is done for every request: a loop over the units takes eight times as long.
  const input = (units.input ?? 0) + (units.input_audio ?? 0) + (units.input_image ?? 0);
  const cachedInput = units.cached_input ?? 0;
  const cacheWrite = (units.cache_write ?? 0) + (units.cache_write_1h ?? 0);
  const output = (units.output ?? 0) + (units.output_audio ?? 0) + (units.output_image ?? 0);
  const reasoning = units.reasoning ?? 0;
  if (input + cachedInput + cacheWrite + output + reasoning === 0) return null;
  return { input, cachedInput, cacheWrite, output, reasoning };
}

/** All that went in, and all that came out. */
export function tokensBothWays(sums: TokenSums): { readonly tokensIn: number; readonly tokensOut: number } {
  return { tokensIn: sums.input + sums.cachedInput + sums.cacheWrite, tokensOut: sums.output + sums.reasoning };
}
