import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { rateLimitList } from "../../../src/providers/limits/ratelimit-list.ts";
import { limitFields } from "../../support/limit-fields.ts";

const NOW = Date.UTC(2026, 9, 4, 12, 0, 0);
const CLOCK = { nowMs: NOW, aheadMs: 0 };

const read = (lines: string) => rateLimitList(limitFields(lines), CLOCK);

test("the lists of the current draft, with each state matched to its policy", () => {
  const windows = read(`
    RateLimit-Policy: "burst";q=100;w=60, "daily";q=1000;w=86400
    RateLimit: "burst";r=50;t=30, "daily";r=990;t=40000
  `);
  assert.deepEqual(windows, [
    { kind: "requests_per_minute", limit: 100, remaining: 50, resetAtMs: NOW + 30_000 },
    { kind: "requests_per_day", limit: 1000, remaining: 990, resetAtMs: NOW + 40_000_000 },
  ]);
});

test("Hugging Face's fields, whose policy is called something else and is no Structured Field", () => {
  const windows = read(`
    ratelimit: "api";r=494;t=104
    ratelimit-policy: "fixed window";"api";q=500;w=300
  `);
  assert.deepEqual(windows, [{ kind: "requests_per_5m", limit: 500, remaining: 494, resetAtMs: NOW + 104_000 }]);
});

test("the dictionary of draft -07", () => {
  const windows = read(`
    RateLimit-Policy: 100;w=60, 10000;w=86400
    RateLimit: limit=100, remaining=50, reset=30
  `);
  assert.deepEqual(windows, [{ kind: "requests_per_minute", limit: 100, remaining: 50, resetAtMs: NOW + 30_000 }]);
});

test("a state without a policy, or without a reset, still tells what is left", () => {
  assert.deepEqual(read('RateLimit: "burst";r=3'), [{ kind: "requests", limit: null, remaining: 3, resetAtMs: null }]);
});

test("quotas of bytes and of what is concurrent are not read as requests", () => {
  const policy = '"b";q=65535;qu="content-bytes";w=10, "c";q=5;qu="concurrent-requests"';
  assert.deepEqual(read(`RateLimit-Policy: ${policy}\nRateLimit: "b";r=1;t=1, "c";r=0`), []);
});

test("names may hold commas, semicolons and quotes", () => {
  const name = String.raw`"a,b;c\"d"`;
  assert.deepEqual(read(`RateLimit-Policy: ${name};q=9;w=1\nRateLimit: ${name};r=8;t=1`), [
    { kind: "requests_per_second", limit: 9, remaining: 8, resetAtMs: NOW + 1_000 },
  ]);
});

test("what is empty, endless or broken gives nothing or little, never an error", () => {
  for (const text of [
    "",
    '"',
    '";',
    ",,,;;;",
    `"a";r=-1;t=-1`,
    `"a";r=1e9`,
    '"a";r=5;t=99999999999999',
    "=",
    "limit=",
  ]) {
    for (const window of read(`RateLimit: ${text}`)) assert.ok((window.remaining ?? 0) >= 0);
  }
  assert.deepEqual(read(`RateLimit: ${'"a";r=1;t=1,'.repeat(1000)}`), []);
  assert.equal(read(`RateLimit: ${'"a";r=1;t=1,'.repeat(20)}`).length, 8);
  const alphabet = fc.constantFrom('"', "\\", ",", ";", "=", "r", "t", "q", "w", "1", " ", "limit", "remaining");
  const text = fc.array(alphabet, { maxLength: 60 }).map((parts) => parts.join(""));
  fc.assert(
    fc.property(text, text, (state, policy) => {
      const windows = rateLimitList({ field: (n) => (n === "ratelimit" ? state : policy), names: () => [] }, CLOCK);
      assert.ok(windows.length <= 8);
      for (const { remaining, limit } of windows) assert.ok((remaining ?? 0) >= 0 && (limit ?? 0) >= 0);
    }),
    { numRuns: 2000, seed: 7 },
  );
});
