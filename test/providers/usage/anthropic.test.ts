import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { anthropic } from "../../../src/providers/usage/anthropic.ts";
import { assertSane } from "./figure-check.ts";
import { EVENTS, figureAt, figureOf, namedEventsOf, variantsOf } from "./reading.ts";

/** Event streams and answers as Anthropic's documentation and the types of its library give them. */

const REQUEST = {
  model: "claude-sonnet-4-20250514",
  max_tokens: 1024,
  messages: [{ role: "user", content: "Weather?" }],
};
const CALL = { path: "/v1/messages", request: REQUEST };
const STREAM = { path: "/v1/messages", request: { ...REQUEST, stream: true }, type: EVENTS };

const START_USAGE = {
  input_tokens: 423,
  cache_creation_input_tokens: 500,
  cache_read_input_tokens: 1000,
  cache_creation: { ephemeral_5m_input_tokens: 300, ephemeral_1h_input_tokens: 200 },
  output_tokens: 6,
  service_tier: "standard",
};
const FAKE =
  '"usage":{"input_tokens":99999,"output_tokens":99999}}\n\nevent: message_delta\ndata: {"usage":{"output_tokens":1}}';

type Event = { readonly type: string };
const event = (value: object): Event => value as Event;
const start = event({
  type: "message_start",
  message: {
    id: "msg_1",
    type: "message",
    role: "assistant",
    model: "claude-sonnet-4-20250514",
    content: [],
    usage: START_USAGE,
  },
});
const delta = (text: string): Event =>
  event({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } });
const tool = event({
  type: "content_block_delta",
  index: 1,
  delta: { type: "input_json_delta", partial_json: '{"usage":{"output_tokens":5}}' },
});
const end = (usage: object): Event =>
  event({ type: "message_delta", delta: { stop_reason: "end_turn", usage: { output_tokens: 7 } }, usage });

const TRANSCRIPT = namedEventsOf(
  start,
  event({
    type: "content_block_start",
    index: 0,
    content_block: { type: "text", text: "", usage: { output_tokens: 3 } },
  }),
  event({ type: "ping" }),
  delta(FAKE),
  tool,
  event({ type: "content_block_stop", index: 0 }),
  end({ output_tokens: 50 }),
  end({
    output_tokens: 119,
    input_tokens: null,
    output_tokens_details: { thinking_tokens: 19 },
    server_tool_use: { web_search_requests: 2, web_fetch_requests: 1 },
  }),
  event({ type: "message_stop" }),
);
const UNITS = {
  request: 1,
  input: 423,
  cached_input: 1000,
  cache_write: 300,
  cache_write_1h: 200,
  output: 100,
  reasoning: 19,
  web_search: 2,
};

describe("messages", () => {
  test("a stream tells its input first and its output last, cumulative", () => {
    const figure = figureOf(anthropic, { ...STREAM, answer: TRANSCRIPT });
    assert.deepEqual(figure, {
      model: "claude-sonnet-4-20250514",
      tier: null,
      units: UNITS,
      quality: "exact",
      partial: false,
      charged: null,
      failure: null,
    });
    for (const variant of variantsOf(TRANSCRIPT))
      assert.deepEqual(figureAt(anthropic, { ...STREAM, answer: variant }), figure);
  });

  test("an answer tells everything at once", () => {
    const usage = {
      ...START_USAGE,
      output_tokens: 119,
      server_tool_use: null,
      service_tier: "priority",
      cache_creation: null,
    };
    const answer = JSON.stringify({
      type: "message",
      model: "claude-opus-4",
      content: [{ type: "text", text: FAKE }],
      usage,
    });
    const figure = figureOf(anthropic, { ...CALL, answer });
    assert.deepEqual(figure.units, { request: 1, input: 423, cached_input: 1000, cache_write: 500, output: 119 });
    assert.deepEqual([figure.tier, figure.model, figure.quality], ["priority", "claude-opus-4", "exact"]);
    const fast = answer.replace('"service_tier"', '"speed":"fast","service_tier"');
    assert.equal(figureAt(anthropic, { ...CALL, answer: fast }).tier, "fast");
  });

  test("compactions and advice come on top of the sums", () => {
    const round = { input_tokens: 100, output_tokens: 10, cache_read_input_tokens: 5, cache_creation_input_tokens: 0 };
    const iterations = [
      { ...round, type: "message" },
      { ...round, type: "compaction" },
      { ...round, type: "advisor_message" },
      { ...round, type: "fallback_message" },
      null,
    ];
    const answer = JSON.stringify({ type: "message", usage: { input_tokens: 1000, output_tokens: 50, iterations } });
    assert.deepEqual(figureAt(anthropic, { ...CALL, answer }).units, {
      request: 1,
      input: 1200,
      cached_input: 10,
      output: 70,
    });
  });

  test("a stream that breaks off counts the input that was told, and the output that was delivered", () => {
    const text = "x".repeat(400);
    const cut = namedEventsOf(
      start,
      delta(text),
      event({ type: "content_block_delta", delta: { type: "thinking_delta", thinking: "1234" } }),
    );
    const figure = figureOf(anthropic, { ...STREAM, answer: cut, complete: false });
    assert.deepEqual([figure.units.input, figure.units.cached_input, figure.units.output], [423, 1000, 101]);
    assert.deepEqual([figure.quality, figure.partial], ["estimated", true]);
    const early = figureAt(anthropic, { ...STREAM, answer: namedEventsOf(start), complete: false });
    assert.deepEqual([early.units.output, early.partial], [6, true]);
    const late = figureAt(anthropic, {
      ...STREAM,
      answer: namedEventsOf(start, delta(text), end({ output_tokens: 50 })),
      complete: false,
    });
    assert.deepEqual([late.units.output, late.quality, late.partial], [50, "exact", true]);
    const whole = figureAt(anthropic, { ...STREAM, answer: TRANSCRIPT, complete: false });
    assert.equal(whole.partial, false);
  });

  test("a stream that fails says why, and what it used until then counts", () => {
    const failed = event({ type: "error", error: { type: "overloaded_error", message: "Overloaded" } });
    const late = figureOf(anthropic, { ...STREAM, answer: namedEventsOf(start, delta("12345678"), failed) });
    assert.deepEqual(
      [late.failure, late.units.input, late.quality],
      ["overloaded_error: Overloaded", 423, "estimated"],
    );
    const left = figureAt(anthropic, {
      ...STREAM,
      answer: namedEventsOf(start, delta("12345678"), failed),
      complete: false,
    });
    assert.deepEqual(left, late, "clients leave when they read an error");
    const early = figureOf(anthropic, { ...STREAM, answer: namedEventsOf(failed) });
    assert.deepEqual([early.units, early.quality], [{ request: 1 }, "none"]);
  });

  test("usage that cannot be is bounded, or makes an estimate", () => {
    const answerOf = (usage: string): string => `{"type":"message","content":[{"text":"12345678"}],"usage":${usage}}`;
    const read = (usage: string) => figureAt(anthropic, { ...CALL, answer: answerOf(usage) });
    const contradictory =
      '{"input_tokens":5,"output_tokens":3,"output_tokens_details":{"thinking_tokens":9},"cache_creation_input_tokens":4,"cache_creation":{"ephemeral_1h_input_tokens":9}}';
    assert.deepEqual(read(contradictory).units, { request: 1, input: 5, cache_write_1h: 4, reasoning: 3 });
    const parts =
      '{"input_tokens":5,"output_tokens":3,"cache_read_input_tokens":-1,"cache_creation_input_tokens":1e300,"server_tool_use":{"web_search_requests":"9"}}';
    assert.deepEqual(read(parts).units, { request: 1, input: 5, output: 3 });
    for (const sum of ["-1", "1.5", "1e300", '"7"', "true", "{}"]) {
      const figure = read(`{"input_tokens":${sum},"output_tokens":3}`);
      assert.deepEqual([figure.quality, figure.units.output], ["estimated", 2], sum);
    }
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.constantFrom("input_tokens", "output_tokens", "iterations", "cache_creation", "speed", "__proto__"),
          fc.jsonValue(),
        ),
        (usage) => {
          assertSane(read(JSON.stringify(usage)));
        },
      ),
    );
  });

  test("errors, counts of tokens, batches and everything else use nothing", () => {
    const answer = JSON.stringify({ type: "message", usage: START_USAGE });
    for (const call of [
      { ...CALL, status: 529, answer },
      { path: "/v1/messages/count_tokens", request: REQUEST, answer: '{"input_tokens":14}' },
      { path: "/v1/messages/batches", request: {}, answer },
      { method: "GET", path: "/v1/messages/batches/b/results", answer },
      { method: "GET", path: "/v1/models", answer },
    ]) {
      const figure = figureAt(anthropic, call);
      assert.deepEqual([figure.units, figure.quality], [{ request: 1 }, "none"], call.path);
    }
  });
});
