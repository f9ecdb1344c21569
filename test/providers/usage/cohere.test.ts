import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { cohere } from "../../../src/providers/usage/cohere.ts";
import { assertSane } from "./figure-check.ts";
import { EVENTS, factsOf, figureAt, figureOf, headOf, namedEventsOf, variantsOf } from "./reading.ts";

/** Answers and streams as Cohere's reference gives them, in both versions of its API. */

const REQUEST = {
  model: "command-a-03-2025",
  messages: [{ role: "user", content: "What is an LLM?" }],
  max_tokens: 300,
};
const CALL = { path: "/v2/chat", request: REQUEST };
const USAGE = {
  billed_units: { input_tokens: 5, output_tokens: 418 },
  tokens: { input_tokens: 71, output_tokens: 418 },
};
const UNITS = { request: 1, input: 5, output: 418 };
const FAKE = '"usage":{"billed_units":{"input_tokens":99999}}';
type Event = { readonly type: string };

const STREAM = namedEventsOf(
  { type: "message-start", id: "m", delta: { message: { role: "assistant" } } } as Event,
  { type: "content-delta", index: 0, delta: { message: { content: { text: FAKE } } } } as Event,
  {
    type: "tool-call-delta",
    index: 0,
    delta: { message: { tool_calls: { function: { arguments: '{"usage":1}' } } } },
  } as Event,
  { type: "message-end", delta: { finish_reason: "COMPLETE", usage: USAGE } } as Event,
);

describe("version 2", () => {
  test("usage of an answer and of a stream is what is billed", () => {
    const answer = JSON.stringify({ id: "1", message: { content: [{ type: "text", text: FAKE }] }, usage: USAGE });
    const figure = figureOf(cohere, { ...CALL, answer });
    assert.deepEqual([figure.units, figure.quality, figure.model], [UNITS, "exact", "command-a-03-2025"]);
    assert.deepEqual(figureOf(cohere, { ...CALL, type: EVENTS, answer: STREAM }), figure);
    for (const variant of variantsOf(STREAM))
      assert.deepEqual(figureAt(cohere, { ...CALL, type: EVENTS, answer: variant }), figure);
  });

  test("a client that leaves after the last event leaves a figure that is whole", () => {
    const figure = figureAt(cohere, { ...CALL, type: EVENTS, answer: STREAM, complete: false });
    assert.deepEqual([figure.units, figure.partial], [UNITS, false]);
  });

  test("a stream that breaks off counts what was delivered", () => {
    const cut = STREAM.slice(0, STREAM.indexOf("event: tool-call-delta"));
    const figure = figureOf(cohere, { ...CALL, type: EVENTS, answer: cut, complete: false });
    const delivered = Math.ceil((JSON.stringify(FAKE).length - 2) / 4);
    assert.deepEqual([figure.units.output, figure.quality, figure.partial], [delivered, "estimated", true]);
  });
});

describe("version 1", () => {
  test("usage is in meta, and in the last line of a stream", () => {
    const meta = { api_version: { version: "1" }, billed_units: { input_tokens: 5.0, output_tokens: 418 }, tokens: {} };
    const call = { path: "/v1/chat", request: { message: "hi" } };
    const figure = figureOf(cohere, { ...call, answer: JSON.stringify({ text: FAKE, meta }) });
    assert.deepEqual([figure.units, figure.quality], [UNITS, "exact"]);
    const lines = [
      { event_type: "stream-start" },
      { event_type: "text-generation", text: FAKE },
      { event_type: "stream-end", response: { text: FAKE, meta } },
    ];
    const answer = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
    assert.deepEqual(figureOf(cohere, { ...call, type: "application/stream+json", answer }), figure);
  });

  test("embeddings are tokens, rerankings are search units", () => {
    const embed = figureOf(cohere, {
      path: "/v1/embed",
      request: { model: "e", texts: ["x"] },
      answer: '{"embeddings":[[0.1]],"meta":{"billed_units":{"input_tokens":9}}}',
    });
    assert.deepEqual([embed.units, embed.quality], [{ request: 1, input: 9 }, "exact"]);
    const rerank = figureOf(cohere, {
      path: "/v2/rerank",
      request: { model: "r", documents: Array.from({ length: 250 }, () => "d") },
      answer: '{"results":[],"meta":{"billed_units":{"search_units":3}}}',
    });
    assert.deepEqual([rerank.units, rerank.quality], [{ request: 1, credit: 3 }, "exact"]);
  });
});

test("usage that cannot be makes an estimate", () => {
  const read = (billed: unknown) => {
    const figure = figureAt(cohere, {
      ...CALL,
      answer: JSON.stringify({ message: { content: [{ text: "1234" }] }, usage: { billed_units: billed } }),
    });
    assertSane(figure);
    return figure;
  };
  for (const sum of [-1, 1.5, 1e300, "7", {}])
    assert.equal(read({ input_tokens: 3, output_tokens: sum }).quality, "estimated");
  for (const billed of [null, {}, [], "x", { tokens: 3 }]) assert.equal(read(billed).quality, "estimated");
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom("input_tokens", "output_tokens", "search_units"), fc.jsonValue()),
      (billed) => void read(billed),
    ),
  );
});

describe("a request", () => {
  const bytes = Buffer.byteLength(JSON.stringify(REQUEST));
  test("for a chat is bounded when it is text and nothing else", () => {
    const facts = factsOf(cohere, CALL);
    assert.deepEqual(facts.expected, { request: 1, input: Math.ceil(bytes / 4), output: 300 });
    assert.deepEqual(facts.atMost, { request: 1, input: bytes + 300, output: 300 });
    const unbounded: readonly object[] = [
      { max_tokens: null },
      { connectors: [{ id: "web-search" }] },
      { conversation_id: "c" },
      { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "https://x" } }] }] },
    ];
    for (const change of unbounded)
      assert.equal(factsOf(cohere, { ...CALL, request: { ...REQUEST, ...change } }).atMost, null);
  });

  test("for embeddings has no output, for a reranking a unit for a hundred documents", () => {
    const request = { model: "e", texts: ["x"], input_type: "search_query" };
    assert.deepEqual(factsOf(cohere, { path: "/v2/embed", request }).atMost, {
      request: 1,
      input: JSON.stringify(request).length + 300,
    });
    assert.equal(factsOf(cohere, { path: "/v2/embed", request: { images: ["data:"] } }).atMost, null);
    assert.deepEqual(factsOf(cohere, { path: "/v2/rerank", request: { documents: ["a"] } }).expected, {
      request: 1,
      credit: 1,
    });
  });

  test("is looked at when it is billed", () => {
    const needs = (path: string, method = "POST"): boolean => cohere.needsBody(headOf({ path, method, request: {} }));
    assert.deepEqual(
      [needs("/v2/chat"), needs("/v1/rerank"), needs("/v1/tokenize"), needs("/v1/models", "GET")],
      [true, true, false, false],
    );
    assert.deepEqual(factsOf(cohere, { path: "/v1/tokenize", request: {} }).atMost, { request: 1 });
    assert.equal(factsOf(cohere, { path: "/v1/datasets", request: {} }).atMost, null);
    assert.equal(figureAt(cohere, { ...CALL, status: 429, answer: "{}" }).quality, "none");
  });
});
