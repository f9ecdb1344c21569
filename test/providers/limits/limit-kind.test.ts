import assert from "node:assert/strict";
import { test } from "node:test";
import {
  knownLimitKind,
  LIMIT_KINDS,
  limitKind,
  limitPeriodMs,
  limitThing,
} from "../../../src/providers/limits/limit-kind.ts";

test("a kind is a thing and, where it is known, its period", () => {
  assert.equal(limitKind("requests", null), "requests");
  assert.equal(limitKind("weight", 60_000), "weight_per_minute");
  assert.equal(limitKind("orders", 10_000), "orders_per_10s");
  assert.equal(limitThing("input_tokens_per_day"), "input_tokens");
  assert.equal(limitPeriodMs("requests_per_5m"), 300_000);
  assert.equal(limitPeriodMs("credits"), null);
});

test("a period that has no name leaves the thing alone, so that a provider cannot invent kinds", () => {
  for (const periodMs of [0, 1, 61_000, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.equal(limitKind("requests", periodMs), "requests");
  }
});

test("the kinds are a small closed set in which each one reads back as itself", () => {
  assert.equal(new Set(LIMIT_KINDS).size, LIMIT_KINDS.length);
  assert.ok(LIMIT_KINDS.length < 100);
  for (const kind of LIMIT_KINDS) {
    assert.equal(limitKind(limitThing(kind), limitPeriodMs(kind)), kind);
    assert.equal(knownLimitKind(kind), kind);
    assert.match(kind, /^[a-z0-9_]+$/);
  }
  for (const stranger of ["", "request", "requests_per_week", "__proto__"])
    assert.equal(knownLimitKind(stranger), null);
});
