import assert from "node:assert/strict";
import test from "node:test";
import { BudgetBucket, type Held } from "../../src/policy/budget-bucket.ts";
import { Calendars } from "../../src/policy/calendar.ts";
import type { LimitSpec } from "../../src/policy/compile.ts";
import { tokensPer } from "./limit-steps.ts";

/** A period of 120 ms, so that a slice is 1 ms. */
const SPEC = tokensPer(100, 120);
const MS = 1000;
const RULES = { calendars: new Calendars(), leaseUs: 1000 * MS };
const HOUR = 3_600_000_000;
const BERLIN = tokensPer(100, 86_400_000, { calendar: { unit: "day", zone: "Europe/Berlin" } });
const LONG = { ...RULES, leaseUs: HOUR };

const us = (iso: string): number => Date.parse(iso) * 1000;
const left = (bucket: BudgetBucket, nowUs: number, spec: LimitSpec = SPEC) => bucket.remaining(spec, nowUs).remaining;

/** A bucket in which calls used `amount` at each of these times. */
function used(spec: LimitSpec, amount: number, ...times: number[]): BudgetBucket {
  const bucket = new BudgetBucket(LONG);
  for (const at of times) bucket.settle(bucket.reserve(spec, amount, at), amount, at);
  return bucket;
}

test("what is reserved counts at once; settling replaces it with what was used", () => {
  const bucket = new BudgetBucket(RULES);
  const calls = [40, 30, 20].map((amount) => bucket.reserve(SPEC, amount, 0));
  assert.equal(left(bucket, 0), 10);
  assert.equal(bucket.readyAt(SPEC, 10, 0), 0);
  assert.equal(bucket.readyAt(SPEC, 11, 0), null, "a call in flight has to settle first");
  const [less, more, unknown] = calls as [Held, Held, Held];
  assert.deepEqual(bucket.settle(less, 5, 1), { over: 0, warn: [], spec: SPEC });
  assert.equal(left(bucket, 1), 45);
  assert.deepEqual(bucket.settle(more, 32, 2), { over: 2, warn: [], spec: SPEC });
  assert.equal(left(bucket, 2), 43);
  bucket.settle(unknown, null, 3);
  assert.equal(left(bucket, 3), 43);
  assert.equal(bucket.remaining(SPEC, 3).used, 57);
});

test("a refund is as if nothing had been reserved", () => {
  const bucket = used(SPEC, 10, 5);
  const before = left(bucket, 6);
  bucket.refund(bucket.reserve(SPEC, 80, 6), 7);
  assert.equal(left(bucket, 7), before);
});

test("a use leaves a sliding window one period after the settling, not after the reserving", () => {
  const bucket = new BudgetBucket(RULES);
  const call = bucket.reserve(SPEC, 100, 0);
  bucket.settle(call, 100, 50 * MS);
  assert.equal(bucket.readyAt(SPEC, 1, 119 * MS), 170 * MS);
  assert.equal(left(bucket, 170 * MS - 1), 0);
  assert.equal(left(bucket, 170 * MS), 100);
});

test("uses of one slice leave together with the last of them, so that a slice more counts at most", () => {
  const bucket = used(SPEC, 10, 0, 100, 900, 1100);
  assert.equal(left(bucket, 120 * MS + 899), 60);
  assert.equal(left(bucket, 120 * MS + 900), 90);
  assert.equal(left(bucket, 120 * MS + 1100), 100);
  assert.equal(bucket.readyAt(SPEC, 61, 10 * MS), 120 * MS + 900);
  assert.equal(bucket.readyAt(SPEC, 91, 10 * MS), 120 * MS + 1100);
});

test("looking changes nothing", () => {
  const bucket = used(SPEC, 30, 0, 5000);
  bucket.reserve(SPEC, 30, 6000);
  const before = bucket.exportState();
  for (const at of [6000, 500_000, 3 * HOUR]) {
    bucket.readyAt(SPEC, 50, at);
    bucket.readyAt(BERLIN, 50, at);
    bucket.remaining(SPEC, at);
  }
  assert.equal(bucket.exportState(), before);
});

test("a calendar's budget is whole again when its next period begins, and not before", () => {
  const bucket = new BudgetBucket(LONG);
  const at = us("2026-10-25T12:00Z");
  bucket.settle(bucket.reserve(BERLIN, 100, at), 100, at);
  const midnight = us("2026-10-25T23:00Z");
  assert.equal(bucket.readyAt(BERLIN, 1, at), midnight);
  assert.deepEqual(bucket.remaining(BERLIN, at), { used: 100, remaining: 0, fullAtUs: midnight });
  assert.equal(left(bucket, midnight - 1, BERLIN), 0);
  assert.equal(left(bucket, midnight, BERLIN), 100);
  bucket.settle(bucket.reserve(BERLIN, 100, midnight), 30, midnight);
  assert.equal(left(bucket, midnight, BERLIN), 70, "the first moment of a day is in it");
});

test("a call that runs over a calendar's edge counts in both periods", () => {
  const bucket = new BudgetBucket(LONG);
  const midnight = us("2026-06-15T22:00Z");
  const call = bucket.reserve(BERLIN, 60, midnight - 1);
  assert.equal(left(bucket, midnight - 1, BERLIN), 40);
  assert.equal(left(bucket, midnight, BERLIN), 40);
  assert.equal(bucket.readyAt(BERLIN, 50, midnight - 1), null, "the next period does not help while it runs");
  bucket.settle(call, 10, midnight + 5);
  assert.equal(left(bucket, midnight + 5, BERLIN), 90);
});

test("a call that is never settled counts as used when its lease ends", () => {
  const bucket = new BudgetBucket(RULES);
  bucket.reserve(SPEC, 70, 0);
  assert.equal(bucket.remaining(SPEC, 1000 * MS - 1).used, 0);
  assert.equal(bucket.remaining(SPEC, 1000 * MS).used, 70);
  assert.equal(left(bucket, 1000 * MS), 30);
  assert.equal(bucket.readyAt(SPEC, 31, 999 * MS), null);
  assert.equal(bucket.readyAt(SPEC, 31, 1000 * MS), 1120 * MS);
  assert.equal(left(bucket, 1120 * MS - 1), 30);
  assert.equal(left(bucket, 1120 * MS), 100);
});

test("whether a bucket was touched when a lease ended makes no difference", () => {
  const touched = new BudgetBucket(RULES);
  const untouched = new BudgetBucket(RULES);
  for (const bucket of [touched, untouched]) {
    bucket.settle(bucket.reserve(SPEC, 10, 0), 10, 950 * MS + 1);
    bucket.reserve(SPEC, 20, 3);
    bucket.reserve(SPEC, 30, 60 * MS);
  }
  for (const at of [1000 * MS, 1001 * MS, 1059 * MS, 1060 * MS, 1071 * MS, 1119 * MS, 1121 * MS, 1180 * MS]) {
    touched.refund(touched.reserve(SPEC, 0, at), at);
    assert.deepEqual(touched.remaining(SPEC, at), untouched.remaining(SPEC, at), `${at}`);
    assert.equal(touched.readyAt(SPEC, 95, at), untouched.readyAt(SPEC, 95, at), `${at}`);
  }
});

test("a figure that comes after the lease adds what it has in excess, or all once the estimate is forgotten", () => {
  const late = (real: number | null, at: number): number => {
    const bucket = new BudgetBucket(RULES);
    const call = bucket.reserve(SPEC, 50, 0);
    bucket.settle(call, real, at);
    return 100 - left(bucket, at);
  };
  assert.equal(late(60, 1100 * MS), 60);
  assert.equal(late(20, 1100 * MS), 50);
  assert.equal(late(null, 1100 * MS), 50);
  assert.equal(late(60, 1120 * MS), 60);
  assert.equal(late(20, 1120 * MS), 20);
  const bucket = new BudgetBucket(RULES);
  bucket.refund(bucket.reserve(SPEC, 50, 0), 1100 * MS);
  assert.equal(left(bucket, 1100 * MS), 50, "too late to take back");
});

test("after a crash what calls held counts as used, and the old process changes nothing any more", () => {
  const before = new BudgetBucket(RULES);
  before.settle(before.reserve(SPEC, 10, 0), 10, 1 * MS);
  const lost = before.reserve(SPEC, 40, 2 * MS);
  const after = BudgetBucket.importState(before.exportState() ?? "", 50 * MS, RULES);
  assert.ok(after);
  before.settle(lost, 90, 51 * MS);
  assert.equal(left(after, 50 * MS), 50);
  assert.equal(after.remaining(SPEC, 50 * MS).used, 50);
  assert.equal(left(after, 121 * MS), 60);
  assert.equal(left(after, 170 * MS - 1), 60, "it may have run until the crash, and that may have been just now");
  assert.equal(left(after, 170 * MS), 100);
  const muchLater = BudgetBucket.importState(before.exportState() ?? "", 3 * HOUR, RULES);
  assert.equal(muchLater && left(muchLater, 3 * HOUR), 100);
});

test("a clock set back over a restart: a sliding window moves with it, a calendar keeps its period", () => {
  const sliding = used(SPEC, 60, 10 * HOUR, 10 * HOUR + 20 * MS);
  const after = BudgetBucket.importState(sliding.exportState() ?? "", 4 * HOUR, RULES);
  assert.ok(after);
  assert.equal(left(after, 4 * HOUR + 100 * MS - 1), 0);
  assert.equal(left(after, 4 * HOUR + 100 * MS), 40);
  assert.equal(left(after, 4 * HOUR + 120 * MS), 100);

  const tomorrow = us("2026-06-16T12:00Z");
  const today = us("2026-06-15T12:00Z");
  const calendar = used(BERLIN, 60, tomorrow);
  const back = BudgetBucket.importState(calendar.exportState() ?? "", today, LONG);
  assert.ok(back);
  assert.equal(left(back, today, BERLIN), 40);
  assert.equal(back.readyAt(BERLIN, 50, today), us("2026-06-16T22:00Z"));
  back.settle(back.reserve(BERLIN, 10, today), 10, today);
  assert.equal(left(back, us("2026-06-16T21:59Z"), BERLIN), 30);
  assert.equal(left(back, us("2026-06-16T22:00Z"), BERLIN), 100);
});

test("a clock set back in operation forgets nothing earlier, and a calendar does not go back to a period it has left", () => {
  const bucket = used(SPEC, 60, 10 * HOUR);
  assert.equal(left(bucket, 4 * HOUR), 40);
  assert.equal(bucket.readyAt(SPEC, 50, 4 * HOUR), 10 * HOUR + 120 * MS);
  const [today, tomorrow] = [us("2026-06-15T12:00Z"), us("2026-06-16T12:00Z")];
  const daily = used(BERLIN, 60, today, tomorrow, today);
  assert.equal(left(daily, today, BERLIN), 0, "the third call counts in the later day");
});

test("a changed limit goes on from what was used", () => {
  const bucket = used(SPEC, 30, 0, 100 * MS);
  assert.equal(left(bucket, 110 * MS, tokensPer(80, 120)), 20);
  assert.equal(left(bucket, 110 * MS, tokensPer(50, 120)), 0);
  assert.equal(left(bucket, 110 * MS, tokensPer(100, 20)), 70, "a shorter period");
  assert.equal(left(bucket, 119 * MS, tokensPer(100, 20)), 70);
  assert.equal(left(bucket, 120 * MS, tokensPer(100, 20)), 100);
  assert.equal(left(bucket, 219 * MS, tokensPer(100, 240)), 40, "a longer one, from what is still remembered");

  const [morning, noon] = [us("2026-06-15T06:00Z"), us("2026-06-15T12:00Z")];
  const daily = used(BERLIN, 30, morning, noon);
  const newYork = tokensPer(100, 86_400_000, { calendar: { unit: "day", zone: "America/New_York" } });
  const month = tokensPer(100, 31 * 86_400_000, { calendar: { unit: "month", zone: "Europe/Berlin" } });
  assert.equal(left(daily, noon, tokensPer(100, 3_600_000)), 70, "sliding, of an hour");
  assert.equal(left(daily, noon, newYork), 40);
  assert.equal(left(daily, us("2026-06-16T01:00Z"), newYork), 40, "still the 15th there");
  assert.equal(left(daily, us("2026-06-16T04:00Z"), newYork), 100);
  assert.equal(left(daily, us("2026-06-30T12:00Z"), month), 40);
});

test("a call that began before a change of the period does not make the budget forget", () => {
  const minute = tokensPer(100, 60_000);
  const day = tokensPer(100, 86_400_000);
  const bucket = new BudgetBucket(LONG);
  const old = bucket.reserve(minute, 5, 0);
  bucket.settle(bucket.reserve(day, 40, 1), 40, 2);
  bucket.settle(old, 5, HOUR / 2);
  assert.equal(left(bucket, HOUR / 2, day), 55);
  // One that waited in a queue meanwhile reserves under the old limit, after the change.
  bucket.settle(bucket.reserve(minute, 10, HOUR / 2), 10, HOUR / 2);
  bucket.refund(bucket.reserve(day, 1, HOUR), HOUR);
  assert.equal(left(bucket, HOUR, day), 45);
  assert.equal(left(bucket, HOUR, minute), 100);
  assert.ok(bucket.idleAt() > 24 * HOUR);
});

test("a bucket may be forgotten once nothing in it counts", () => {
  assert.equal(new BudgetBucket(RULES).idleAt(), Number.NEGATIVE_INFINITY);
  assert.equal(used(SPEC, 10, 7).idleAt(), 120 * MS + 7);
  const open = new BudgetBucket(RULES);
  const call = open.reserve(SPEC, 10, 7);
  assert.equal(open.idleAt(), 1120 * MS + 7);
  open.refund(call, 9);
  assert.equal(open.idleAt(), 9);
  const day = used(BERLIN, 10, us("2026-10-24T22:00Z"));
  assert.ok(day.idleAt() >= us("2026-10-25T23:00Z"), "a day of 25 hours");
  assert.equal(new BudgetBucket(RULES).exportState(), null);
});

test("no figure makes the sums inexact", () => {
  const spec = tokensPer(1e15, 120);
  const bucket = new BudgetBucket(RULES);
  for (let n = 0; n < 50; n++) bucket.settle(bucket.reserve(spec, 1, n * MS), 1e15 - n, n * MS);
  assert.equal(left(bucket, 50 * MS, spec), 0);
  assert.equal(left(bucket, 170 * MS, spec), 1e15);
  bucket.settle(bucket.reserve(spec, 3, 171 * MS), 3, 171 * MS);
  assert.equal(left(bucket, 171 * MS, spec), 1e15 - 3);
});

test("memory follows the window and not the traffic", () => {
  const bucket = new BudgetBucket(RULES);
  for (let at = 0; at < 2000 * MS; at += 50) bucket.settle(bucket.reserve(SPEC, 0, at), 1, at);
  assert.ok(JSON.parse(bucket.exportState() ?? "").used.length <= 121);
  for (let at = 2000 * MS; at < 2900 * MS; at += 30) bucket.reserve(SPEC, 1, at);
  assert.ok(JSON.parse(bucket.exportState() ?? "").open.length <= 901);
});

test("settling tells which levels were passed, once per window, over a restart too", () => {
  const spec = { ...BERLIN, budget: { ...BERLIN.budget, warn: [50, 80] } } as LimitSpec;
  const at = us("2026-06-15T12:00Z");
  let bucket = new BudgetBucket(LONG);
  const use = (amount: number, nowUs: number) => bucket.settle(bucket.reserve(spec, amount, nowUs), amount, nowUs).warn;
  assert.deepEqual(use(49, at), []);
  assert.deepEqual(use(1, at), [50]);
  bucket = BudgetBucket.importState(bucket.exportState() ?? "", at, LONG) ?? assert.fail();
  assert.deepEqual(use(10, at), []);
  assert.deepEqual(use(40, at), [80]);
  assert.deepEqual(use(85, us("2026-06-15T22:00Z")), [50, 80], "the next day");
});
