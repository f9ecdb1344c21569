import type { OpenAiOperation } from "./openai-operation.ts";
import { countIn, memberOf, nanoUsd, objectIn, partIn, type Reported, secondsIn } from "./reported.ts";
import type { Unit } from "./usage.ts";

type Counts = Partial<Record<Unit, number>>;

/** What differs between providers that report usage in OpenAI's shape. */
export interface UsageHabits {
  /** Whether `total_tokens` counts reasoning that nothing else does (Gemini's compatible endpoint). */
  readonly hiddenReasoning: boolean;
  /** Reads what the provider says it charged; null for providers that do not say. */
  readonly charge: ((usage: Reported) => number | null) | null;
}

/**
 * A `usage` object of OpenAI's shape in disjoint units; null when its numbers are no counts. The names of both APIs are
 * read: `prompt_tokens` with `completion_tokens`, and `input_tokens` with `output_tokens`. Parts are never more than
 * their whole, whatever the provider claims.
 */
export function openAiCounts(usage: Reported, operation: OpenAiOperation, habits: UsageHabits): Counts | null {
  const seconds = memberOf(usage, "type") === "duration" ? secondsIn(usage, "seconds") : null;
  if (seconds !== null) return { second: seconds };
  const total = countIn(usage, "total_tokens");
  const input = countIn(usage, "prompt_tokens", "input_tokens") ?? (countIn(usage, ...OUTPUT) === null ? total : 0);
  if (input === null) return null;
  const output = countIn(usage, ...OUTPUT) ?? Math.max(0, (total ?? 0) - input);
  if (Number.isNaN(input) || Number.isNaN(output)) return null;
  return {
    ...inputCounts(usage, input, operation),
    ...outputCounts(usage, { input, output, total: total || null }, operation, habits),
    ...toolCounts(usage),
  };
}

const TICKS_PER_USD = 1e10;
const OUTPUT = ["completion_tokens", "output_tokens"] as const;

/** The prompt includes what came from the cache, what went into it, and audio. */
function inputCounts(usage: Reported, input: number, operation: OpenAiOperation): Counts {
  const details = objectIn(usage, "prompt_tokens_details", "input_tokens_details", "input_token_details");
  let left = input;
  const take = (wanted: number): number => {
    const part = Math.min(wanted, left);
    left -= part;
    return part;
  };
  // DeepSeek names the hits at the top.
  const cached = take(partIn(details, "cached_tokens") || partIn(usage, "prompt_cache_hit_tokens"));
  const written = take(partIn(details, "cache_write_tokens"));
  const audio = take(partIn(details, "audio_tokens"));
  // Models that chat read pictures at the price of text; those that draw do not.
  const image = operation === "images" ? take(partIn(details, "image_tokens")) : 0;
  // Perplexity bills the sources that it read besides the prompt.
  const citations = partIn(usage, "citation_tokens");
  return {
    input: left + citations,
    cached_input: cached,
    cache_write: written,
    input_audio: audio,
    input_image: image,
  };
}

interface Sums {
  readonly input: number;
  readonly output: number;
  readonly total: number | null;
}

function outputCounts(usage: Reported, sums: Sums, operation: OpenAiOperation, habits: UsageHabits): Counts {
  const details = objectIn(usage, "completion_tokens_details", "output_tokens_details", "output_token_details");
  if (operation === "images") {
    const text = Math.min(partIn(details, "text_tokens"), sums.output);
    return { output: text, output_image: sums.output - text };
  }
  if (operation === "speech") return { output_audio: sums.output };
  const { visible, reasoning } = split(usage, details, sums, habits);
  const audio = Math.min(partIn(details, "audio_tokens"), visible);
  return { output: visible - audio, output_audio: audio, reasoning };
}

/** OpenAI counts reasoning as part of the completion; others beside it, which their total or the place shows. */
function split(usage: Reported, details: Reported | null, { input, output, total }: Sums, habits: UsageHabits) {
  // Perplexity: a member of its own beside the completion.
  const apart = partIn(usage, "reasoning_tokens");
  if (apart > 0) return { visible: output, reasoning: apart };
  const reasoning = partIn(details, "reasoning_tokens");
  // xAI: the total is the sum of all three.
  if (reasoning > 0 && total === input + output + reasoning) return { visible: output, reasoning };
  if (habits.hiddenReasoning && total !== null && total > input + output) {
    return { visible: output, reasoning: total - input - output };
  }
  const inside = Math.min(reasoning, output);
  return { visible: output - inside, reasoning: inside };
}

/** Uses of the provider's own tools, where they are reported with the tokens (Perplexity, xAI). */
function toolCounts(usage: Reported): Counts {
  const calls = objectIn(usage, "server_side_tool_usage_details");
  const searches =
    partIn(usage, "num_search_queries") + partIn(calls, "web_search_calls") + partIn(calls, "x_search_calls");
  const others = ["code_interpreter_calls", "file_search_calls", "document_search_calls"];
  return {
    web_search: searches,
    tool_call: others.reduce((sum, name) => sum + partIn(calls, name), 0),
    second: secondsIn(usage, "prompt_audio_seconds") ?? 0,
  };
}

/**
 * OpenRouter: `cost` is "the total amount charged to your account", in credits of one dollar. With a key of one's own at
 * the upstream provider that is only the fee, and the upstream's charge comes on top.
 */
export function openRouterCharge(usage: Reported): number | null {
  const fee = nanoUsd(memberOf(usage, "cost"));
  if (fee === null || memberOf(usage, "is_byok") !== true) return fee;
  const upstream = nanoUsd(memberOf(objectIn(usage, "cost_details"), "upstream_inference_cost"));
  return upstream === null ? null : fee + upstream;
}

/** Perplexity: dollars, with the fees for searches and requests. */
export function perplexityCharge(usage: Reported): number | null {
  const cost = objectIn(usage, "cost");
  const currency = memberOf(cost, "currency") ?? "USD";
  return currency === "USD" ? nanoUsd(memberOf(cost, "total_cost")) : null;
}

/** xAI: "the actual amount billed", in ticks of which 10^10 are a dollar. */
export function xaiCharge(usage: Reported): number | null {
  const ticks = memberOf(usage, "cost_in_usd_ticks");
  return Number.isInteger(ticks) ? nanoUsd(Number(ticks) / TICKS_PER_USD) : null;
}
