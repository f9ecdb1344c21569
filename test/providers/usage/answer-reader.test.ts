import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { DIALECT_NAMES, dialectOf } from "../../../src/providers/usage/dialects.ts";
import { assertSane } from "./figure-check.ts";
import {
  CHAT_ANSWER,
  CHAT_STREAM,
  CHAT_UNITS,
  GROQ_STREAM,
  PERPLEXITY_ANSWER,
  RESPONSE,
  RESPONSE_STREAM,
  XAI_STREAM,
} from "./openai-transcripts.ts";
import { type Call, EVENTS, figureAt } from "./reading.ts";

const dialects = DIALECT_NAMES.map((dialect) => dialectOf({ usage: { dialect } }));
const openAi = dialectOf({ usage: { dialect: "openai" } });
const CHAT = { path: "/v1/chat/completions", request: { model: "m", messages: [] } };

/** Paths that are billed somewhere. */
const PATHS = [
  "/v1/chat/completions",
  "/v1/responses",
  "/v1/messages",
  "/v1/models/m:streamGenerateContent",
  "/v2/chat",
  "/time_series",
  "/bulk",
];
const BODIES = [
  CHAT_ANSWER,
  CHAT_STREAM,
  RESPONSE_STREAM,
  JSON.stringify(RESPONSE),
  GROQ_STREAM,
  XAI_STREAM,
  PERPLEXITY_ANSWER,
];
const TYPES = [EVENTS, "application/json", "application/stream+json", "text/html", "audio/mpeg", ""];

describe("an answer", () => {
  test("is read by its type, and by its first byte when it has none that says", () => {
    for (const type of [
      "application/json",
      "application/json; charset=utf-8",
      "application/problem+json",
      "text/plain",
      "",
    ]) {
      assert.deepEqual(
        figureAt(openAi, { ...CHAT, type, answer: `\r\n ${CHAT_ANSWER}` }, [1, 2]).units,
        CHAT_UNITS,
        type,
      );
    }
    for (const type of [EVENTS, "text/plain", ""]) {
      assert.deepEqual(figureAt(openAi, { ...CHAT, type, answer: CHAT_STREAM }, [3]).units, CHAT_UNITS, type);
    }
    for (const type of ["audio/mpeg", "application/octet-stream", "image/png"]) {
      assert.equal(figureAt(openAi, { ...CHAT, type, answer: CHAT_ANSWER }).quality, "estimated", type);
    }
  });

  test("events that are no whole JSON tell nothing", () => {
    const broken = 'data: {"usage":{"prompt_tokens":9,"completion_tokens":9},\n\n';
    assert.equal(figureAt(openAi, { ...CHAT, type: EVENTS, answer: broken }).quality, "estimated");
    const cut = CHAT_STREAM.slice(0, CHAT_STREAM.lastIndexOf("\n\ndata: [DONE]"));
    assert.equal(figureAt(openAi, { ...CHAT, type: EVENTS, answer: cut, complete: false }).quality, "estimated");
  });

  test("of any dialect, cut anywhere, leaves a figure that is sane", () => {
    for (const dialect of dialects) {
      for (const answer of BODIES) {
        const type = answer.startsWith("{") ? "application/json" : EVENTS;
        for (let length = 0; length < answer.length; length += 7) {
          assertSane(figureAt(dialect, { ...CHAT, type, answer: answer.slice(0, length), complete: false }));
        }
      }
    }
  });

  test("of any dialect, whatever its bytes are, leaves a figure that is sane", () => {
    const body = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc
        .tuple(fc.constantFrom(...BODIES), fc.array(fc.tuple(fc.nat(3000), fc.nat(255)), { maxLength: 8 }))
        .map(([text, changes]) => {
          const bytes = Buffer.from(text);
          for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
          return bytes;
        }),
      fc.jsonValue({ maxDepth: 3 }).map((value) => Buffer.from(JSON.stringify(value))),
    );
    const calls = fc.record({
      dialect: fc.constantFrom(...dialects),
      path: fc.constantFrom(...PATHS),
      type: fc.constantFrom(...TYPES),
      answer: body,
      cuts: fc.array(fc.nat(3000), { maxLength: 4 }),
      complete: fc.boolean(),
    });
    fc.assert(
      fc.property(calls, ({ dialect, path, type, answer, cuts, complete }) => {
        const call: Call = { path, request: { model: "m" }, type, answer, complete };
        const figure = figureAt(dialect, call);
        assertSane(figure);
        const splits = cuts.filter((cut) => cut < answer.length).sort((a, b) => a - b);
        assert.deepEqual(figureAt(dialect, call, splits), figure);
      }),
      { numRuns: 2000 },
    );
  });

  test("keeps a bounded part of what passes", () => {
    const reader = openAi.reader(
      { operation: "chat", model: null, stream: true, canAsk: false, expected: { request: 1 }, atMost: null },
      { status: 200, contentType: EVENTS, field: () => null },
    );
    const chunk = Buffer.from(
      `data: {"model":"${"m".repeat(60_000)}","choices":[{"delta":{"content":"${"x".repeat(100)}"}}],"${"u".repeat(900)}":{}}\n\n`,
    );
    const endless = Buffer.from(`"${"y".repeat(60_000)}`);
    reader.data(chunk);
    globalThis.gc?.();
    const before = process.memoryUsage().arrayBuffers;
    for (let n = 0; n < 500; n++) reader.data(chunk);
    reader.data(Buffer.from('data: {"usage":{"x":'));
    for (let n = 0; n < 500; n++) reader.data(endless);
    const after = process.memoryUsage().arrayBuffers;
    assert.ok(after - before < 16 * 1024 * 1024, `${after - before} bytes`);
    assert.equal(reader.end(false).units.output, (501 * 100) / 4);
  });
});
