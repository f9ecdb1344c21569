import assert from "node:assert/strict";
import { test } from "node:test";
import { binanceLimits, namedLimits, standardLimits } from "../../../src/providers/limits/market-limits.ts";
import type { LimitHeaders } from "../../../src/providers/schema.ts";
import { limitFields } from "../../support/limit-fields.ts";

const NOW = Date.UTC(2026, 9, 4, 12, 0, 0);
const CLOCK = { nowMs: NOW, aheadMs: 0 };

test("x-ratelimit with a span, epoch seconds or epoch milliseconds", () => {
  const resetOf = (reset: string | number) => {
    const lines = `x-ratelimit-limit: 200\nx-ratelimit-remaining: 199\nx-ratelimit-reset: ${reset}`;
    return standardLimits(limitFields(lines), CLOCK, null);
  };
  assert.deepEqual(resetOf(30), [{ kind: "requests", limit: 200, remaining: 199, resetAtMs: NOW + 30_000 }]);
  assert.equal(resetOf(NOW / 1000 + 30)[0]?.resetAtMs, NOW + 30_999);
  assert.equal(resetOf(NOW + 30_000)[0]?.resetAtMs, NOW + 30_000);
  assert.equal(resetOf("never")[0]?.resetAtMs, null);
});

test("the IETF's older three fields come before x-ratelimit, its list before both", () => {
  const older = "ratelimit-limit: 100, 100;w=60\nratelimit-remaining: 42\nratelimit-reset: 8";
  const private_ = "x-ratelimit-limit: 7\nx-ratelimit-remaining: 6";
  const list = 'ratelimit: "a";r=1;t=2';
  const remaining = (lines: string) => standardLimits(limitFields(lines), CLOCK, null).map((each) => each.remaining);
  assert.deepEqual(remaining(private_), [6]);
  assert.deepEqual(remaining(`${private_}\n${older}`), [42]);
  assert.deepEqual(remaining(`${private_}\n${older}\n${list}`), [1]);
  assert.deepEqual(remaining("x-rate-limit-remaining: 5"), [5]);
  assert.deepEqual(remaining("content-type: text/html"), []);
});

test("fields that the catalog names: what is used and left is the limit where there is none", () => {
  const rules: LimitHeaders = {
    dialect: "fields",
    kind: "credits_per_minute",
    used: "api-credits-used",
    remaining: "api-credits-left",
  };
  const read = (lines: string) => namedLimits(limitFields(lines), CLOCK, rules);
  assert.deepEqual(read("api-credits-used: 7\napi-credits-left: 1"), [
    { kind: "credits_per_minute", limit: 8, remaining: 1, resetAtMs: null },
  ]);
  assert.deepEqual(read("api-credits-left: 1"), [
    { kind: "credits_per_minute", limit: null, remaining: 1, resetAtMs: null },
  ]);
  assert.deepEqual(read("api-credits-used: 7"), []);
});

test("Binance: used weights and order counts against the quotas of the catalog", () => {
  const quotas = { weight_per_minute: 6_000, orders_per_10s: 100, orders_per_day: 200_000 };
  const recorded = limitFields(`
    x-mbx-uuid: 1f1c6f4e
    x-mbx-used-weight: 41
    X-MBX-USED-WEIGHT-1M: 41
    X-MBX-ORDER-COUNT-10S: 2
    X-MBX-ORDER-COUNT-1D: 300000
    X-MBX-ORDER-COUNT-7M: 1
  `);
  assert.deepEqual(binanceLimits(recorded, CLOCK, { dialect: "binance", quotas }), [
    { kind: "weight_per_minute", limit: 6_000, remaining: 5_959, resetAtMs: null },
    { kind: "orders_per_10s", limit: 100, remaining: 98, resetAtMs: null },
    { kind: "orders_per_day", limit: 200_000, remaining: 0, resetAtMs: null },
  ]);
  assert.deepEqual(binanceLimits(recorded, CLOCK, { dialect: "binance" }), []);
  assert.deepEqual(binanceLimits(recorded, CLOCK, null), []);
});
