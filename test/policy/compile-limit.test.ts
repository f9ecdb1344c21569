import assert from "node:assert/strict";
import test from "node:test";
import { compileLimit } from "../../src/policy/compile-limit.ts";

test("a budget slides or follows the calendar, denies what has no price, and warns three times", () => {
  assert.deepEqual(compileLimit({ name: "spend", per: ["route", "client"], usd: "25/day", zone: "Europe/Berlin" }), {
    name: "spend",
    kind: "usd",
    per: ["client", "route"],
    count: 25_000_000_000,
    periodMs: 86_400_000,
    burst: 25_000_000_000,
    waitMs: 0,
    mode: "enforce",
    budget: {
      calendar: { unit: "day", zone: "Europe/Berlin" },
      strict: false,
      unpriced: "deny",
      warn: [50, 80, 95],
    },
  });
  const sliding = compileLimit({ name: "t", per: ["client"], tokens: "200000/min", strict: true, warn: [90, 10] });
  assert.deepEqual(sliding.budget, { calendar: null, strict: true, unpriced: "allow", warn: [10, 90] });
  assert.equal(compileLimit({ name: "m", per: ["user"], usd: "5/month" }).budget?.calendar?.zone, "UTC");
  assert.equal(compileLimit({ name: "u", per: ["user"], usd: "5/h", unpriced: "allow" }).budget?.unpriced, "allow");
});

test("what is no budget has none", () => {
  assert.equal(compileLimit({ name: "r", per: ["client"], requests: "5/s" }).budget, null);
  assert.equal(compileLimit({ name: "c", per: ["client"], concurrent: 5 }).budget, null);
});
