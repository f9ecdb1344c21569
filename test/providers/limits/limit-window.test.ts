import assert from "node:assert/strict";
import { test } from "node:test";
import {
  answerClock,
  isStored,
  limitWindow,
  MAX_RESET_MS,
  ourTime,
} from "../../../src/providers/limits/limit-window.ts";
import { limitFields } from "../../support/limit-fields.ts";

const NOW = Date.UTC(2026, 9, 4, 12, 0, 0);
const CLOCK = { nowMs: NOW, aheadMs: 0 };

test("a provider's clock is corrected when it differs by more than 2 s", () => {
  const clockFor = (date: string) => answerClock(limitFields(`date: ${date}`), NOW);
  assert.equal(clockFor("Sun, 04 Oct 2026 12:00:01 GMT").aheadMs, 0);
  assert.equal(clockFor("Sun, 04 Oct 2026 11:59:58 GMT").aheadMs, 0);
  assert.equal(clockFor("Sun, 04 Oct 2026 12:05:00 GMT").aheadMs, 300_000);
  assert.equal(clockFor("Sun, 04 Oct 2026 11:00:00 GMT").aheadMs, -3_600_000);
  assert.equal(clockFor("yesterday").aheadMs, 0);
  assert.equal(answerClock(limitFields(""), NOW).aheadMs, 0);
});

test("only points in time are corrected, spans are not", () => {
  const ahead = { nowMs: NOW, aheadMs: 300_000 };
  assert.equal(ourTime({ atMs: NOW + 330_000 }, ahead), NOW + 30_000);
  assert.equal(ourTime({ inMs: 30_000 }, ahead), NOW + 30_000);
});

test("an answer from a cache is recognised by its age", () => {
  assert.equal(isStored(limitFields("age: 60")), true);
  assert.equal(isStored(limitFields("age: 0")), false);
  assert.equal(isStored(limitFields("age: old")), false);
  assert.equal(isStored(limitFields("")), false);
});

test("a window that says nothing is none; one that contradicts itself is the smaller of both", () => {
  assert.equal(limitWindow("requests", { limit: null, remaining: null, reset: { inMs: 5 } }, CLOCK), null);
  assert.deepEqual(limitWindow("requests", { limit: 5, remaining: 500, reset: null }, CLOCK), {
    kind: "requests",
    limit: 5,
    remaining: 5,
    resetAtMs: null,
  });
  assert.equal(limitWindow("tokens", { limit: null, remaining: 7, reset: null }, CLOCK)?.remaining, 7);
});

test("a reset in the past is now, and one that nobody can mean is unknown", () => {
  const resetOf = (atMs: number) =>
    limitWindow("requests", { limit: 1, remaining: 1, reset: { atMs } }, CLOCK)?.resetAtMs;
  assert.equal(resetOf(NOW + 5_000), NOW + 5_000);
  assert.equal(resetOf(NOW - 5_000), NOW);
  assert.equal(resetOf(NOW + MAX_RESET_MS + 1), null);
  assert.equal(resetOf(NOW - MAX_RESET_MS - 1), null);
  assert.equal(resetOf(1e300), null);
});
