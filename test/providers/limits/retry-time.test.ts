import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { LimitWindow } from "../../../src/providers/limits/limit-window.ts";
import { MAX_HOLD_MS, retryTime } from "../../../src/providers/limits/retry-time.ts";
import { limitFields } from "../../support/limit-fields.ts";

const NOW = Date.UTC(2026, 9, 4, 12, 0, 0);
const CLOCK = { nowMs: NOW, aheadMs: 0 };

interface Told {
  lines?: string;
  status?: number;
  body?: string | null;
  windows?: LimitWindow[];
  aheadMs?: number;
}

/** Seconds from now; null when nothing was told. */
function wait({ lines = "", status = 429, body = null, windows = [], aheadMs = 0 }: Told): number | null {
  const bytes = body === null ? null : Buffer.from(body);
  const told = retryTime({ ...limitFields(lines), status, body: bytes }, windows, { ...CLOCK, aheadMs });
  return told === null ? null : (told.retryAtMs - NOW) / 1000;
}

test("seconds, milliseconds and dates in all three forms", () => {
  assert.equal(wait({ lines: "retry-after: 12" }), 12);
  assert.equal(wait({ lines: "retry-after: 1.5" }), 1.5);
  assert.equal(wait({ lines: "retry-after-ms: 695" }), 0.695);
  assert.equal(wait({ lines: "retry-after-ms: 695\nretry-after: 1" }), 0.695);
  assert.equal(wait({ lines: "retry-after: Sun, 04 Oct 2026 12:00:30 GMT" }), 30);
  assert.equal(wait({ lines: "retry-after: Sunday, 04-Oct-26 12:00:30 GMT" }), 30);
  assert.equal(wait({ lines: "retry-after: Sun Oct  4 12:00:30 2026" }), 30);
});

test("a date is read on the provider's clock", () => {
  const date = "retry-after: Sun, 04 Oct 2026 12:10:30 GMT";
  assert.equal(wait({ lines: date, aheadMs: 600_000 }), 30);
  assert.equal(wait({ lines: "retry-after: 30", aheadMs: 600_000 }), 30);
});

test("hostile values are bounded or as if they had not been told", () => {
  const cases: [string, number | null][] = [
    ["-5", null],
    ["1e9", null],
    ["inf", null],
    ["", null],
    ["5 seconds", null],
    ["9".repeat(5_000), null],
    ["12, 99", null],
    ["0", 0],
    ["31536000", 3600],
    ["1000000000", 3600],
    ["Sun, 04 Oct 2076 12:00:30 GMT", 3600],
    ["Sun, 04 Oct 2020 12:00:30 GMT", 0],
    ["Tue, 31 Feb 2026 00:00:00 GMT", null],
  ];
  for (const [text, seconds] of cases)
    assert.equal(wait({ lines: `retry-after: ${text}` }), seconds, text.slice(0, 40));
});

test("more than an hour is an hour, and it is said that it was more", () => {
  const told = (after: string) =>
    retryTime({ ...limitFields(`retry-after: ${after}`), status: 429, body: null }, [], CLOCK);
  assert.deepEqual(told("3600"), { retryAtMs: NOW + MAX_HOLD_MS, capped: false });
  assert.deepEqual(told("3601"), { retryAtMs: NOW + MAX_HOLD_MS, capped: true });
});

const retryInfo = (delay: unknown) => ({
  "@type": "type.googleapis.com/google.rpc.RetryInfo",
  retryDelay: delay,
});
const gemini = (...details: unknown[]) =>
  JSON.stringify({ error: { code: 429, message: "quota", status: "RESOURCE_EXHAUSTED", details } });

test("Gemini's retryDelay is in the body, also where the body is the beginning of a stream", () => {
  const quota = { "@type": "type.googleapis.com/google.rpc.QuotaFailure", violations: [{ quotaId: "x" }] };
  assert.equal(wait({ body: gemini(quota, retryInfo("52s")) }), 52);
  assert.equal(wait({ body: `[${gemini(retryInfo("34.074824224s"))}]` }), 34.075);
  assert.equal(wait({ body: JSON.stringify(JSON.parse(gemini(retryInfo("7s"))), null, 2) }), 7);
});

test("TAAPI's blockTime and OpenRouter's fields inside its error", () => {
  assert.equal(wait({ body: '{"error":{"maxHitsAllowed":"1","blockTime":"1020 seconds"}}' }), 1020);
  const reset = { metadata: { headers: { "X-RateLimit-Limit": "20", "X-RateLimit-Reset": String(NOW + 17_000) } } };
  assert.equal(wait({ body: JSON.stringify({ error: { code: 429, ...reset } }) }), 17);
});

test("a field comes before the body, and only a 429 has its body read", () => {
  assert.equal(wait({ lines: "retry-after: 3", body: gemini(retryInfo("52s")) }), 3);
  assert.equal(wait({ status: 503, body: gemini(retryInfo("52s")) }), null);
  assert.equal(wait({ status: 503, lines: "retry-after: 3" }), 3);
});

test("a body that is broken, deep, huge or says something else tells nothing", () => {
  const deep = `${'{"error":'.repeat(5_000)}1${"}".repeat(5_000)}`;
  const many = gemini(...Array.from({ length: 40 }, () => ({ "@type": "other" })), retryInfo("52s"));
  const bodies = ["", "{", "null", "[]", "[[]]", '{"error":"no"}', '{"error":{"details":{}}}', deep, many];
  const delays = [52, null, "52", "-52s", "1e9s", "soon", ["52s"], { seconds: 52 }];
  for (const body of [...bodies, ...delays.map((delay) => gemini(retryInfo(delay)))]) {
    assert.equal(wait({ body }), null, body.slice(0, 60));
  }
  assert.equal(wait({ body: gemini(retryInfo("52s"), "x".repeat(17_000)) }), null);
  assert.equal(wait({ body: gemini(retryInfo("999999999s")) }), 3600);
});

test("without a word of when, a 429 waits for what is used up", () => {
  const window = (remaining: number, resetAtMs: number | null): LimitWindow => ({
    kind: "requests",
    limit: 10,
    remaining,
    resetAtMs,
  });
  assert.equal(wait({ windows: [window(0, NOW + 9_000), window(0, NOW + 20_000), window(3, NOW + 50_000)] }), 20);
  assert.equal(wait({ windows: [window(0, null), window(3, NOW + 50_000)] }), null);
  assert.equal(wait({ status: 503, windows: [window(0, NOW + 9_000)] }), null);
  assert.equal(wait({ lines: "retry-after: 2", windows: [window(0, NOW + 9_000)] }), 2);
});

test("no field and no body makes it throw or hold for more than an hour", () => {
  const value = fc.oneof(
    fc.string({ maxLength: 40 }),
    fc.stringMatching(/^[0-9.:,A-Za-z -]{0,40}$/),
    fc.nat().map(String),
  );
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.json().map((text) => Buffer.from(`{"error":${text}}`)),
  );
  fc.assert(
    fc.property(value, value, body, fc.constantFrom(400, 429, 503, 529), (after, afterMs, bytes, status) => {
      const field = (name: string) => (name === "retry-after" ? after : name === "retry-after-ms" ? afterMs : null);
      const told = retryTime({ field, names: () => [], status, body: Buffer.from(bytes) }, [], CLOCK);
      if (told !== null) assert.ok(told.retryAtMs >= NOW && told.retryAtMs <= NOW + MAX_HOLD_MS);
    }),
    { numRuns: 2000, seed: 7 },
  );
});
