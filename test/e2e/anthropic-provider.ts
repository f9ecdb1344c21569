import { randomBytes } from "node:crypto";
import Anthropic from "@anthropic-ai/sdk";
import { anthropicAnswer } from "./anthropic-answers.ts";
import { exactly, type ProviderUnderTest, type Way } from "./sdk-scene.ts";

const PRICES = `version: 1
table: test
providers:
  anthropic:
    models:
      - names: ["claude-*"]
        prices: [{ from: 2020-01-01, input: 3, cached_input: 0.3, cache_write: 3.75, cache_write_1h: 6, output: 15 }]
`;

export const anthropicProvider: ProviderUnderTest = {
  id: "anthropic",
  host: "api.anthropic.com",
  key: `sk-ant-api03-${randomBytes(54).toString("hex")}`,
  handler: anthropicAnswer,
  prices: PRICES,
};

/** What every message reads, and what that costs in nano-dollars by the prices above. */
export const INPUT = { input: 472, cached_input: 1000, cache_write: 200, cache_write_1h: 100 };
export const INPUT_COST = 472 * 3000 + 1000 * 300 + 200 * 3750 + 100 * 6000;
/** The record of every message that ends well. */
export const MESSAGE = exactly(
  "messages",
  "claude-sonnet-5-5-20260901",
  { ...INPUT, output: 69, reasoning: 20 },
  INPUT_COST + 89 * 15_000,
);

export function anthropicClient({ origin, key, fetch }: Way): Anthropic {
  return new Anthropic({ baseURL: origin, apiKey: key, fetch, maxRetries: 0 });
}
