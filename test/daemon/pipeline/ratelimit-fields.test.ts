import assert from "node:assert/strict";
import { test } from "node:test";
import { rateLimitFields } from "../../../src/daemon/pipeline/ratelimit-fields.ts";
import { concurrent, requests } from "../../support/limiter-bench.ts";

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

test("shadow limits are not told to clients, and without limits there are no fields", () => {
  const spec = { ...requests("trial", 5, 500, 5, 0), mode: "shadow" as const };
  assert.deepEqual(rateLimitFields([{ spec, remaining: 1, resetMs: 1 }]), []);
  assert.deepEqual(rateLimitFields([]), []);
});

test("a name cannot break out of its quotes or into another header", () => {
  const spec = requests('a"b\\c\r\nSet-Cookie: x\u00e9', 1, 1000, 1, 0);
  assert.equal(rateLimitFields([{ spec, remaining: 0, resetMs: 0 }])[3], '"a\\"b\\\\c??Set-Cookie: x?";r=0;t=0');
});
