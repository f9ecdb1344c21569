import assert from "node:assert/strict";
import { test } from "node:test";
import { limitState, rateLimitFields } from "../../../src/daemon/pipeline/ratelimit-fields.ts";
import { NOTHING_KNOWN } from "../../../src/policy/budget.ts";
import { concurrent, limiterBench, requests, tokensPer, usdPer } from "../../support/limiter-bench.ts";

test("one limit is one item in each field, times in seconds rounded up", () => {
  const spec = requests("plan", 300, 60_000, 30, 0);
  assert.deepEqual(rateLimitFields([{ spec, remaining: 50, resetMs: 29_001 }]), [
    "RateLimit-Policy",
    '"plan";q=300;w=60',
    "RateLimit",
    '"plan";r=50;t=30',
  ]);
});

test("several limits are lists in the same order; what cannot be known is left out", () => {
  const states = [
    { spec: requests("burst", 5, 500, 5, 0), remaining: 0, resetMs: 100 },
    { spec: concurrent("open", 20, 0), remaining: 3, resetMs: null },
  ];
  assert.deepEqual(rateLimitFields(states), [
    "RateLimit-Policy",
    '"burst";q=5;w=1, "open";q=20;qu="concurrent-requests"',
    "RateLimit",
    '"burst";r=0;t=1, "open";r=3',
  ]);
});

test("budgets have units of their own: tokens, and whole micro-dollars rounded down", () => {
  const calendar = { unit: "month", zone: "Europe/Berlin" } as const;
  const states = [
    { spec: tokensPer("tokens", 200_000, 60_000, 0), remaining: 1234, resetMs: 60_000 },
    { spec: usdPer("spend", 1e15, 2_678_400_000, 0, { calendar }), remaining: 1_999, resetMs: 86_400_000 },
    { spec: usdPer("tiny", 1, 60_000, 0), remaining: 1, resetMs: 0 },
  ];
  assert.deepEqual(rateLimitFields(states), [
    "RateLimit-Policy",
    '"tokens";q=200000;qu="tokens";w=60, "spend";q=1000000000000;qu="micro-usd";w=2678400, "tiny";q=0;qu="micro-usd";w=60',
    "RateLimit",
    '"tokens";r=1234;t=60, "spend";r=1;t=86400, "tiny";r=0;t=0',
  ]);
});

test("the state of a limit is what its table says now", () => {
  const { limiter, table, clock } = limiterBench();
  const request = { spec: requests("plan", 5, 60_000, 5, 0), key: "plan" };
  assert.deepEqual(limitState(table, request, clock.nowUs()), { spec: request.spec, remaining: 5, resetMs: 0 });
  const gone = () => new AbortController().signal;
  assert.ok(!(limiter.reserve([request], { client: "app", ask: NOTHING_KNOWN, gone }) instanceof Promise));
  assert.deepEqual(limitState(table, request, clock.nowUs()), { spec: request.spec, remaining: 4, resetMs: 60_000 });
});

test("shadow limits are not told to clients, and without limits there are no fields", () => {
  const spec = { ...requests("trial", 5, 500, 5, 0), mode: "shadow" as const };
  assert.deepEqual(rateLimitFields([{ spec, remaining: 1, resetMs: 1 }]), []);
  assert.deepEqual(rateLimitFields([]), []);
});

test("a name cannot break out of its quotes or into another header", () => {
  const spec = requests('a"b\\c\r\nSet-Cookie: x\u00e9', 1, 1000, 1, 0);
  assert.equal(rateLimitFields([{ spec, remaining: 0, resetMs: 0 }])[3], '"a\\"b\\\\c??Set-Cookie: x?";r=0;t=0');
});
