import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { loadCatalog } from "../../../src/providers/catalog.ts";
import { parseProvider } from "../../../src/providers/schema.ts";
import { DIALECT_NAMES, dialectOf } from "../../../src/providers/usage/dialects.ts";
import { CHAT_STREAM, CHAT_UNITS, GEMINI_COMPATIBLE_STREAM } from "./openai-transcripts.ts";
import { EVENTS, factsOf, figureOf } from "./reading.ts";

const { providers } = loadCatalog(join(import.meta.dirname, "../../../config/providers"));

function dialectFor(id: string): ReturnType<typeof dialectOf> {
  const provider = providers.get(id);
  assert.ok(provider, id);
  return dialectOf(provider);
}

describe("dialects", () => {
  test("every provider of the catalog says which one it speaks", () => {
    for (const { id, usage } of providers.values()) assert.ok(usage && DIALECT_NAMES.includes(usage.dialect), id);
    const used = new Set([...providers.values()].map(({ usage }) => usage?.dialect));
    assert.deepEqual([...used].sort(), [...DIALECT_NAMES].sort());
  });

  test("a provider that does not say is billed by the call", () => {
    assert.equal(dialectOf({ usage: null }), dialectOf({ usage: { dialect: "per-call" } }));
  });

  test("a word that is none of them is refused, with those that are", () => {
    const file = `id: x
name: X
category: ai
docs: https://example.com/docs
sources: ["a test (R)"]
environments: { live: { hosts: [api.example.com] } }
fields: {}
auth: [ { scheme: none } ]
usage: { dialect: openia }
`;
    assert.throws(
      () => parseProvider(file, "x.yaml"),
      /x\.yaml:9 usage\.dialect: must be one of alpha-vantage, anthropic, .*, openai, /,
    );
    for (const name of ["__proto__", "constructor", "toString"]) {
      assert.throws(() => parseProvider(file.replace("openia", name), "x.yaml"), /must be one of/);
    }
    assert.equal(parseProvider(file.replace("openia", "openai"), "x.yaml").usage?.dialect, "openai");
  });

  test("streams are asked for their usage where that is documented, and nowhere else", () => {
    const request = { model: "m", messages: [], stream: true };
    const asked = [...providers.values()].filter((provider) => {
      return factsOf(dialectOf(provider), { path: "/v1/chat/completions", request }).canAsk;
    });
    assert.deepEqual(asked.map(({ id }) => id).sort(), ["azure-openai", "openai", "xai"]);
    for (const { id } of asked) assert.ok(dialectFor(id).askForUsage && dialectFor(id).hideAsked);
  });
});

describe("providers that speak OpenAI's language too", () => {
  const request = { model: "m", messages: [{ role: "user", content: "hi" }], stream: true };

  test("are read by its rules on its paths, and by their own elsewhere", () => {
    const call = { request, type: EVENTS, answer: CHAT_STREAM };
    for (const [id, path] of [
      ["anthropic", "/v1/chat/completions"],
      ["cohere", "/compatibility/v1/chat/completions"],
    ] as const) {
      assert.deepEqual(figureOf(dialectFor(id), { ...call, path }).units, CHAT_UNITS);
      assert.equal(factsOf(dialectFor(id), { path, request }).operation, "openai.chat");
    }
    const gemini = { ...call, path: "/v1beta/openai/chat/completions", answer: GEMINI_COMPATIBLE_STREAM };
    assert.deepEqual(figureOf(dialectFor("gemini"), gemini).units, {
      request: 1,
      input: 11,
      output: 14,
      reasoning: 24,
    });
    const listed = { method: "GET", path: "/v1beta/openai/models", answer: '{"usage":{"prompt_tokens":9}}' };
    assert.deepEqual(figureOf(dialectFor("gemini"), listed).units, { request: 1 });
    const own = {
      path: "/v1/messages",
      request: { model: "m", max_tokens: 9 },
      answer: '{"type":"message","usage":{"input_tokens":3,"output_tokens":4}}',
    };
    assert.deepEqual(figureOf(dialectFor("anthropic"), own).units, { request: 1, input: 3, output: 4 });
  });
});
