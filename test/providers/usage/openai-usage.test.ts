import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { openAi, openAiShaped } from "../../../src/providers/usage/openai.ts";
import { tokensOf, type Units } from "../../../src/providers/usage/usage.ts";
import { assertSane } from "./figure-check.ts";
import { figureAt } from "./reading.ts";

const CALL = { path: "/v1/chat/completions", request: { model: "m", messages: [{ content: "x".repeat(100) }] } };

function unitsOf(usage: string): { units: Units; quality: string } {
  const answer = `{"model":"m","choices":[{"message":{"content":"12345678"}}],"usage":${usage}}`;
  const figure = figureAt(openAiShaped, { ...CALL, answer });
  assertSane(figure);
  return { units: figure.units, quality: figure.quality };
}

const REQUEST_TOKENS = Math.ceil(JSON.stringify(CALL.request).length / 4);
const ESTIMATE = { units: { request: 1, input: REQUEST_TOKENS, output: 2 }, quality: "estimated" };

describe("a usage that cannot be", () => {
  test("parts are never more than their whole", () => {
    const cases: readonly (readonly [string, object])[] = [
      [
        '{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":99}}',
        { cached_input: 10, output: 5 },
      ],
      [
        '{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":8,"cache_write_tokens":8,"audio_tokens":8}}',
        { cached_input: 8, cache_write: 2, output: 5 },
      ],
      [
        '{"prompt_tokens":10,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":99,"audio_tokens":99}}',
        { input: 10, reasoning: 5 },
      ],
      [
        '{"prompt_tokens":10,"completion_tokens":5,"completion_tokens_details":{"audio_tokens":99}}',
        { input: 10, output_audio: 5 },
      ],
      [
        '{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"completion_tokens_details":{"reasoning_tokens":99}}',
        { input: 10, reasoning: 5 },
      ],
      ['{"prompt_tokens":10,"completion_tokens":5,"total_tokens":999}', { input: 10, output: 5 }],
      ['{"prompt_tokens":10,"completion_tokens":5,"total_tokens":1}', { input: 10, output: 5 }],
    ];
    for (const [usage, units] of cases)
      assert.deepEqual(unitsOf(usage), { units: { request: 1, ...units }, quality: "exact" }, usage);
  });

  test("parts that are no counts are no parts", () => {
    for (const part of ["-1", "1.5", "1e300", '"7"', "null", "true", "[]", "{}", "1e13"]) {
      const usage = `{"prompt_tokens":10,"completion_tokens":5,"total_tokens":${part},"prompt_tokens_details":{"cached_tokens":${part}},"completion_tokens_details":{"reasoning_tokens":${part}}}`;
      assert.deepEqual(unitsOf(usage), { units: { request: 1, input: 10, output: 5 }, quality: "exact" }, part);
    }
    assert.deepEqual(unitsOf('{"prompt_tokens":10,"prompt_tokens_details":[],"completion_tokens_details":"x"}').units, {
      request: 1,
      input: 10,
    });
  });

  test("sums that are no counts make an estimate", () => {
    for (const sum of ["-1", "1.5", "1e300", "1e13", '"7"', "true", "[]", "{}", "[1]"]) {
      assert.deepEqual(unitsOf(`{"prompt_tokens":${sum},"completion_tokens":5}`), ESTIMATE, sum);
      assert.deepEqual(unitsOf(`{"prompt_tokens":5,"completion_tokens":${sum}}`), ESTIMATE, sum);
    }
    for (const usage of [
      "{}",
      "[]",
      "null",
      "7",
      '"x"',
      '{"input":1}',
      '{"__proto__":{"prompt_tokens":5}}',
      '{"constructor":1}',
    ]) {
      assert.deepEqual(unitsOf(usage), ESTIMATE, usage);
    }
    assert.deepEqual(unitsOf(`{"prompt_tokens":10,"x":"${"y".repeat(20_000)}"}`), ESTIMATE);
  });

  test("what is left out follows from the rest", () => {
    assert.deepEqual(unitsOf('{"total_tokens":15}').units, { request: 1, input: 15 });
    assert.deepEqual(unitsOf('{"prompt_tokens":10,"total_tokens":15}').units, { request: 1, input: 10, output: 5 });
    assert.deepEqual(unitsOf('{"completion_tokens":5}').units, { request: 1, output: 5 });
    assert.deepEqual(unitsOf('{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}'), {
      units: { request: 1 },
      quality: "exact",
    });
  });

  test("the last usage that is one counts", () => {
    const stream = (...usages: readonly string[]): string =>
      usages.map((usage) => `data: {"choices":[{}],"usage":${usage}}\n\n`).join("");
    const call = { ...CALL, type: "text/event-stream" };
    const zeros = '{"prompt_tokens":0,"completion_tokens":0}';
    const last = '{"prompt_tokens":4,"completion_tokens":2}';
    assert.deepEqual(figureAt(openAi, { ...call, answer: stream(zeros, last, "null", "7") }).units, {
      request: 1,
      input: 4,
      output: 2,
    });
  });
});

describe("for every usage", () => {
  test("the units are sane, and tokens are neither lost nor counted twice", () => {
    const count = fc.oneof(fc.nat(1000), fc.constantFrom(0, -1, 1.5, 1e300, "7", null, true, [], 1e12));
    const details = fc.dictionary(
      fc.constantFrom(
        "cached_tokens",
        "cache_write_tokens",
        "audio_tokens",
        "image_tokens",
        "text_tokens",
        "reasoning_tokens",
      ),
      count,
    );
    const usage = fc.record(
      {
        prompt_tokens: fc.nat(1000),
        completion_tokens: fc.nat(1000),
        total_tokens: count,
        prompt_tokens_details: details,
        completion_tokens_details: details,
        prompt_cache_hit_tokens: count,
      },
      { requiredKeys: ["prompt_tokens", "completion_tokens"] },
    );
    fc.assert(
      fc.property(usage, (told) => {
        const { units, quality } = unitsOf(JSON.stringify(told));
        assert.equal(quality, "exact");
        const sum = told.prompt_tokens + told.completion_tokens;
        // Reasoning beside the completion is the one thing that may come on top, and only when the total says so.
        assert.ok(tokensOf(units) === sum || tokensOf(units) === told.total_tokens, `${tokensOf(units)} of ${sum}`);
      }),
      { numRuns: 1000 },
    );
  });

  test("nothing that it may hold makes it fail", () => {
    const name = fc.oneof(
      fc.constantFrom("prompt_tokens", "completion_tokens", "total_tokens", "type", "seconds", "cost"),
      fc.string(),
    );
    fc.assert(fc.property(fc.dictionary(name, fc.jsonValue()), (usage) => void unitsOf(JSON.stringify(usage))));
  });
});
