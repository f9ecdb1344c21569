import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { openAi, openAiShaped, openRouter, xai } from "../../../src/providers/usage/openai.ts";
import type { RequestFacts } from "../../../src/providers/usage/usage.ts";
import { factsOf, headOf } from "./reading.ts";

const CHAT_PATH = "/v1/chat/completions";
const MESSAGES = [{ role: "user", content: "Say hi in Portuguese" }];
const PLAIN = { model: "gpt-5-mini", messages: MESSAGES, max_completion_tokens: 400 };
const FRAME = 300;
const TOOLS = 1000;

const chat = (request: unknown): RequestFacts => factsOf(openAi, { path: CHAT_PATH, request });
const response = (request: unknown): RequestFacts => factsOf(openAi, { path: "/v1/responses", request });
const lengthOf = (request: unknown): number => Buffer.byteLength(JSON.stringify(request));

describe("a request for a chat", () => {
  test("uses about a token for four bytes, and what it allows the answer to have", () => {
    const facts = chat(PLAIN);
    assert.deepEqual(facts, {
      operation: "chat",
      model: "gpt-5-mini",
      stream: false,
      canAsk: false,
      expected: { request: 1, input: Math.ceil(lengthOf(PLAIN) / 4), output: 400 },
      atMost: { request: 1, cache_write: lengthOf(PLAIN) + FRAME, output: 400 },
    });
    assert.equal(chat({ ...PLAIN, n: 3 }).expected.output, 1200);
    assert.equal(chat({ ...PLAIN, n: 3 }).atMost?.output, 1200);
    assert.equal(chat({ ...PLAIN, max_tokens: 900 }).atMost?.output, 900);
    const { max_completion_tokens: _, ...open } = PLAIN;
    assert.deepEqual([chat(open).expected.output, chat(open).atMost], [1000, null]);
  });

  test("with functions of its own has a bound, which leaves room for what the provider adds", () => {
    const tools = [
      { type: "function", function: { name: "f" } },
      { type: "custom", custom: { name: "g" } },
    ];
    assert.equal(chat({ ...PLAIN, tools }).atMost?.cache_write, lengthOf({ ...PLAIN, tools }) + FRAME + TOOLS);
  });

  test("has no bound when something in it is not in it, or is not known", () => {
    const parts = (...content: readonly object[]) => ({ messages: [{ role: "user", content }] });
    const unbounded: readonly object[] = [
      parts({ type: "image_url", image_url: { url: "https://x/y.png" } }),
      parts({ type: "text", text: "a" }, { type: "input_audio", input_audio: { data: "AAAA", format: "wav" } }),
      parts({ type: "file", file: { file_id: "file-1" } }),
      parts({ text: "no type" }),
      { messages: [{ role: "assistant", audio: { id: "audio_1" } }] },
      { tools: [{ type: "web_search" }] },
      { tools: [{ function: { name: "f" } }] },
      { web_search_options: {} },
      { plugins: [{ id: "web" }] },
      { MAX_TOKENS: 9 },
      { modalities: ["audio"] },
      { prediction: { type: "content", content: "x" } },
      { service_tier: "priority" },
      { model: "gpt-4o-search-preview" },
      { model: "gpt-audio" },
      { model: "openai/gpt-4o:online" },
      { model: 7 },
      { n: "2" },
      { n: 1.5 },
      { max_completion_tokens: -1 },
      { max_completion_tokens: "400" },
      { max_completion_tokens: 1e300 },
      { max_completion_tokens: null },
    ];
    for (const change of unbounded) assert.equal(chat({ ...PLAIN, ...change }).atMost, null, JSON.stringify(change));
    const bounded: readonly object[] = [
      parts({ type: "text", text: "a" }, { type: "refusal", refusal: "b" }),
      { service_tier: "flex" },
      { service_tier: "auto" },
      { n: null, tools: [], temperature: 1, stop: ["x"], response_format: { type: "json_schema" } },
    ];
    for (const change of bounded) assert.notEqual(chat({ ...PLAIN, ...change }).atMost, null, JSON.stringify(change));
  });

  test("has no bound when two readers could read it differently, or it was not read whole", () => {
    const text = JSON.stringify(PLAIN);
    const doubtful = [
      text.replace("}", ',"max_completion_tokens":9}').replace(/}$/, ',"max_completion_tokens":99}'),
      `${text.slice(0, -1)},"max_completion\\u005ftokens":9}`,
      `${text.slice(0, -1)},"n":1.${"0".repeat(20_000)}}`,
      `${text} {}`,
      text.slice(0, -1),
      text.replaceAll('"', "'"),
      "",
      "[]",
    ];
    for (const request of doubtful) assert.equal(chat(request).atMost, null, request.slice(0, 80));
    const bytes = Buffer.from(text);
    const head = headOf({ path: CHAT_PATH, request: {} });
    const windowed = openAi.readRequest(head, { bytes, whole: false, length: 8_000_000 });
    assert.deepEqual([windowed.atMost, windowed.expected.input, windowed.model], [null, 2_000_000, "gpt-5-mini"]);
  });

  test("counts a picture that is longer than the window as one picture, wherever the window ends", () => {
    const url = `data:image/png;base64,${"A".repeat(400_000)}`;
    const content = [{ type: "image_url", image_url: { url } }];
    const request = { ...PLAIN, messages: [{ role: "user", content }] };
    const bytes = Buffer.from(JSON.stringify(request));
    const textBefore = bytes.indexOf("data:image");
    for (const end of [textBefore, textBefore + 1, 100_000, 300_001]) {
      const window = { bytes: bytes.subarray(0, end), whole: false, length: bytes.length };
      const { expected, atMost } = openAi.readRequest(headOf({ path: CHAT_PATH, request: {} }), window);
      assert.deepEqual([expected.input, atMost], [1000 + Math.ceil(textBefore / 4), null], `up to byte ${end}`);
    }
  });

  test("counts a picture as a picture and not as its bytes", () => {
    const url = `data:image/png;base64,${"A".repeat(400_000)}`;
    const facts = chat({
      ...PLAIN,
      messages: [{ role: "user", content: [{ type: "image_url", image_url: { url } }] }],
    });
    assert.ok((facts.expected.input ?? 0) > 1000 && (facts.expected.input ?? 0) < 1200);
  });

  test("is only text: whatever it holds, the bound is not below what any tokenizer can make of it", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string(), (content, system) => {
        const messages = [
          { role: "system", content: system },
          { role: "user", content },
        ];
        const bound = chat({ ...PLAIN, messages }).atMost?.cache_write ?? 0;
        assert.ok(bound >= Buffer.byteLength(content) + Buffer.byteLength(system) + 2 * "system".length);
      }),
    );
  });

  test("has no bound where the provider adds a prompt that it does not show", () => {
    assert.equal(factsOf(xai, { path: CHAT_PATH, request: PLAIN }).atMost, null);
    assert.deepEqual(factsOf(xai, { method: "GET", path: "/v1/models" }).atMost, { request: 1 });
  });
});

describe("a legacy completion", () => {
  const complete = (request: unknown): RequestFacts => factsOf(openAi, { path: "/v1/completions", request });
  test("is made for every prompt, as often as the best of it needs", () => {
    const facts = complete({
      model: "gpt-3.5-turbo-instruct",
      prompt: ["a", "b", "c"],
      max_tokens: 10,
      n: 2,
      best_of: 4,
    });
    assert.deepEqual([facts.expected.output, facts.atMost?.output], [120, 120]);
    assert.equal(complete({ model: "m", prompt: "a", max_tokens: 10 }).atMost?.output, 10);
    assert.equal(complete({ model: "m", prompt: [1, 2, 3], max_tokens: 10 }).atMost, null);
    assert.equal(complete({ model: "m", prompt: "a" }).atMost, null);
  });
});

describe("a request for a response", () => {
  const plain = { model: "gpt-5", input: "Say hi", max_output_tokens: 300 };
  test("has the same bounds", () => {
    assert.deepEqual(response(plain).atMost, { request: 1, cache_write: lengthOf(plain) + FRAME, output: 300 });
    const items = [
      { role: "user", content: "x" },
      { type: "message", role: "assistant", content: [{ type: "output_text", text: "y" }] },
      { type: "function_call", call_id: "c", name: "f", arguments: "{}" },
      { type: "function_call_output", call_id: "c", output: "z" },
    ];
    assert.notEqual(response({ ...plain, input: items, tools: [{ type: "function", name: "f" }] }).atMost, null);
  });

  test("has none with anything that is stored, searched, run or drawn elsewhere", () => {
    const unbounded: readonly object[] = [
      { previous_response_id: "resp_1" },
      { conversation: "conv_1" },
      { prompt: { id: "pmpt_1" } },
      { background: true },
      { context_management: [] },
      { tools: [{ type: "web_search" }] },
      { tools: [{ type: "code_interpreter", container: {} }] },
      { tools: [{ type: "mcp", server_url: "https://x" }] },
      { input: [{ type: "item_reference", id: "msg_1" }] },
      { input: [{ id: "msg_1" }] },
      { input: [{ role: "user", content: [{ type: "input_image", image_url: "https://x" }] }] },
      { input: [{ role: "user", content: [{ type: "input_file", file_id: "f" }] }] },
      { input: [{ type: "function_call_output", call_id: "c", output: [{ type: "input_image" }] }] },
      { max_output_tokens: null },
      { model: "o3-deep-research" },
    ];
    for (const change of unbounded)
      assert.equal(response({ ...plain, ...change }).atMost, null, JSON.stringify(change));
  });
});

describe("other requests", () => {
  test("embeddings have no output", () => {
    const request = { model: "text-embedding-3-small", input: ["a", "b"] };
    const facts = factsOf(openAi, { path: "/v1/embeddings", request });
    assert.deepEqual(facts.expected, { request: 1, input: Math.ceil(lengthOf(request) / 4) });
    assert.deepEqual(facts.atMost, { request: 1, input: lengthOf(request) + FRAME });
    assert.equal(
      factsOf(openAi, { path: "/v1/embeddings", request: { input: [{ image: "https://x" }] } }).atMost,
      null,
    );
  });

  test("pictures are counted, or in tokens by their quality", () => {
    const images = (request: object): RequestFacts => factsOf(openAi, { path: "/v1/images/generations", request });
    assert.deepEqual(images({ model: "dall-e-3", prompt: "x", n: 2 }).expected, { request: 1, image: 2 });
    assert.deepEqual(images({ model: "gpt-image-1", prompt: "12345678", n: 2, quality: "high" }).expected, {
      request: 1,
      input: 2,
      output_image: 8320,
    });
    assert.equal(images({ model: "gpt-image-1", prompt: "x" }).atMost, null);
  });

  test("recordings are known by their size only", () => {
    const head = headOf({ path: "/v1/audio/transcriptions", requestType: "multipart/form-data; boundary=x" });
    assert.equal(openAi.needsBody(head), false);
    assert.deepEqual(openAi.readRequest(head, null).expected, { request: 1 });
    const facts = openAi.readRequest(head, { bytes: Buffer.alloc(10), whole: false, length: 320_000 });
    assert.deepEqual([facts.expected, facts.atMost], [{ request: 1, second: 20 }, null]);
  });

  test("only bodies that are JSON and are billed are looked at", () => {
    const needs = (path: string, method = "POST", requestType = "application/json"): boolean =>
      openAi.needsBody(headOf({ path, method, requestType }));
    for (const path of [
      "/v1/chat/completions",
      "/v1/responses",
      "/openai/deployments/d/embeddings",
      "/chat/completions/",
      "/v1/audio/speech",
      "/v1/moderations",
    ]) {
      assert.equal(needs(path), true, path);
    }
    assert.equal(needs(CHAT_PATH, "POST", "application/json; charset=utf-8"), true);
    assert.equal(needs(CHAT_PATH, "POST", "application/vnd.api+json"), true);
    assert.equal(needs(CHAT_PATH, "GET"), false);
    assert.equal(needs(CHAT_PATH, "POST", "multipart/form-data"), false);
    assert.equal(needs(CHAT_PATH, "POST", ""), false);
    for (const path of ["/v1/models", "/v1/files", "/v1/responses/input_tokens", "/v1/batches"])
      assert.equal(needs(path), false, path);
  });

  test("what costs nothing is bounded, what is not known is not", () => {
    assert.deepEqual(factsOf(openAi, { method: "GET", path: "/v1/models" }).atMost, { request: 1 });
    assert.deepEqual(factsOf(openAi, { path: "/v1/files", requestType: "multipart/form-data" }).atMost, { request: 1 });
    assert.equal(factsOf(openAi, { path: "/v1/batches", request: {} }).atMost, null);
    assert.equal(factsOf(openAi, { path: "/v1/threads/t/runs", request: {} }).atMost, null);
  });
});

describe("whether a stream can be asked for its usage", () => {
  const stream = { ...PLAIN, stream: true };
  const canAsk = (request: unknown, path = CHAT_PATH, query = ""): boolean =>
    factsOf(openAi, { path, query, request }).canAsk;

  test("it can when it is a stream of a chat that does not ask by itself", () => {
    assert.equal(canAsk(stream), true);
    assert.equal(canAsk({ ...stream, stream_options: { include_usage: false } }), true);
    assert.equal(canAsk({ model: "m", prompt: "x", stream: true }, "/v1/completions"), true);
    assert.equal(canAsk(PLAIN), false);
    assert.equal(canAsk({ ...stream, stream: "true" }), false);
    assert.equal(canAsk({ ...stream, stream_options: { include_usage: true } }), false);
    assert.equal(canAsk(`${JSON.stringify(stream).slice(0, -1)},"stream":true}`), false);
    assert.equal(canAsk({ model: "m", input: "x", stream: true }, "/v1/responses"), false);
    const head = headOf({ path: CHAT_PATH, request: {} });
    const bytes = Buffer.from(JSON.stringify(stream));
    assert.equal(openAi.readRequest(head, { bytes, whole: false, length: null }).canAsk, false);
  });

  test("Azure is asked from the version on that knows how", () => {
    const path = "/openai/deployments/d/chat/completions";
    for (const version of ["2024-09-01-preview", "2024-10-21", "2025-01-01-preview", "preview"]) {
      assert.equal(canAsk(stream, path, `api-version=${version}`), true, version);
    }
    for (const query of ["", "api-version=2024-08-01-preview", "api-version=2024-06-01", "api-version=2023-05-15"]) {
      assert.equal(canAsk(stream, path, query), false, query);
    }
    assert.equal(canAsk(stream, "/openai/v1/chat/completions"), true);
  });

  test("only providers that do not report by themselves are asked", () => {
    assert.equal(factsOf(xai, { path: CHAT_PATH, request: stream }).canAsk, true);
    for (const dialect of [openAiShaped, openRouter]) {
      assert.equal(factsOf(dialect, { path: CHAT_PATH, request: stream }).canAsk, false);
      assert.deepEqual([dialect.askForUsage, dialect.hideAsked], [null, null]);
    }
    assert.ok(openAi.askForUsage && openAi.hideAsked);
  });
});

test("whatever a body is, reading it never fails", () => {
  const names = fc.constantFrom(
    "model",
    "messages",
    "input",
    "n",
    "max_tokens",
    "tools",
    "stream",
    "stream_options",
    "prompt",
    "content",
    "type",
  );
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      fc.jsonValue({ maxDepth: 1 }),
      fc.array(tie("tree"), { maxLength: 3 }),
      fc.dictionary(names, tie("tree"), { maxKeys: 4 }),
    ),
  }));
  const paths = fc.constantFrom(
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/images/generations",
    "/v1/audio/speech",
    "/v1/moderations",
    "/v1/messages",
  );
  fc.assert(
    fc.property(
      paths,
      fc.oneof(
        tree.map((value) => JSON.stringify(value) ?? ""),
        fc.string(),
      ),
      (path, request) => {
        const facts = factsOf(openAi, { path, request });
        for (const units of [facts.expected, facts.atMost ?? {}]) {
          for (const count of Object.values(units)) assert.ok(Number.isInteger(count) && count >= 0 && count <= 1e12);
        }
      },
    ),
    { numRuns: 1000 },
  );
});
