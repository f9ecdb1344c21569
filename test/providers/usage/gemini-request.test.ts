import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { gemini } from "../../../src/providers/usage/gemini.ts";
import type { RequestFacts } from "../../../src/providers/usage/usage.ts";
import { factsOf, headOf } from "./reading.ts";

const PLAIN = { contents: [{ role: "user", parts: [{ text: "Hello" }] }], generationConfig: { maxOutputTokens: 500 } };
const read = (request: unknown, model = "gemini-2.5-pro"): RequestFacts =>
  factsOf(gemini, { path: `/v1beta/models/${model}:streamGenerateContent`, request });
const lengthOf = (request: unknown): number => Buffer.byteLength(JSON.stringify(request));
const parts = (...each: readonly object[]) => ({ contents: [{ parts: each }] });

describe("a request for content", () => {
  test("is bounded by its length, the limit and the number of candidates", () => {
    assert.deepEqual(read(PLAIN), {
      operation: "generate",
      model: "gemini-2.5-pro",
      stream: true,
      canAsk: false,
      expected: { request: 1, input: Math.ceil(lengthOf(PLAIN) / 4), output: 500 },
      atMost: { request: 1, input: lengthOf(PLAIN) + 300, output: 500 },
    });
    const two = { ...PLAIN, generationConfig: { maxOutputTokens: 500, candidateCount: 2 } };
    assert.deepEqual([read(two).expected.output, read(two).atMost?.output], [1000, 1000]);
    const snake = { contents: PLAIN.contents, generation_config: { max_output_tokens: 70, candidate_count: 3 } };
    assert.equal(read(snake).atMost?.output, 210);
    const both = { ...PLAIN, generation_config: { max_output_tokens: 900 } };
    assert.equal(read(both).atMost?.output, 900);
    const tools = {
      ...PLAIN,
      tools: [{ functionDeclarations: [{ name: "f" }] }],
      systemInstruction: { parts: [{ text: "x" }] },
    };
    assert.equal(read(tools).atMost?.input, lengthOf(tools) + 1300);
  });

  test("has no bound with files, searches, code, stored content, or another kind of answer", () => {
    const unbounded: readonly object[] = [
      parts({ inlineData: { mimeType: "image/png", data: "AAAA" } }),
      parts({ text: "a" }, { file_data: { file_uri: "https://x" } }),
      parts({ somethingNew: {} }),
      { contents: { parts: [{ text: "a" }, { fileData: {} }] } },
      { contents: [{ parts: { file_data: { file_uri: "https://x" } } }] },
      { contents: { parts: { inlineData: { data: "AAAA" } } } },
      { systemInstruction: { parts: [{ inlineData: { data: "AAAA" } }] } },
      { system_instruction: { parts: { fileData: {} } } },
      { tools: { googleSearch: {} } },
      { tools: [{ googleSearch: {} }] },
      { tools: [{ functionDeclarations: [] }, { code_execution: {} }] },
      { tools: [{ url_context: {} }] },
      { cachedContent: "cachedContents/1" },
      { service_tier: "priority" },
      { generationConfig: { maxOutputTokens: 500, responseModalities: ["IMAGE"] } },
      { generationConfig: {} },
      { generationConfig: { maxOutputTokens: "500" } },
      { generationConfig: { maxOutputTokens: 500, candidateCount: -1 } },
    ];
    for (const change of unbounded) assert.equal(read({ ...PLAIN, ...change }).atMost, null, JSON.stringify(change));
    const single = { contents: { parts: { text: "a" } }, system_instruction: { parts: { text: "b" } } };
    assert.notEqual(read({ ...PLAIN, ...single }).atMost, null);
    assert.equal(read(PLAIN, "gemini-2.5-flash-image").atMost, null);
    assert.equal(read(PLAIN, "gemini-2.5-flash-preview-tts").atMost, null);
    assert.notEqual(read({ ...PLAIN, serviceTier: "flex" }).atMost, null);
  });

  test("counts a picture as a picture and not as its bytes", () => {
    const picture = parts(
      { inline_data: { mime_type: "image/png", data: "A".repeat(400_000) } },
      { text: "what is it" },
    );
    const input = read({ ...PLAIN, ...picture }).expected.input ?? 0;
    assert.ok(input > 1000 && input < 1200, String(input));
  });

  test("only calls of models are looked at", () => {
    const needs = (path: string, method = "POST"): boolean => gemini.needsBody(headOf({ path, method, request: {} }));
    assert.equal(needs("/v1beta/models/m:generateContent"), true);
    assert.equal(needs("/v1/models/m:embedContent"), true);
    assert.equal(needs("/v1beta/tunedModels/m:generateContent"), true);
    assert.equal(needs("/v1beta/models/m:countTokens"), false);
    assert.equal(needs("/v1beta/models/m:generateContent", "GET"), false);
    assert.equal(needs("/v1beta/models"), false);
  });
});
