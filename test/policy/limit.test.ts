import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { NOTHING_KNOWN } from "../../src/policy/budget.ts";
import { bucketKey, type LimitRequest, LimitTable } from "../../src/policy/limit.ts";
import { anySteps, concurrent, LimitPlay, requestsPer, tokens, tokensPer } from "./limit-steps.ts";

fc.configureGlobal({ seed: 20260901 });

const MINUTE = 60_000_000;

function fill(table: LimitTable, request: LimitRequest, nowUs: number): number {
  let granted = 0;
  while (table.tryReserve([request], nowUs, tokens(1)).ok) granted++;
  return granted;
}

test("300/min with the default burst is 300 in every minute, not 300 and what has trickled in", () => {
  const plan = { spec: requestsPer(300, 60_000), key: "k" };
  const table = new LimitTable();
  assert.equal(fill(table, plan, 0), 300);
  for (let second = 1; second < 60; second++) assert.equal(fill(table, plan, second * 1_000_000), 0);
  assert.equal(fill(table, plan, MINUTE - 1), 0);
  assert.equal(fill(table, plan, MINUTE), 300);
});

test("a burst of one is even spacing", () => {
  const plan = { spec: requestsPer(3, 1000, { burst: 1 }), key: "k" };
  const table = new LimitTable();
  const granted: number[] = [];
  for (let us = 0; us < 3_000_000; us += 1) {
    const result = table.tryReserve([plan], us, NOTHING_KNOWN);
    if (result.ok) granted.push(us);
    else us += (result.denied.retryAfterUs ?? 0) - 1;
  }
  assert.deepEqual(granted, [0, 333_334, 666_668, 1_000_002, 1_333_336, 1_666_670, 2_000_004, 2_333_338, 2_666_672]);
});

test("a burst between spends at once what it may and then keeps the pace", () => {
  const plan = { spec: requestsPer(300, 60_000, { burst: 30 }), key: "k" };
  const table = new LimitTable();
  assert.equal(fill(table, plan, 0), 30);
  assert.equal(fill(table, plan, 200_000), 1);
  assert.equal(fill(table, plan, 1_000_000), 4);
  let total = 35;
  for (let us = 1_200_000; us < MINUTE; us += 200_000) total += fill(table, plan, us);
  assert.equal(total, 300);
});

test("a denial in one limit takes nothing from the others", () => {
  const rate = { spec: requestsPer(5, 1000), key: "rate" };
  const open = { spec: concurrent(1), key: "open" };
  const table = new LimitTable();
  const first = table.tryReserve([rate, open], 0, NOTHING_KNOWN);
  assert.ok(first.ok);
  const before = JSON.stringify(table.exportState());
  const second = table.tryReserve([rate, open], 10, NOTHING_KNOWN);
  assert.ok(!second.ok);
  assert.equal(second.denied.key, "open");
  assert.equal(second.denied.retryAfterUs, null);
  assert.equal(JSON.stringify(table.exportState()), before);
  table.release(first.hold, null, 0);
  assert.ok(table.tryReserve([rate, open], 10, NOTHING_KNOWN).ok);
  assert.equal(table.remaining(rate.spec, "rate", 10).remaining, 3);
});

test("settling twice, or both ways, counts once", () => {
  const open = { spec: concurrent(2), key: "open" };
  const rate = { spec: requestsPer(2, 1000), key: "rate" };
  const table = new LimitTable();
  const [a, b] = [table.tryReserve([open, rate], 0, NOTHING_KNOWN), table.tryReserve([open, rate], 0, NOTHING_KNOWN)];
  assert.ok(a.ok && b.ok);
  table.release(a.hold, null, 0);
  table.release(a.hold, null, 0);
  table.refund(a.hold, 0);
  assert.equal(table.remaining(open.spec, "open", 0).remaining, 1);
  assert.equal(table.remaining(rate.spec, "rate", 0).remaining, 0);
  assert.equal(a.hold.settled, true);
});

test("a refund gives back the grant, also one in the middle and one that is long past", () => {
  const rate = { spec: requestsPer(3, 1000), key: "rate" };
  const table = new LimitTable();
  const holds = [0, 100, 200].map((us) => table.tryReserve([rate], us, NOTHING_KNOWN));
  const [, middle] = holds;
  assert.ok(middle?.ok);
  assert.equal(table.tryReserve([rate], 300, NOTHING_KNOWN).ok, false);
  table.refund(middle.hold, 0);
  assert.equal(fill(table, rate, 300), 1);
  assert.equal(fill(table, rate, 1_000_000), 1);
  const [oldest] = holds;
  assert.ok(oldest?.ok);
  table.refund(oldest.hold, 0);
  assert.equal(fill(table, rate, 1_000_000), 0);
});

test("a limit in shadow mode reports what it would have denied, and denies nothing", () => {
  const rate = { spec: requestsPer(2, 1000, { mode: "shadow" }), key: "rate" };
  const open = { spec: concurrent(1, { mode: "shadow" }), key: "open" };
  const table = new LimitTable();
  const results = Array.from({ length: 4 }, () => table.tryReserve([rate, open], 0, NOTHING_KNOWN));
  assert.deepEqual(
    results.map((result) => [result.ok, ...result.shadowed.map(({ key, retryAfterUs }) => `${key} ${retryAfterUs}`)]),
    [[true], [true, "open null"], [true, "rate 1000000", "open null"], [true, "rate 1000000", "open null"]],
  );
  for (const result of results) if (result.ok) table.release(result.hold, null, 0);
  assert.equal(table.remaining(open.spec, "open", 0).remaining, 1);
  assert.equal(table.tryReserve([rate], 1_000_000, NOTHING_KNOWN).shadowed.length, 0);
});

test("a key that is given twice is taken once", () => {
  const rate = { spec: requestsPer(1, 1000), key: "rate" };
  const table = new LimitTable();
  assert.equal(table.tryReserve([rate, rate], 0, NOTHING_KNOWN).ok, true);
  assert.equal(table.tryReserve([rate], 0, NOTHING_KNOWN).ok, false);
});

test("what remains and when it is full again", () => {
  const rate = requestsPer(10, 1000, { burst: 4 });
  const table = new LimitTable();
  assert.deepEqual(table.remaining(rate, "k", 0), { remaining: 4, resetUs: 0, limit: 10 });
  for (let i = 0; i < 3; i++) assert.ok(table.tryReserve([{ spec: rate, key: "k" }], 0, NOTHING_KNOWN).ok);
  assert.deepEqual(table.remaining(rate, "k", 0), { remaining: 1, resetUs: 1_000_000, limit: 10 });
  assert.deepEqual(table.remaining(rate, "k", 100_000), { remaining: 2, resetUs: 900_000, limit: 10 });
  assert.deepEqual(table.remaining(rate, "k", 1_000_000), { remaining: 4, resetUs: 0, limit: 10 });
  const open = concurrent(3);
  assert.ok(table.tryReserve([{ spec: open, key: "c" }], 0, NOTHING_KNOWN).ok);
  assert.deepEqual(table.remaining(open, "c", 0), { remaining: 2, resetUs: null, limit: 3 });
  assert.deepEqual(table.remaining(open, "unused", 0), { remaining: 3, resetUs: 0, limit: 3 });
});

test("a changed limit goes on from what has been used", () => {
  const table = new LimitTable();
  assert.equal(fill(table, { spec: requestsPer(300, 60_000), key: "k" }, 0), 300);
  assert.equal(fill(table, { spec: requestsPer(310, 60_000), key: "k" }, 1), 10);
  assert.equal(fill(table, { spec: requestsPer(100, 60_000), key: "k" }, MINUTE - 1), 0);
  assert.equal(fill(table, { spec: requestsPer(100, 60_000), key: "k" }, MINUTE), 90);
  assert.equal(fill(table, { spec: requestsPer(100, 60_000), key: "k" }, MINUTE + 1), 10);
});

test("a full table forgets idle counters, and denies rather than forget one in use", () => {
  const spec = requestsPer(1, 1000);
  const table = new LimitTable({ maxBuckets: 2 });
  assert.ok(table.tryReserve([{ spec, key: "a" }], 0, NOTHING_KNOWN).ok);
  assert.ok(table.tryReserve([{ spec, key: "b" }], 400_000, NOTHING_KNOWN).ok);
  const before = JSON.stringify(table.exportState());
  const denied = table.tryReserve([{ spec, key: "c" }], 500_000, NOTHING_KNOWN);
  assert.ok(!denied.ok);
  assert.equal(denied.denied.retryAfterUs, 500_000);
  assert.equal(JSON.stringify(table.exportState()), before);
  assert.equal(table.tryReserve([{ spec, key: "c" }], 999_999, NOTHING_KNOWN).ok, false);
  assert.ok(table.tryReserve([{ spec, key: "c" }], 1_000_000, NOTHING_KNOWN).ok);
  assert.deepEqual(
    table.exportState().map(({ key }) => key),
    ["b", "c"],
  );
  assert.equal(
    table.tryReserve([{ spec, key: "a" }], 0, NOTHING_KNOWN).ok,
    false,
    "a forgotten counter does not come back with the clock",
  );
  assert.ok(table.tryReserve([{ spec: { ...spec, mode: "shadow" }, key: "d" }], 1_000_000, NOTHING_KNOWN).ok);
});

test("an unreadable exported row is left out", () => {
  const table = new LimitTable();
  for (const state of [
    "",
    "null",
    "{}",
    "[]",
    '{"v":2}',
    '{"v":1,"count":1,"periodUs":1000,"burst":2,"base":null,"latest":5,"grants":[]}',
  ]) {
    table.importState([{ key: "k", state }], 0);
  }
  const row = { v: 1, count: 1, periodUs: 1000, burst: 1, base: null, latest: 5 };
  for (const grants of [[5, 4], ["x"], [1.5], null])
    table.importState([{ key: "k", state: JSON.stringify({ ...row, grants }) }], 0);
  assert.deepEqual(table.exportState(), []);
});

test("the time must be whole microseconds", () => {
  for (const nowUs of [Number.NaN, 0.5, Number.POSITIVE_INFINITY]) {
    assert.throws(() => new LimitTable().tryReserve([], nowUs, NOTHING_KNOWN), /whole microseconds/);
  }
});

test("a limit per credential counts over all routes, one per client within its route", () => {
  const ids = { client: "app", credential: "p-main", provider: "p", route: "a", user: null };
  const other = { ...ids, route: "b" };
  const spec = (per: ReturnType<typeof requestsPer>["per"]) => requestsPer(1, 1000, { per });
  const shared = (per: ReturnType<typeof requestsPer>["per"]) =>
    bucketKey(spec(per), ids) === bucketKey(spec(per), other);
  assert.equal(shared(["credential"]), true);
  assert.equal(shared(["provider"]), true);
  assert.equal(shared(["client", "credential"]), true);
  assert.equal(shared(["client"]), false);
  assert.equal(shared(["user"]), false);
  assert.equal(shared(["credential", "route"]), false);
  assert.notEqual(bucketKey(spec(["user"]), { ...ids, user: "null" }), bucketKey(spec(["user"]), ids));
  assert.notEqual(
    bucketKey(spec(["client"]), { ...ids, client: 'a",["x' }),
    bucketKey(spec(["client"]), { ...ids, client: "a" }),
  );
});

const anyLimits = fc
  .tuple(
    fc.integer({ min: 1, max: 6 }),
    fc.nat(5),
    fc.integer({ min: 1, max: 4 }),
    fc.integer({ min: 1, max: 3 }),
    fc.nat(5),
  )
  .map(([count, burst, other, open, shadow]): LimitRequest[] => [
    { spec: requestsPer(count, 1, { burst: 1 + (burst % count) }), key: "rate" },
    { spec: requestsPer(other, 2), key: "slow" },
    { spec: concurrent(open), key: "open" },
    { spec: requestsPer(2, 1, { mode: shadow > 2 ? "shadow" : "enforce" }), key: "third" },
    { spec: tokensPer(3 * count, 1, { strict: true }), key: "strict" },
    { spec: tokensPer(2 + burst, 2), key: "loose" },
  ]);

const isBudget = ({ spec }: LimitRequest): boolean => spec.budget !== null;

test("G11: whatever happens, no window ever has more than N grants, and no more than N are held", () => {
  fc.assert(
    fc.property(anyLimits, anySteps, (limits, steps) => {
      const play = new LimitPlay(limits);
      for (const step of steps) {
        play.run(step);
        for (const { spec, key } of limits) {
          if (spec.kind === "concurrent") assert.ok(play.heldOf(key) <= spec.count, "too many held");
        }
      }
      for (const { spec, key } of limits) {
        if (spec.kind !== "requests") continue;
        assert.ok(play.mostInWindow(key, spec.periodMs * 1000) <= spec.count, `${key} exceeded its window`);
        // Pacing: B at once, and one more per whole interval.
        const interval = Math.ceil((spec.periodMs * 1000) / spec.count);
        for (let more = 1; more <= 3; more++) {
          const most = play.mostInWindow(key, more * interval);
          assert.ok(most <= spec.burst - 1 + more, `${key} had ${most} within ${more} intervals`);
        }
      }
      for (const budget of limits.filter(isBudget)) assert.equal(play.mostOverBudget(budget), 0, budget.key);
    }),
    { numRuns: 1500 },
  );
});

test("G11: the same holds when the table is too small for its counters", () => {
  fc.assert(
    fc.property(anyLimits, anySteps, (limits, steps) => {
      const play = new LimitPlay(limits, 2);
      for (const step of steps) play.run(step);
      for (const { spec, key } of limits) {
        // A shadow limit without a counter is let through uncounted, which is what shadow means.
        if (spec.kind !== "requests" || spec.mode === "shadow") continue;
        assert.ok(play.mostInWindow(key, spec.periodMs * 1000) <= spec.count, `${key} exceeded its window`);
      }
      for (const budget of limits.filter(isBudget)) assert.equal(play.mostOverBudget(budget), 0, budget.key);
    }),
    { numRuns: 800 },
  );
});

test("G11: a denial leaves the state as it was, byte for byte, and says exactly when there is room", () => {
  fc.assert(
    fc.property(anyLimits, anySteps, fc.constantFrom(2, 100), (limits, steps, maxBuckets) => {
      const play = new LimitPlay(limits, maxBuckets);
      for (const step of steps) play.run(step);
      const { table, nowUs } = play;
      const single = [0, 1, 3, 4, 5].map((at) => limits.slice(at, at + 1));
      for (const wanted of [limits, ...single, limits.slice(4)]) {
        const state = () =>
          JSON.stringify([table.exportState(), limits.map(({ spec, key }) => table.remaining(spec, key, nowUs))]);
        const before = state();
        const result = table.tryReserve(wanted, nowUs, tokens(2, 3));
        if (result.ok) {
          table.refund(result.hold, nowUs);
          continue;
        }
        assert.equal(state(), before);
        const { retryAfterUs } = result.denied;
        if (retryAfterUs === null) continue;
        assert.ok(retryAfterUs > 0);
        assert.equal(
          table.tryReserve(wanted, nowUs + retryAfterUs - 1, tokens(2, 3)).ok,
          false,
          "granted a microsecond early",
        );
        assert.equal(state(), before);
        const copy = new LimitPlay(limits, maxBuckets);
        for (const step of steps) copy.run(step);
        assert.equal(
          copy.table.tryReserve(wanted, nowUs + retryAfterUs, tokens(2, 3)).ok,
          true,
          "denied at the promised time",
        );
      }
    }),
    { numRuns: 1000 },
  );
});

test("G11: a refund leaves the counters as if the request had never been made", () => {
  fc.assert(
    fc.property(anyLimits, anySteps, (limits, steps) => {
      const play = new LimitPlay(limits);
      for (const step of steps) play.run(step);
      const left = () => limits.map(({ spec, key }) => play.table.remaining(spec, key, play.nowUs).remaining);
      const before = left();
      const result = play.table.tryReserve(limits, play.nowUs, tokens(2, 3));
      if (!result.ok) return;
      play.table.refund(result.hold, play.nowUs);
      assert.deepEqual(left(), before);
    }),
    { numRuns: 500 },
  );
});

test("remaining is exactly how many can be taken", () => {
  fc.assert(
    fc.property(anyLimits, anySteps, (limits, steps) => {
      const play = new LimitPlay(limits);
      for (const step of steps) play.run(step);
      for (const request of limits) {
        if (request.spec.mode === "shadow") continue;
        const { remaining } = play.table.remaining(request.spec, request.key, play.nowUs);
        assert.equal(fill(play.table, request, play.nowUs), remaining, request.key);
      }
    }),
    { numRuns: 500 },
  );
});
