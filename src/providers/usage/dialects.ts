import type { Provider } from "../schema.ts";
import { anthropic } from "./anthropic.ts";
import { cohere } from "./cohere.ts";
import { withCompatible } from "./compatible.ts";
import { gemini } from "./gemini.ts";
import { geminiCompatible, openAi, openAiShaped, openRouter, perplexity, xai } from "./openai.ts";
import { alphaVantage, perCall } from "./per-call.ts";
import { taapi } from "./taapi.ts";
import { twelveData } from "./twelve-data.ts";
import type { UsageDialect } from "./usage.ts";

/** Every dialect by the word with which a provider's file names it. */
const DIALECTS = {
  "alpha-vantage": alphaVantage,
  anthropic: withCompatible(anthropic, openAiShaped, (path) => path.endsWith("/chat/completions")),
  cohere: withCompatible(cohere, openAiShaped, (path) => path.startsWith("/compatibility/")),
  gemini: withCompatible(gemini, geminiCompatible, (path) => /^\/v1(?:beta|alpha)?\/openai\//.test(path)),
  openai: openAi,
  "openai-shaped": openAiShaped,
  openrouter: openRouter,
  "per-call": perCall,
  perplexity,
  taapi,
  "twelve-data": twelveData,
  xai,
} as const satisfies Readonly<Record<string, UsageDialect>>;

export type DialectName = keyof typeof DIALECTS;
export const DIALECT_NAMES = Object.keys(DIALECTS) as DialectName[];

/** How a provider tells what a call used; by the call when its file does not say. */
export function dialectOf({ usage }: Pick<Provider, "usage">): UsageDialect {
  return DIALECTS[usage?.dialect ?? "per-call"];
}
