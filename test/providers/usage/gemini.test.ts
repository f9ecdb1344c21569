import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { gemini } from "../../../src/providers/usage/gemini.ts";
import { assertSane } from "./figure-check.ts";
import { type Call, EVENTS, eventsOf, figureAt, figureOf, variantsOf } from "./reading.ts";

/** Answers as Google's reference gives them: one, as events (`alt=sse`), and as the array that a stream is without it. */

const REQUEST = { contents: [{ role: "user", parts: [{ text: "Say hi" }] }] };
const MODEL = "/v1beta/models/gemini-2.5-flash";
const CALL = { path: `${MODEL}:generateContent`, request: REQUEST };
const STREAM = { path: `${MODEL}:streamGenerateContent`, request: REQUEST };

const FAKE = '"usageMetadata": {"promptTokenCount": 99999}}]\r\n\r\ndata: {"usageMetadata": {"promptTokenCount": 1}}';
const chunk = (text: string, usage: object, rest: object = {}, candidate: object = {}): object => ({
  candidates: [{ content: { parts: [{ text }], role: "model" }, index: 0, ...candidate }],
  usageMetadata: usage,
  modelVersion: "gemini-2.5-flash-001",
  responseId: "r",
  ...rest,
});
const USAGE = {
  promptTokenCount: 100,
  cachedContentTokenCount: 40,
  candidatesTokenCount: 14,
  toolUsePromptTokenCount: 7,
  thoughtsTokenCount: 24,
  totalTokenCount: 145,
  promptTokensDetails: [
    { modality: "TEXT", tokenCount: 70 },
    { modality: "AUDIO", tokenCount: 30 },
  ],
  cacheTokensDetails: [
    { modality: "TEXT", tokenCount: 30 },
    { modality: "AUDIO", tokenCount: 10 },
  ],
  candidatesTokensDetails: [
    { modality: "TEXT", tokenCount: 10 },
    { modality: "IMAGE", tokenCount: 4 },
  ],
};
const UNITS = { request: 1, input: 47, cached_input: 40, input_audio: 20, output: 10, output_image: 4, reasoning: 24 };
const FIRST = chunk(FAKE, { promptTokenCount: 100, totalTokenCount: 100 });
const LAST = chunk("!", USAGE, {}, { finishReason: "STOP" });

describe("content", () => {
  test("usage of an answer, of events and of an array is the same", () => {
    const answer = figureOf(gemini, { ...CALL, answer: JSON.stringify(LAST, null, 2) });
    assert.deepEqual(answer, {
      model: "gemini-2.5-flash-001",
      tier: null,
      units: UNITS,
      quality: "exact",
      partial: false,
      charged: null,
      failure: null,
    });
    const events = eventsOf(FIRST, LAST).replaceAll("\n", "\r\n");
    const sse: Call = { ...STREAM, query: "alt=sse", type: EVENTS, answer: events };
    assert.deepEqual(figureOf(gemini, sse), answer);
    for (const variant of variantsOf(eventsOf(FIRST, LAST)))
      assert.deepEqual(figureAt(gemini, { ...sse, answer: variant }), answer);
    const array = `[${JSON.stringify(FIRST, null, 2)}\n,\r\n${JSON.stringify(LAST, null, 2)}\n]\n`;
    assert.deepEqual(figureOf(gemini, { ...STREAM, answer: array }), answer);
  });

  test("a stream that breaks off counts what the last chunk said", () => {
    const middle = chunk("a", { promptTokenCount: 100, candidatesTokenCount: 3, totalTokenCount: 103 });
    const events = figureOf(gemini, { ...STREAM, type: EVENTS, answer: eventsOf(FIRST, middle), complete: false });
    assert.deepEqual(
      [events.units, events.quality, events.partial],
      [{ request: 1, input: 100, output: 3 }, "exact", true],
    );
    const array = `[${JSON.stringify(FIRST)},${JSON.stringify(middle)},{"candidates":[`;
    assert.deepEqual(figureOf(gemini, { ...STREAM, answer: array, complete: false }), events);
    const whole = figureAt(gemini, { ...STREAM, type: EVENTS, answer: eventsOf(FIRST, LAST), complete: false });
    assert.equal(whole.partial, false);
  });

  test("without usage it is estimated from what was asked and delivered", () => {
    const answer = JSON.stringify({ candidates: [{ content: { parts: [{ text: "12345678" }] } }] });
    const figure = figureOf(gemini, { ...CALL, answer });
    const input = Math.ceil(JSON.stringify(REQUEST).length / 4);
    assert.deepEqual(
      [figure.units, figure.quality, figure.model],
      [{ request: 1, input, output: 2 }, "estimated", "gemini-2.5-flash"],
    );
  });

  test("searches are billed once for a prompt before the third generation, and each from then on", () => {
    const grounded = { groundingMetadata: { webSearchQueries: ["a", "", "b", "c"] } };
    const searched = (model: string): number | undefined => {
      const answer = eventsOf(
        chunk("x", USAGE, { modelVersion: model }, grounded),
        chunk("y", USAGE, { modelVersion: model }, grounded),
      );
      return figureAt(gemini, { ...STREAM, type: EVENTS, answer }).units.web_search;
    };
    assert.deepEqual([searched("gemini-2.5-pro"), searched("gemini-3-flash-preview")], [1, 3]);
  });

  test("an error inside a stream is told", () => {
    const error = { error: { code: 503, message: "The model is overloaded.", status: "UNAVAILABLE" } };
    const figure = figureOf(gemini, { ...STREAM, type: EVENTS, answer: eventsOf(error) });
    const left = figureAt(gemini, { ...STREAM, type: EVENTS, answer: eventsOf(error), complete: false });
    assert.deepEqual(left, figure, "clients leave when they read an error");
    assert.deepEqual(
      [figure.failure, figure.units, figure.quality],
      ["503: The model is overloaded.", { request: 1 }, "none"],
    );
    const array = figureOf(gemini, { ...STREAM, answer: `[${JSON.stringify(error)}]` });
    assert.equal(array.failure, figure.failure);
  });

  test("usage that cannot be is bounded, or makes an estimate", () => {
    const read = (usage: unknown) => {
      const figure = figureAt(gemini, { ...CALL, answer: JSON.stringify(chunk("12345678", usage as object)) });
      assertSane(figure);
      return figure;
    };
    const over = {
      promptTokenCount: 5,
      candidatesTokenCount: 3,
      cachedContentTokenCount: 99,
      promptTokensDetails: [{ modality: "AUDIO", tokenCount: 99 }],
      candidatesTokensDetails: [
        { modality: "IMAGE", tokenCount: 99 },
        { modality: "AUDIO", tokenCount: 99 },
      ],
    };
    assert.deepEqual(read(over).units, { request: 1, cached_input: 5, output_image: 3 });
    assert.deepEqual(read({ promptTokenCount: 5, thoughtsTokenCount: -1, totalTokenCount: 9 }).units, {
      request: 1,
      input: 5,
      output: 4,
    });
    for (const sum of [-1, 1.5, 1e300, "7", true, {}]) {
      assert.equal(read({ promptTokenCount: sum, candidatesTokenCount: 1 }).quality, "estimated");
      assert.equal(read({ promptTokenCount: 1, candidatesTokenCount: sum }).quality, "estimated");
    }
    const names = fc.constantFrom(
      "promptTokenCount",
      "candidatesTokenCount",
      "totalTokenCount",
      "promptTokensDetails",
      "serviceTier",
    );
    fc.assert(fc.property(fc.dictionary(names, fc.jsonValue()), (usage) => void read(usage)));
  });
});

describe("everything else", () => {
  test("embeddings are exact when they tell, and estimated from their text when not", () => {
    const request = { content: { parts: [{ text: "12345678" }] }, outputDimensionality: 768 };
    const call = { path: "/v1beta/models/gemini-embedding-001:embedContent", request };
    const told = figureOf(gemini, {
      ...call,
      answer: '{"embedding":{"values":[0.1]},"usageMetadata":{"promptTokenCount":3}}',
    });
    assert.deepEqual(
      [told.units, told.quality, told.model],
      [{ request: 1, input: 3 }, "exact", "gemini-embedding-001"],
    );
    const silent = figureOf(gemini, { ...call, answer: '{"embedding":{"values":[0.1]}}' });
    assert.deepEqual([silent.units, silent.quality], [{ request: 1, input: 2 }, "estimated"]);
    const batch = {
      requests: [{ content: { parts: [{ text: "1234" }] } }, { content: { parts: [{ text: "5678" }] } }],
    };
    const many = figureAt(gemini, {
      path: "/v1beta/models/m:batchEmbedContents",
      request: batch,
      answer: '{"embeddings":[]}',
    });
    assert.deepEqual(many.units, { request: 1, input: 2 });
  });

  test("pictures are counted", () => {
    const call = {
      path: "/v1beta/models/imagen-4.0-generate-001:predict",
      request: { parameters: { sampleCount: 4 } },
    };
    const figure = figureOf(gemini, { ...call, answer: '{"predictions":[{"bytesBase64Encoded":"AA"},{"x":1}]}' });
    assert.deepEqual([figure.units, figure.quality], [{ request: 1, image: 2 }, "exact"]);
    assert.equal(figureAt(gemini, { ...call, answer: "{}" }).quality, "none");
  });

  test("counting tokens, lists and errors use nothing", () => {
    const answer = JSON.stringify(LAST);
    for (const call of [
      { path: `${MODEL}:countTokens`, request: REQUEST, answer: '{"totalTokens":9}' },
      { method: "GET", path: "/v1beta/models", answer },
      { path: "/v1beta/cachedContents", request: {}, answer },
      { ...CALL, status: 429, answer },
    ]) {
      const figure = figureAt(gemini, call);
      assert.deepEqual([figure.units, figure.quality], [{ request: 1 }, "none"], call.path);
    }
  });
});
