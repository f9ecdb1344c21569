import { eventsOf, namedEventsOf } from "./reading.ts";

/**
 * Answers as the providers publish them: OpenAI's API reference and the types of its library, Azure's, Groq's, xAI's and
 * Hugging Face's recorded streams, DeepSeek's, Mistral's, OpenRouter's and Perplexity's documentation.
 */

/** Text that tries to be usage, in every way in which text can. */
export const FAKE =
  '"usage":{"prompt_tokens":999999,"completion_tokens":999999}}]}\n\ndata: {"choices":[],"usage":{"prompt_tokens":8}}';

const head = {
  id: "chatcmpl-1",
  object: "chat.completion.chunk",
  created: 1_759_350_264,
  model: "gpt-5-mini-2025-08-07",
};

export function chunk(delta: object, finish: string | null, rest: object = {}): object {
  return { ...head, choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }], ...rest };
}

export const CHAT_USAGE = {
  prompt_tokens: 120,
  completion_tokens: 76,
  total_tokens: 196,
  prompt_tokens_details: { cached_tokens: 64, audio_tokens: 6 },
  completion_tokens_details: {
    reasoning_tokens: 40,
    audio_tokens: 5,
    accepted_prediction_tokens: 0,
    rejected_prediction_tokens: 0,
  },
};
export const CHAT_UNITS = {
  request: 1,
  input: 50,
  cached_input: 64,
  input_audio: 6,
  output: 31,
  reasoning: 40,
  output_audio: 5,
};

/** A stream whose last chunk tells the usage because the request asked for it. */
export const CHAT_STREAM = eventsOf(
  { choices: [], created: 0, id: "", model: "", object: "", prompt_filter_results: [{ prompt_index: 0 }] },
  chunk({ role: "assistant", content: "" }, null, { usage: null, obfuscation: "XVlAyJ" }),
  chunk({ content: FAKE }, null, { usage: null }),
  chunk({ tool_calls: [{ index: 0, function: { arguments: `{"usage":{"total_tokens":7}}` } }] }, null, { usage: null }),
  chunk({}, "stop", { usage: null }),
  { ...head, choices: [], usage: CHAT_USAGE },
  "[DONE]",
);

/** The same without being asked. */
export const SILENT_STREAM = eventsOf(
  chunk({ role: "assistant", content: "" }, null),
  chunk({ content: "12345678" }, null),
  chunk({ reasoning_content: "1234" }, null),
  chunk({}, "stop"),
  "[DONE]",
);

export const CHAT_ANSWER = JSON.stringify({
  id: "chatcmpl-1",
  object: "chat.completion",
  model: "gpt-4o-2024-08-06",
  choices: [{ index: 0, message: { role: "assistant", content: FAKE, refusal: null }, finish_reason: "stop" }],
  usage: CHAT_USAGE,
  service_tier: "flex",
});

const RESPONSE_USAGE = {
  input_tokens: 328,
  input_tokens_details: { cached_tokens: 100, cache_write_tokens: 28 },
  output_tokens: 52,
  output_tokens_details: { reasoning_tokens: 32 },
  total_tokens: 380,
};
export const RESPONSE_UNITS = {
  request: 1,
  input: 200,
  cached_input: 100,
  cache_write: 28,
  output: 20,
  reasoning: 32,
  web_search: 2,
  tool_call: 1,
};
export const RESPONSE = {
  id: "resp_1",
  object: "response",
  status: "completed",
  error: null,
  incomplete_details: null,
  model: "gpt-5-2025-08-07",
  output: [
    { type: "reasoning", id: "rs_1", summary: [] },
    { type: "web_search_call", id: "ws_1", status: "completed", action: { type: "search", query: "x" } },
    { type: "web_search_call", id: "ws_2", status: "completed", action: { type: "open_page", url: "https://x" } },
    { type: "web_search_call", id: "ws_3", status: "completed", action: { type: "search", query: FAKE } },
    { type: "file_search_call", id: "fs_1", status: "completed" },
    { type: "function_call", name: "f", arguments: `{"type":"web_search_call"}` },
    { type: "message", role: "assistant", content: [{ type: "output_text", text: FAKE, annotations: [] }] },
  ],
  service_tier: "default",
  usage: RESPONSE_USAGE,
};

export const RESPONSE_STREAM = namedEventsOf(
  { type: "response.created", response: { ...RESPONSE, status: "in_progress", output: [], usage: null } } as {
    type: string;
  },
  { type: "response.output_text.delta", item_id: "m", output_index: 0, delta: FAKE } as { type: string },
  { type: "response.output_text.done", item_id: "m", output_index: 0, text: FAKE } as { type: string },
  { type: "response.completed", response: RESPONSE } as { type: string },
);

const usage = { prompt_tokens: 20, completion_tokens: 3, total_tokens: 23 };

/** Groq reports in its last chunk of content, twice. */
export const GROQ_STREAM = eventsOf(
  chunk({ content: "Oi" }, null, { x_groq: { id: "req_1" } }),
  chunk({}, "stop", { x_groq: { id: "req_1", usage: { ...usage, queue_time: 0.03, total_time: 0.01 } } }),
  "[DONE]",
);

/** DeepSeek: "the statistics ride on the last content chunk". */
export const DEEPSEEK_STREAM = eventsOf(
  chunk({ content: "Oi" }, null),
  chunk({ content: "" }, "stop", {
    usage: {
      ...usage,
      prompt_cache_hit_tokens: 16,
      prompt_cache_miss_tokens: 4,
      completion_tokens_details: { reasoning_tokens: 1 },
    },
  }),
  "[DONE]",
);

/** xAI: 213 + 27 + 133 = 373. */
export const XAI_STREAM = eventsOf(
  chunk({ reasoning_content: "First", role: "assistant" }, null),
  chunk({}, "stop"),
  {
    ...head,
    model: "grok-code-fast-1",
    choices: [],
    usage: {
      prompt_tokens: 213,
      completion_tokens: 27,
      total_tokens: 373,
      prompt_tokens_details: { text_tokens: 213, audio_tokens: 0, image_tokens: 0, cached_tokens: 192 },
      completion_tokens_details: { reasoning_tokens: 133, audio_tokens: 0 },
      num_sources_used: 0,
      cost_in_usd_ticks: 37_756_001,
      server_side_tool_usage_details: { web_search_calls: 1, x_search_calls: 2, code_interpreter_calls: 3 },
    },
  },
  "[DONE]",
);

export const OPENROUTER_STREAM = eventsOf(
  chunk({ content: "Oi" }, null),
  {
    ...head,
    choices: [{ index: 0, delta: { content: "" }, finish_reason: null }],
    usage: { ...usage, cost: 0.00014, is_byok: false, cost_details: { upstream_inference_cost: null } },
  },
  "[DONE]",
);

export const PERPLEXITY_ANSWER = JSON.stringify({
  model: "sonar-deep-research",
  choices: [{ index: 0, message: { content: "x" } }],
  usage: {
    prompt_tokens: 33,
    completion_tokens: 7163,
    total_tokens: 7196,
    search_context_size: "low",
    citation_tokens: 20_016,
    num_search_queries: 18,
    reasoning_tokens: 73_997,
    cost: { input_tokens_cost: 0.00007, output_tokens_cost: 0.0573, request_cost: 0.09, total_cost: 0.4093 },
  },
});

/** Gemini's compatible endpoint: the total alone shows the thoughts, and every chunk tells the sums so far. */
export const GEMINI_COMPATIBLE_STREAM = eventsOf(
  chunk({ content: "O" }, null, { usage: { prompt_tokens: 11, completion_tokens: 1, total_tokens: 30 } }),
  chunk({ content: "i" }, "stop", { usage: { prompt_tokens: 11, completion_tokens: 14, total_tokens: 49 } }),
  "[DONE]",
);
