import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  geminiCompatible,
  openAi,
  openAiShaped,
  openRouter,
  perplexity,
  xai,
} from "../../../src/providers/usage/openai.ts";
import type { UsageDialect } from "../../../src/providers/usage/usage.ts";
import {
  CHAT_ANSWER,
  CHAT_STREAM,
  CHAT_UNITS,
  chunk,
  DEEPSEEK_STREAM,
  GEMINI_COMPATIBLE_STREAM,
  GROQ_STREAM,
  OPENROUTER_STREAM,
  PERPLEXITY_ANSWER,
  RESPONSE,
  RESPONSE_STREAM,
  RESPONSE_UNITS,
  SILENT_STREAM,
  XAI_STREAM,
} from "./openai-transcripts.ts";
import { EVENTS, eventsOf, figureAt, figureOf, variantsOf } from "./reading.ts";

const CHAT = {
  path: "/v1/chat/completions",
  request: { model: "gpt-5-mini", messages: [{ role: "user", content: "Say hi" }] },
};
const STREAM = { ...CHAT, request: { ...CHAT.request, stream: true }, type: EVENTS };
const RESPONSES = { path: "/v1/responses", request: { model: "gpt-5", input: "Say hi" } };
const inputOf = (request: unknown): number => Math.ceil(JSON.stringify(request).length / 4);

function streamed(dialect: UsageDialect, answer: string): ReturnType<typeof figureAt> {
  const figure = figureOf(dialect, { ...STREAM, answer });
  for (const variant of variantsOf(answer)) assert.deepEqual(figureAt(dialect, { ...STREAM, answer: variant }), figure);
  return figure;
}

describe("chats", () => {
  test("usage of a stream is what the last chunk says, in disjoint units", () => {
    const figure = streamed(openAi, CHAT_STREAM);
    assert.deepEqual(figure, {
      model: "gpt-5-mini-2025-08-07",
      tier: null,
      units: CHAT_UNITS,
      quality: "exact",
      partial: false,
      charged: null,
      failure: null,
    });
  });

  test("usage of an answer is at its top and nowhere else", () => {
    const figure = figureOf(openAi, { ...CHAT, answer: CHAT_ANSWER });
    assert.deepEqual([figure.units, figure.quality, figure.tier], [CHAT_UNITS, "exact", "flex"]);
    assert.equal(figure.model, "gpt-4o-2024-08-06");
    const azure = { ...CHAT, path: "/openai/deployments/my-gpt/chat/completions", query: "api-version=2024-10-21" };
    assert.equal(
      figureOf(openAi, { ...azure, request: { messages: [] }, answer: '{"usage":{"total_tokens":3}}' }).model,
      "my-gpt",
    );
  });

  test("a stream that does not tell is estimated from the request and from what was delivered", () => {
    const figure = streamed(openAi, SILENT_STREAM);
    assert.deepEqual(figure.units, { request: 1, input: inputOf(STREAM.request), output: 3 });
    assert.deepEqual([figure.quality, figure.partial, figure.model], ["estimated", false, "gpt-5-mini-2025-08-07"]);
  });

  test("a stream that breaks off counts as far as it was delivered", () => {
    const cut = SILENT_STREAM.slice(0, SILENT_STREAM.indexOf("reasoning_content"));
    const figure = figureOf(openAi, { ...STREAM, answer: cut, complete: false });
    assert.deepEqual(figure.units, { request: 1, input: inputOf(STREAM.request), output: 2 });
    assert.deepEqual([figure.quality, figure.partial], ["estimated", true]);
  });

  test("a client that leaves after the last usage leaves a figure that is whole", () => {
    const told = CHAT_STREAM.slice(0, CHAT_STREAM.indexOf("data: [DONE]"));
    const figure = figureAt(openAi, { ...STREAM, answer: told, complete: false });
    assert.deepEqual([figure.units, figure.quality, figure.partial], [CHAT_UNITS, "exact", false]);
    const done = figureAt(openAi, { ...STREAM, answer: SILENT_STREAM, complete: false });
    assert.equal(done.partial, false);
  });

  test("an error inside a stream is told, and what was delivered before it counts", () => {
    const failed = { error: { message: "The server had an error", type: "server_error", param: null, code: null } };
    const late = figureOf(openAi, { ...STREAM, answer: eventsOf(chunk({ content: "1234" }, null), failed) });
    assert.deepEqual(
      [late.failure, late.units.output, late.quality],
      ["server_error: The server had an error", 1, "estimated"],
    );
    const left = figureAt(openAi, {
      ...STREAM,
      answer: eventsOf(chunk({ content: "1234" }, null), failed),
      complete: false,
    });
    assert.deepEqual(left, late, "clients leave when they read an error");
    const early = figureOf(openAi, { ...STREAM, answer: eventsOf(failed) });
    assert.deepEqual([early.units, early.quality], [{ request: 1 }, "none"]);
  });

  test("an answer that breaks off inside a text counts that text", () => {
    const cut = CHAT_ANSWER.slice(0, CHAT_ANSWER.indexOf("total_tokens"));
    const figure = figureOf(openAi, { ...CHAT, answer: cut, complete: false });
    assert.deepEqual([figure.quality, figure.partial, (figure.units.output ?? 0) > 20], ["estimated", true, true]);
  });
});

describe("responses", () => {
  test("usage and tools of an answer and of a stream are the same", () => {
    const answer = figureOf(openAi, { ...RESPONSES, answer: JSON.stringify(RESPONSE) });
    const stream = figureOf(openAi, { ...RESPONSES, type: EVENTS, answer: RESPONSE_STREAM });
    assert.deepEqual(answer.units, RESPONSE_UNITS);
    assert.deepEqual(stream, answer);
    for (const variant of variantsOf(RESPONSE_STREAM)) {
      assert.deepEqual(figureAt(openAi, { ...RESPONSES, type: EVENTS, answer: variant }), answer);
    }
  });

  test("usage is found in a last event of a megabyte", () => {
    const text = "x".repeat(1 << 20);
    const big = {
      ...RESPONSE,
      output: [...RESPONSE.output, { type: "message", content: [{ type: "output_text", text }] }],
    };
    const answer = `event: response.completed\ndata: ${JSON.stringify({ type: "response.completed", response: big })}\n\n`;
    const splits = Array.from({ length: answer.length / 16_384 }, (_, at) => at * 16_384 + 1);
    assert.deepEqual(figureAt(openAi, { ...RESPONSES, type: EVENTS, answer }, splits).units, RESPONSE_UNITS);
  });

  test("an answer that is made in the background is expected, not told", () => {
    const queued = JSON.stringify({ ...RESPONSE, status: "queued", output: [], usage: null });
    const figure = figureOf(openAi, {
      ...RESPONSES,
      request: { ...RESPONSES.request, max_output_tokens: 50 },
      answer: queued,
    });
    assert.deepEqual([figure.units.output, figure.quality, figure.partial], [50, "estimated", true]);
  });

  test("one that failed without having used anything costs nothing", () => {
    const response = {
      ...RESPONSE,
      status: "failed",
      output: [],
      usage: null,
      error: { code: "server_error", message: "no" },
    };
    const answer = eventsOf({ type: "response.failed", response });
    const figure = figureOf(openAi, { ...RESPONSES, type: EVENTS, answer });
    assert.deepEqual([figure.units, figure.quality, figure.failure], [{ request: 1 }, "none", "server_error: no"]);
  });

  test("one whose stream ends with an error event costs what was delivered of it, which may be nothing", () => {
    const response = { ...RESPONSE, status: "in_progress", output: [], usage: null };
    const begun = { type: "response.created", response };
    const delta = { type: "response.output_text.delta", delta: "12345678" };
    const error = { type: "error", code: "server_error", message: "Something went wrong.", param: null };
    const early = figureOf(openAi, { ...RESPONSES, type: EVENTS, answer: eventsOf(begun, error) });
    assert.deepEqual(
      [early.units, early.quality, early.failure],
      [{ request: 1 }, "none", "server_error: Something went wrong."],
    );
    const late = figureOf(openAi, { ...RESPONSES, type: EVENTS, answer: eventsOf(begun, delta, error) });
    assert.deepEqual([late.units.output, late.quality, late.failure], [2, "estimated", early.failure]);
    const silent = figureOf(openAi, { ...RESPONSES, type: EVENTS, answer: eventsOf({ type: "error" }) });
    assert.deepEqual([silent.quality, silent.failure], ["none", "error"]);
  });

  test("reading a stored answer again is not billed again", () => {
    for (const path of ["/v1/responses/resp_1", "/v1/chat/completions/chatcmpl-1", "/v1/models", "/v1/responses"]) {
      const figure = figureOf(openAi, { method: "GET", path, answer: JSON.stringify(RESPONSE) });
      assert.deepEqual([figure.units, figure.quality], [{ request: 1 }, "none"]);
    }
    const counted = figureOf(openAi, { path: "/v1/responses/input_tokens", request: {}, answer: '{"input_tokens":9}' });
    assert.deepEqual([counted.units, counted.quality], [{ request: 1 }, "none"]);
  });
});

describe("providers in OpenAI's shape", () => {
  test("Groq, DeepSeek and Mistral report with the last content", () => {
    assert.deepEqual(streamed(openAiShaped, GROQ_STREAM).units, { request: 1, input: 20, output: 3 });
    assert.deepEqual(streamed(openAiShaped, DEEPSEEK_STREAM).units, {
      request: 1,
      input: 4,
      cached_input: 16,
      output: 2,
      reasoning: 1,
    });
    const mistral = eventsOf(
      chunk({ content: "x" }, "stop", {
        usage: {
          prompt_tokens: 1013,
          completion_tokens: 2,
          total_tokens: 1015,
          prompt_tokens_details: { cached_tokens: 1008 },
        },
      }),
      "[DONE]",
    );
    assert.deepEqual(streamed(openAiShaped, mistral).units, { request: 1, input: 5, cached_input: 1008, output: 2 });
  });

  test("xAI counts reasoning beside the completion, and says what it charged", () => {
    const figure = streamed(xai, XAI_STREAM);
    const tools = { web_search: 3, tool_call: 3 };
    assert.deepEqual(figure.units, { request: 1, input: 21, cached_input: 192, output: 27, reasoning: 133, ...tools });
    assert.equal(figure.charged, 3_775_601);
  });

  test("a charge counts without tokens too", () => {
    const answer = '{"choices":[],"usage":{"cost_in_usd_ticks":10000000000}}';
    const figure = figureAt(xai, { ...CHAT, answer });
    assert.deepEqual([figure.charged, figure.quality], [1_000_000_000, "estimated"]);
  });

  test("OpenRouter says what it charged, with the upstream's part when the key is one's own", () => {
    assert.equal(streamed(openRouter, OPENROUTER_STREAM).charged, 140_000);
    const own = OPENROUTER_STREAM.replace('"is_byok":false', '"is_byok":true');
    assert.equal(figureAt(openRouter, { ...STREAM, answer: own }).charged, null);
    const known = own.replace('"upstream_inference_cost":null', '"upstream_inference_cost":0.0000019');
    assert.equal(figureAt(openRouter, { ...STREAM, answer: known }).charged, 141_900);
    for (const cost of ["-1", '"1"', "1e300", "null", "true", "1000001"]) {
      const answer = OPENROUTER_STREAM.replace('"cost":0.00014', `"cost":${cost}`);
      assert.equal(figureAt(openRouter, { ...STREAM, answer }).charged, null, cost);
    }
    assert.equal(figureAt(openAi, { ...STREAM, answer: OPENROUTER_STREAM }).charged, null);
  });

  test("Perplexity bills searches, sources and reasoning apart", () => {
    const figure = figureOf(perplexity, { ...CHAT, path: "/chat/completions", answer: PERPLEXITY_ANSWER });
    assert.deepEqual(figure.units, { request: 1, input: 20_049, output: 7163, reasoning: 73_997, web_search: 18 });
    assert.equal(figure.charged, 409_300_000);
  });

  test("Gemini's compatible endpoint hides its thoughts in the total", () => {
    assert.deepEqual(streamed(geminiCompatible, GEMINI_COMPATIBLE_STREAM).units, {
      request: 1,
      input: 11,
      output: 14,
      reasoning: 24,
    });
    const cut = GEMINI_COMPATIBLE_STREAM.slice(0, GEMINI_COMPATIBLE_STREAM.indexOf("\n\n") + 2);
    const figure = figureAt(geminiCompatible, { ...STREAM, answer: cut, complete: false });
    assert.deepEqual([figure.units.reasoning, figure.quality, figure.partial], [18, "exact", true]);
  });

  test("searches that a model makes by itself are counted with its answer", () => {
    const request = { ...CHAT.request, web_search_options: {} };
    const figure = figureAt(openAi, { ...CHAT, request, answer: CHAT_ANSWER });
    assert.deepEqual(figure.units, { ...CHAT_UNITS, web_search: 1 });
  });
});
