import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { NOTHING_KNOWN } from "../../src/policy/budget.ts";
import { type Hold, LimitTable } from "../../src/policy/limit.ts";
import { requestsPer } from "./limit-steps.ts";

fc.configureGlobal({ seed: 20260901 });

const SECOND = 1_000_000;

test("G11: a clock that jumps back and forth grants nothing extra", () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant("reserve" as const), nowUs: fc.nat(3000) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("refund" as const), pick: fc.nat(20) }) },
  );
  const limit = fc.tuple(fc.integer({ min: 1, max: 4 }), fc.nat(3));
  fc.assert(
    fc.property(limit, fc.array(step, { maxLength: 60 }), ([count, burst], steps) => {
      const plan = { spec: requestsPer(count, 1, { burst: 1 + (burst % count) }), key: "k" };
      const table = new LimitTable();
      const grants: { readonly atUs: number; readonly hold: Hold }[] = [];
      let latestUs = 0;
      for (const next of steps) {
        if (next.do === "refund") {
          const [given] = grants.splice(next.pick % Math.max(1, grants.length), 1);
          if (given !== undefined) table.refund(given.hold, 0);
          continue;
        }
        const result = table.tryReserve([plan], next.nowUs, NOTHING_KNOWN);
        if (!result.ok) continue;
        // Time has not gone back, whatever the clock says: this grant is no earlier than the one before.
        latestUs = Math.max(latestUs, next.nowUs);
        grants.push({ atUs: latestUs, hold: result.hold });
      }
      for (const { atUs: from } of grants) {
        assert.ok(grants.filter(({ atUs }) => atUs >= from && atUs < from + 1000).length <= count);
      }
    }),
    { numRuns: 3000 },
  );
});

test("a clock set back in operation delays until it has caught up, exactly as announced", () => {
  const plan = { spec: requestsPer(1, 1000), key: "k" };
  const table = new LimitTable();
  assert.ok(table.tryReserve([plan], 10 * SECOND, NOTHING_KNOWN).ok);
  const denied = table.tryReserve([plan], 4 * SECOND, NOTHING_KNOWN);
  assert.ok(!denied.ok);
  assert.equal(denied.denied.retryAfterUs, 7 * SECOND);
  assert.equal(table.tryReserve([plan], 11 * SECOND - 1, NOTHING_KNOWN).ok, false);
  assert.ok(table.tryReserve([plan], 11 * SECOND, NOTHING_KNOWN).ok);
});

test("a clock set back over a restart delays by one period at most, and forgets nothing", () => {
  const plan = { spec: requestsPer(3, 1000), key: "k" };
  const before = new LimitTable();
  for (const us of [3600 * SECOND, 3600 * SECOND + 400_000]) assert.ok(before.tryReserve([plan], us, NOTHING_KNOWN).ok);
  const after = new LimitTable();
  after.importState(before.exportState(), 5 * SECOND);
  assert.equal(after.remaining(plan.spec, "k", 5 * SECOND).remaining, 1);
  assert.equal(after.remaining(plan.spec, "k", 5.6 * SECOND).remaining, 2);
  assert.equal(after.remaining(plan.spec, "k", 6 * SECOND).remaining, 3);
});

test("a restart goes on where it stopped", () => {
  const plan = { spec: requestsPer(3, 1000, { burst: 2 }), key: "k" };
  const before = new LimitTable();
  for (const us of [0, 0, 400_000]) assert.ok(before.tryReserve([plan], us, NOTHING_KNOWN).ok);
  const after = new LimitTable();
  after.importState(before.exportState(), 500_000);
  assert.deepEqual(after.exportState(), before.exportState());
  for (const us of [500_000, 999_999, SECOND, SECOND + 400_000]) {
    assert.deepEqual(
      after.tryReserve([plan], us, NOTHING_KNOWN).ok,
      before.tryReserve([plan], us, NOTHING_KNOWN).ok,
      `${us}`,
    );
  }
});

test("a counter that was forgotten as idle does not start over in a time before that", () => {
  const plan = { spec: requestsPer(1, 1000), key: "k" };
  const other = (key: string) => ({ ...plan, key });
  const table = new LimitTable({ maxBuckets: 2 });
  assert.ok(table.tryReserve([plan], 0, NOTHING_KNOWN).ok);
  assert.ok(table.tryReserve([other("a")], 0, NOTHING_KNOWN).ok);
  assert.ok(table.tryReserve([other("b")], 2 * SECOND, NOTHING_KNOWN).ok);
  assert.deepEqual(
    table.exportState().map(({ key }) => key),
    ["b"],
  );
  assert.ok(table.tryReserve([plan], 100_000, NOTHING_KNOWN).ok);
  assert.equal(table.tryReserve([plan], 1_100_000, NOTHING_KNOWN).ok, false);
  assert.equal(table.tryReserve([plan], 3 * SECOND - 1, NOTHING_KNOWN).ok, false);
  assert.ok(table.tryReserve([plan], 3 * SECOND, NOTHING_KNOWN).ok);
});
