import { randomBytes } from "node:crypto";
import OpenAI from "openai";
import { openAiAnswer } from "./openai-answers.ts";
import { exactly, type ProviderUnderTest, type Way } from "./sdk-scene.ts";

/** What the provider says has answered when `gpt-4o` was asked for. */
const ANSWERED = "gpt-4o-2024-08-06";

const PRICES = `version: 1
table: test
providers:
  openai:
    models:
      - { names: ["gpt-4o*"], prices: [{ from: 2020-01-01, input: 2.5, cached_input: 1.25, output: 10, web_search: 10/1k }] }
      - { names: [gpt-4o-mini-tts], prices: [{ from: 2020-01-01, input: 0.6, output_audio: 12 }] }
      - { names: [gpt-3.5-turbo-instruct], prices: [{ from: 2020-01-01, input: 1.5, output: 2 }] }
      - { names: ["text-embedding-3-*"], prices: [{ from: 2020-01-01, input: 0.02 }] }
      - { names: [gpt-image-1], prices: [{ from: 2020-01-01, input: 5, input_image: 10, output_image: 40 }] }
      - { names: [tts-1], prices: [{ from: 2020-01-01, character: 15/1M }] }
      - { names: ["*"], prices: [{ from: 2020-01-01, second: 0.006/min }] }
`;

export const openAiProvider: ProviderUnderTest = {
  id: "openai",
  host: "api.openai.com",
  key: `sk-${randomBytes(24).toString("hex")}`,
  handler: openAiAnswer,
  prices: PRICES,
};

/** The record of every chat that the stand-in answers; the cost is in nano-dollars, by the prices above. */
export const CHAT = exactly(
  "chat",
  ANSWERED,
  { input: 93, cached_input: 1024, output: 34, reasoning: 12 },
  93 * 2500 + 1024 * 1250 + 46 * 10_000,
);

/** The record of every answer of the Responses API. */
export const RESPONSE = exactly(
  "responses",
  ANSWERED,
  { input: 200, cached_input: 128, output: 32, reasoning: 20 },
  200 * 2500 + 128 * 1250 + 52 * 10_000,
);

export function openAiClient({ origin, key, fetch }: Way): OpenAI {
  return new OpenAI({ baseURL: `${origin}/v1`, apiKey: key, fetch, maxRetries: 0 });
}
