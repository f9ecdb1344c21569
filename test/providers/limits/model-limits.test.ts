import assert from "node:assert/strict";
import { test } from "node:test";
import { anthropicLimits, mistralLimits, openAiLimits } from "../../../src/providers/limits/model-limits.ts";
import { limitFields } from "../../support/limit-fields.ts";

const NOW = Date.UTC(2026, 9, 4, 12, 0, 0);
const CLOCK = { nowMs: NOW, aheadMs: 0 };

test("OpenAI: requests and tokens with Go durations", () => {
  const recorded = limitFields(`
    x-ratelimit-limit-requests: 5000
    x-ratelimit-limit-tokens: 5000000
    x-ratelimit-remaining-requests: 4999
    x-ratelimit-remaining-tokens: 4999999
    x-ratelimit-reset-requests: 12ms
    x-ratelimit-reset-tokens: 0s
  `);
  assert.deepEqual(openAiLimits(recorded, CLOCK), [
    { kind: "requests", limit: 5_000, remaining: 4_999, resetAtMs: NOW + 12 },
    { kind: "tokens", limit: 5_000_000, remaining: 4_999_999, resetAtMs: NOW },
  ]);
});

test("Groq: a request quota per day beside tokens per minute", () => {
  const recorded = limitFields(`
    retry-after: 17
    x-ratelimit-limit-requests: 1000
    x-ratelimit-remaining-requests: 999
    x-ratelimit-limit-tokens: 8000
    x-ratelimit-remaining-tokens: 0
    x-ratelimit-reset-requests: 23h59m
    x-ratelimit-reset-tokens: 7.66s
  `);
  assert.deepEqual(openAiLimits(recorded, CLOCK), [
    { kind: "requests", limit: 1_000, remaining: 999, resetAtMs: NOW + 86_340_000 },
    { kind: "tokens", limit: 8_000, remaining: 0, resetAtMs: NOW + 7_660 },
  ]);
});

test("Azure: only what remains, resets in whole seconds, -1 for unknown", () => {
  const some = limitFields("x-ratelimit-remaining-requests: 79\nx-ratelimit-remaining-tokens: 61353");
  assert.deepEqual(openAiLimits(some, CLOCK), [
    { kind: "requests", limit: null, remaining: 79, resetAtMs: null },
    { kind: "tokens", limit: null, remaining: 61_353, resetAtMs: null },
  ]);
  const seconds = limitFields("x-ratelimit-remaining-tokens: 0\nx-ratelimit-reset-tokens: 55");
  assert.equal(openAiLimits(seconds, CLOCK)[0]?.resetAtMs, NOW + 55_000);
  const unknown = limitFields(`
    x-ratelimit-limit-tokens: -1
    x-ratelimit-remaining-tokens: -1
    x-ratelimit-reset-tokens: 0
  `);
  assert.deepEqual(openAiLimits(unknown, CLOCK), []);
});

test("Anthropic: four limits with RFC 3339 resets", () => {
  const recorded = limitFields(`
    anthropic-ratelimit-requests-limit: 4000
    anthropic-ratelimit-requests-remaining: 3999
    anthropic-ratelimit-requests-reset: 2026-10-04T12:00:01Z
    anthropic-ratelimit-tokens-limit: 480000
    anthropic-ratelimit-tokens-remaining: 480000
    anthropic-ratelimit-tokens-reset: 2026-10-04T12:00:00Z
    anthropic-ratelimit-input-tokens-limit: 400000
    anthropic-ratelimit-input-tokens-remaining: 399000
    anthropic-ratelimit-input-tokens-reset: 2026-10-04T07:00:10-05:00
    anthropic-ratelimit-output-tokens-limit: 80000
    anthropic-ratelimit-output-tokens-remaining: 80000
    anthropic-ratelimit-output-tokens-reset: 2026-10-04T12:00:00+00:00
  `);
  assert.deepEqual(anthropicLimits(recorded, CLOCK), [
    { kind: "requests", limit: 4_000, remaining: 3_999, resetAtMs: NOW + 1_999 },
    { kind: "tokens", limit: 480_000, remaining: 480_000, resetAtMs: NOW + 999 },
    { kind: "input_tokens", limit: 400_000, remaining: 399_000, resetAtMs: NOW + 10_999 },
    { kind: "output_tokens", limit: 80_000, remaining: 80_000, resetAtMs: NOW + 999 },
  ]);
});

test("Mistral: today's names", () => {
  const recorded = limitFields(`
    x-ratelimit-limit-req-minute: 60
    x-ratelimit-limit-tokens-minute: 50000
    x-ratelimit-limit-tokens-month: 4000000
    x-ratelimit-remaining-req-minute: 59
    x-ratelimit-remaining-tokens-minute: 47196
    x-ratelimit-remaining-tokens-month: 3950246
    x-ratelimit-tokens-query-cost: 2804
  `);
  assert.deepEqual(mistralLimits(recorded, CLOCK), [
    { kind: "requests_per_minute", limit: 60, remaining: 59, resetAtMs: null },
    { kind: "tokens_per_minute", limit: 50_000, remaining: 47_196, resetAtMs: null },
    { kind: "tokens_per_month", limit: 4_000_000, remaining: 3_950_246, resetAtMs: null },
  ]);
});

test("Mistral: older names, which today's come before", () => {
  const bySize = limitFields(`
    x-ratelimitbysize-limit-minute: 500000
    x-ratelimitbysize-remaining-minute: 499000
    x-ratelimitbysize-limit-month: 1000000000
    x-ratelimitbysize-remaining-month: 999999000
    ratelimitbysize-limit: 500000
    ratelimitbysize-remaining: 1
    ratelimitbysize-reset: 12
  `);
  assert.deepEqual(mistralLimits(bySize, CLOCK), [
    { kind: "tokens_per_minute", limit: 500_000, remaining: 499_000, resetAtMs: null },
    { kind: "tokens_per_month", limit: 1_000_000_000, remaining: 999_999_000, resetAtMs: null },
  ]);
  const oldest = limitFields(
    "ratelimitbysize-limit: 500000\nratelimitbysize-remaining: 499984\nratelimitbysize-reset: 21",
  );
  assert.deepEqual(mistralLimits(oldest, CLOCK), [
    { kind: "tokens_per_minute", limit: 500_000, remaining: 499_984, resetAtMs: NOW + 21_000 },
  ]);
});
