import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { anthropic } from "../../../src/providers/usage/anthropic.ts";
import type { RequestFacts } from "../../../src/providers/usage/usage.ts";
import { factsOf, headOf } from "./reading.ts";

const PLAIN = { model: "claude-sonnet-4", max_tokens: 1024, messages: [{ role: "user", content: "Hello" }] };
const read = (request: unknown): RequestFacts => factsOf(anthropic, { path: "/v1/messages", request });
const lengthOf = (request: unknown): number => Buffer.byteLength(JSON.stringify(request));
const content = (...parts: readonly object[]) => ({ messages: [{ role: "user", content: parts }] });

describe("a request for a message", () => {
  test("is bounded by its length and by max_tokens", () => {
    assert.deepEqual(read(PLAIN), {
      operation: "messages",
      model: "claude-sonnet-4",
      stream: false,
      canAsk: false,
      expected: { request: 1, input: Math.ceil(lengthOf(PLAIN) / 4), output: 1024 },
      atMost: { request: 1, input: lengthOf(PLAIN) + 300, output: 1024 },
    });
    const rich = {
      ...PLAIN,
      stream: true,
      system: [{ type: "text", text: "x" }],
      tools: [
        { name: "f", input_schema: {} },
        { type: "custom", name: "g", input_schema: {} },
      ],
      ...content(
        { type: "text", text: "a" },
        { type: "tool_result", tool_use_id: "t", content: [{ type: "text", text: "b" }] },
      ),
    };
    assert.deepEqual([read(rich).stream, read(rich).atMost?.input], [true, lengthOf(rich) + 1300]);
  });

  test("counts a picture in which the window ends as one picture", () => {
    const source = { type: "base64", media_type: "image/png", data: "A".repeat(400_000) };
    const picture = { type: "image", source };
    for (const part of [picture, { type: "tool_result", tool_use_id: "t", content: [picture] }]) {
      const bytes = Buffer.from(JSON.stringify({ ...PLAIN, ...content(part) }));
      const window = { bytes: bytes.subarray(0, 100_000), whole: false, length: bytes.length };
      const { expected, atMost } = anthropic.readRequest(headOf({ path: "/v1/messages", request: {} }), window);
      assert.deepEqual([expected.input, atMost], [1000 + Math.ceil(bytes.indexOf("AAAA") / 4), null]);
    }
  });

  test("may write all of it to a cache, which is dearer", () => {
    const cached = (ttl?: string) =>
      content({ type: "text", text: "a", cache_control: { type: "ephemeral", ...(ttl ? { ttl } : {}) } });
    assert.equal(read({ ...PLAIN, ...cached() }).atMost?.cache_write, lengthOf({ ...PLAIN, ...cached() }) + 300);
    assert.ok(read({ ...PLAIN, ...cached("1h") }).atMost?.cache_write_1h);
    assert.ok(read({ ...PLAIN, cache_control: { type: "ephemeral", ttl: "1h" } }).atMost?.cache_write_1h);
    assert.ok(read({ ...PLAIN, system: [{ type: "text", text: "x", cache_control: {} }] }).atMost?.cache_write);
    const escaped = JSON.stringify({ ...PLAIN, ...cached() }).replace("cache_control", "cache\\u005fcontrol");
    assert.ok(read(escaped).atMost?.cache_write);
  });

  test("has no bound with what is elsewhere, or what the provider runs", () => {
    const unbounded: readonly object[] = [
      content({ type: "image", source: { type: "base64", media_type: "image/png", data: "AAAA" } }),
      content({ type: "document", source: { type: "url", url: "https://x" } }),
      content({ type: "tool_result", tool_use_id: "t", content: [{ type: "image", source: {} }] }),
      { system: [{ type: "document" }] },
      { tools: [{ type: "web_search_20250305", name: "web_search" }] },
      { tools: [{ type: "bash_20250124", name: "bash" }] },
      { mcp_servers: [] },
      { container: "c" },
      { context_management: {} },
      { fallbacks: [] },
      { speed: "fast" },
      { inference_geo: "us" },
      { service_tier: "priority" },
      { max_tokens: "9" },
      { max_tokens: null },
      { model: null },
    ];
    for (const change of unbounded) assert.equal(read({ ...PLAIN, ...change }).atMost, null, JSON.stringify(change));
    const { max_tokens: _, ...open } = PLAIN;
    assert.deepEqual([read(open).atMost, read(open).expected.output], [null, 1000]);
  });

  test("only messages are looked at", () => {
    const needs = (path: string, method = "POST"): boolean =>
      anthropic.needsBody(headOf({ path, method, request: {} }));
    assert.deepEqual(
      [needs("/v1/messages"), needs("/v1/messages", "GET"), needs("/v1/messages/count_tokens")],
      [true, false, false],
    );
    assert.deepEqual(factsOf(anthropic, { path: "/v1/messages/count_tokens", request: PLAIN }).atMost, { request: 1 });
    assert.equal(factsOf(anthropic, { path: "/v1/messages/batches", request: {} }).atMost, null);
  });
});
