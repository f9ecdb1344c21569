import type { LimitThing } from "../../providers/limits/limit-kind.ts";
import { TOKEN_UNITS, type TokenUnit, type Units } from "../../providers/usage/usage.ts";

/** What one request takes of its provider's limits, as far as that is known before it is sent. */
export interface Need {
  readonly requests: number;
  readonly credits: number;
  /** Tokens. */
  readonly input: number;
  readonly output: number;
}

/** Sums of needs; changes. */
export type Tally = { -readonly [K in keyof Need]: Need[K] };

const OUTPUT: ReadonlySet<TokenUnit> = new Set(["output", "reasoning", "output_audio", "output_image"]);

/** One call of an API without tokens. */
export const ONE_CALL: Need = { requests: 1, credits: 1, input: 0, output: 0 };

/** @param expected `RequestFacts.expected` */
export function needOf(expected: Units): Need {
  let input = 0;
  for (const unit of TOKEN_UNITS) if (!OUTPUT.has(unit)) input += expected[unit] ?? 0;
  return { requests: 1, credits: expected.credit ?? 1, input, output: outputTokens(expected) };
}

/** Tokens that were written, or will be. */
export function outputTokens(units: Units): number {
  let sum = 0;
  for (const unit of OUTPUT) sum += units[unit] ?? 0;
  return sum;
}

export function noNeed(): Tally {
  return { requests: 0, credits: 0, input: 0, output: 0 };
}

/** What a provider counts as `thing`. Weights are not known before the answer: a call is taken for one. */
export function amountOf(need: Need, thing: LimitThing): number {
  switch (thing) {
    case "tokens":
      return need.input + need.output;
    case "input_tokens":
      return need.input;
    case "output_tokens":
      return need.output;
    case "credits":
      return need.credits;
    case "requests":
    case "weight":
    case "orders":
      return need.requests;
  }
}
