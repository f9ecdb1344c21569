import assert from "node:assert/strict";
import { test } from "node:test";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import { LimitDenied } from "../../../src/daemon/pipeline/limit-denied.ts";
import type { Caller, Limiter, LimiterHold } from "../../../src/daemon/pipeline/limiter.ts";
import { NOTHING_KNOWN } from "../../../src/policy/budget.ts";
import type { LimitSpec } from "../../../src/policy/compile.ts";
import type { LimitRequest } from "../../../src/policy/limit.ts";
import { turn } from "../../support/fake-clock.ts";
import { concurrent, limiterBench, requests } from "../../support/limiter-bench.ts";

const never = () => new AbortController().signal;

const APP: Caller = { client: "app", ask: NOTHING_KNOWN, gone: never };

const one = (spec: LimitSpec): LimitRequest[] => [{ spec, key: spec.name }];

function immediate(limiter: Limiter, wanted: readonly LimitRequest[]): LimiterHold {
  const reserved = limiter.reserve(wanted, APP);
  return reserved instanceof Promise ? assert.fail("had to wait") : reserved;
}

function denial(run: () => unknown): LimitDenied {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof LimitDenied, String(error));
    return error;
  }
  return assert.fail("was not denied");
}

interface Seen {
  hold: LimiterHold | null;
  error: unknown;
}

/** A function, because the compiler cannot know that a promise has filled `seen` in the meantime. */
function waitOf(seen: Seen): LimiterHold["waited"] | undefined {
  return seen.hold?.waited;
}

/** Watches a reservation that has to wait. */
function watched(reserved: LimiterHold | Promise<LimiterHold>): Seen {
  assert.ok(reserved instanceof Promise, "did not have to wait");
  const seen: Seen = { hold: null, error: null };
  reserved.then(
    (hold) => {
      seen.hold = hold;
    },
    (error: unknown) => {
      seen.error = error;
    },
  );
  return seen;
}

test("with room the reservation is there at once, without a promise or a timer", () => {
  const { limiter, clock } = limiterBench();
  const hold = immediate(limiter, one(requests("plan", 2, 1000, 2, 500)));
  assert.equal(hold.waited, null);
  assert.equal(clock.pending(), 0);
  hold.release(null);
  hold.release(null);
});

test("a limit without `wait` denies at once, with everything a client needs to come back", () => {
  const { limiter } = limiterBench();
  const spec = requests("plan", 2, 60_000, 2, 0);
  immediate(limiter, one(spec));
  immediate(limiter, one(spec));
  const error = denial(() => limiter.reserve(one(spec), APP));
  assert.equal(error.status, 429);
  assert.equal(error.code, "limit_exceeded");
  assert.equal(error.reason, "no_room");
  assert.equal(error.limit, 2);
  assert.equal(error.remaining, 0);
  assert.equal(error.retryAfterMs, 60_000);
  assert.ok((error.resetMs ?? 0) >= 60_000);
  assert.equal(error.publicMessage, "limit plan (2 in 60 s per credential) has no room; try again in 60 s");
  assert.deepEqual(error.fields.slice(0, 4), ["Retry-After", "60", "RateLimit-Policy", '"plan";q=2;w=60']);
});

test("waiting longer than the limit allows is refused at once rather than at the end", () => {
  const { limiter, clock } = limiterBench();
  const spec = requests("plan", 1, 60_000, 1, 2000);
  immediate(limiter, one(spec));
  assert.equal(denial(() => limiter.reserve(one(spec), APP)).reason, "no_room");
  assert.equal(clock.pending(), 0);
});

test("a request waits for its turn and says how long it did", async () => {
  const { limiter, clock } = limiterBench();
  const spec = requests("plan", 10, 1000, 1, 500);
  immediate(limiter, one(spec));
  const first = watched(limiter.reserve(one(spec), APP));
  const second = watched(limiter.reserve(one(spec), APP));
  assert.equal(limiter.waiting(), 2);
  await clock.advance(100);
  assert.deepEqual(waitOf(first), { limit: "plan", ms: 100 });
  assert.equal(second.hold, null);
  await clock.advance(100);
  assert.deepEqual(waitOf(second), { limit: "plan", ms: 200 });
  assert.equal(limiter.waiting(), 0);
  assert.equal(clock.pending(), 0);
});

test("a newcomer does not overtake a waiter, even when there is room at that very moment", async () => {
  const { limiter, clock } = limiterBench();
  const spec = requests("plan", 10, 1000, 1, 500);
  immediate(limiter, one(spec));
  const waiter = watched(limiter.reserve(one(spec), APP));
  clock.skip(100);
  const newcomer = watched(limiter.reserve(one(spec), APP));
  await clock.advance(0);
  assert.ok(waiter.hold !== null);
  assert.equal(newcomer.hold, null);
  // A route that shares the counter but may not wait is refused instead of going first.
  const impatient = { ...spec, waitMs: 0 };
  assert.equal(denial(() => limiter.reserve([{ spec: impatient, key: "plan" }], APP)).reason, "no_room");
  await clock.advance(100);
  assert.ok(newcomer.hold !== null);
});

test("release wakes the next waiter of a concurrent limit; refund gives a request back", async () => {
  const { limiter, clock } = limiterBench();
  const open = concurrent("open", 1, 5000);
  const held = immediate(limiter, one(open));
  const next = watched(limiter.reserve(one(open), APP));
  await clock.advance(1000);
  assert.equal(next.hold, null);
  held.release(null);
  await turn();
  assert.deepEqual(waitOf(next), { limit: "open", ms: 1000 });

  const plan = requests("plan", 1, 60_000, 1, 60_000);
  const sent = immediate(limiter, one(plan));
  const behind = watched(limiter.reserve(one(plan), APP));
  sent.refund();
  await turn();
  assert.ok(behind.hold !== null);
});

test("a wait that ends without room is a 429 and leaves nothing behind", async () => {
  const { limiter, clock } = limiterBench();
  const open = concurrent("open", 1, 300);
  const held = immediate(limiter, one(open));
  const waiter = watched(limiter.reserve(one(open), APP));
  await clock.advance(300);
  assert.ok(waiter.error instanceof LimitDenied);
  assert.equal(waiter.error.reason, "wait_expired");
  assert.equal(waiter.error.resetMs, null);
  assert.deepEqual(waiter.error.fields, [
    "Retry-After",
    "1",
    "RateLimit-Policy",
    '"open";q=1;qu="concurrent-requests"',
    "RateLimit",
    '"open";r=0',
  ]);
  assert.equal(limiter.waiting(), 0);
  assert.equal(clock.pending(), 0);
  held.release(null);
  immediate(limiter, one(open)).release(null);
});

test("an abort removes the waiter at once and lets the next one forward", async () => {
  const { limiter, clock } = limiterBench();
  const open = concurrent("open", 1, 5000);
  const held = immediate(limiter, one(open));
  const gone = new AbortController();
  const first = watched(limiter.reserve(one(open), { ...APP, gone: () => gone.signal }));
  const second = watched(limiter.reserve(one(open), APP));
  gone.abort();
  await turn();
  assert.ok(first.error instanceof ProxyError && first.error.code === "client_closed");
  assert.equal(limiter.waiting(), 1);
  held.release(null);
  await turn();
  assert.ok(second.hold !== null);
  assert.equal(clock.pending(), 0);
  assert.throws(() => limiter.reserve(one(open), { ...APP, gone: () => gone.signal }), { code: "client_closed" });
});

test("too many waiters for one counter: the next one is refused, others are not", () => {
  const { limiter } = limiterBench(4);
  const open = concurrent("open", 1, 5000);
  const from = (client: string): Caller => ({ ...APP, client });
  immediate(limiter, one(open));
  // Each client gets half of what the others leave free, so that one that floods leaves places for newcomers.
  for (const client of ["app", "app", "batch", "late"]) watched(limiter.reserve(one(open), from(client)));
  for (const client of ["app", "batch", "late", "new"]) {
    assert.equal(denial(() => limiter.reserve(one(open), from(client))).reason, "queue_full", client);
  }
  immediate(limiter, [{ spec: open, key: "another counter" }]);
  const flooded = limiterBench(100).limiter;
  immediate(flooded, one(open));
  for (let n = 0; n < 50; n++) watched(flooded.reserve(one(open), APP));
  assert.equal(denial(() => flooded.reserve(one(open), APP)).reason, "queue_full");
  watched(flooded.reserve(one(open), from("batch")));
});

test("a request waits for several limits in turn and takes none until it can take all", async () => {
  const { limiter, clock, table } = limiterBench();
  const plan = requests("plan", 10, 1000, 1, 2000);
  const open = concurrent("open", 1, 2000);
  const both = [...one(plan), ...one(open)];
  const first = immediate(limiter, both);
  const second = watched(limiter.reserve(both, APP));
  await clock.advance(500);
  assert.equal(second.hold, null);
  assert.equal(table.remaining(plan, "plan", clock.nowUs()).remaining, 1);
  // Another one that needs only the plan is not held up by it: nobody waits for the plan.
  immediate(limiter, one(plan));
  first.release(null);
  await clock.advance(50);
  assert.equal(second.hold, null);
  await clock.advance(50);
  assert.deepEqual(waitOf(second), { limit: "plan", ms: 600 });
});

test("a turn that comes exactly when the wait ends is not lost", async () => {
  const { limiter, clock } = limiterBench();
  const spec = requests("plan", 10, 1000, 1, 100);
  immediate(limiter, one(spec));
  const waiter = watched(limiter.reserve(one(spec), APP));
  await clock.advance(100);
  assert.deepEqual(waitOf(waiter), { limit: "plan", ms: 100 });
});

test("whoever moves on to another limit's queue stands there by its arrival, not at the end", async () => {
  const { limiter, clock } = limiterBench();
  const plan = requests("plan", 10, 1000, 1, 5000);
  const open = concurrent("open", 1, 5000);
  immediate(limiter, one(plan));
  const earlier = watched(limiter.reserve([...one(plan), ...one(open)], APP));
  const held = immediate(limiter, one(open));
  const later = watched(limiter.reserve(one(open), APP));
  // The plan has room now, but `open` is taken: the earlier request goes to wait there, in front.
  await clock.advance(100);
  held.release(null);
  await turn();
  assert.equal(waitOf(earlier)?.limit, "open");
  assert.equal(later.hold, null);
});

test("with several limits, too, nobody gets past an earlier request after the event loop was busy", async () => {
  const { limiter, clock } = limiterBench();
  const plan = requests("plan", 10, 1000, 1, 5000);
  const daily = requests("daily", 1, 500, 1, 5000);
  const both = [...one(plan), ...one(daily)];
  immediate(limiter, both);
  const first = watched(limiter.reserve(both, APP));
  const onlyPlan = watched(limiter.reserve(one(plan), APP));
  const third = watched(limiter.reserve(both, APP));
  await clock.advance(100);
  assert.ok(onlyPlan.hold !== null);
  clock.skip(500);
  await clock.advance(0);
  assert.ok(first.hold !== null);
  assert.equal(third.hold, null);
});

test("shadow limits never delay; they are reported on the hold", () => {
  const { limiter } = limiterBench();
  const shadow: LimitSpec = { ...requests("trial", 1, 60_000, 1, 5000), mode: "shadow" };
  assert.deepEqual(immediate(limiter, one(shadow)).shadowed, []);
  assert.equal(immediate(limiter, one(shadow)).shadowed[0]?.spec.name, "trial");
});

test("the state to save is there once after each change, and the lowest remaining count is known", () => {
  const { limiter } = limiterBench();
  const spec = requests("plan", 5, 60_000, 5, 0);
  assert.equal(limiter.changedState(), null);
  assert.equal(limiter.lowestRemaining(spec), null);
  immediate(limiter, [{ spec, key: "a" }]);
  immediate(limiter, [{ spec, key: "b" }]);
  immediate(limiter, [{ spec, key: "b" }]).release(null);
  assert.equal(limiter.changedState()?.length, 2);
  assert.equal(limiter.changedState(), null);
  assert.equal(limiter.lowestRemaining(spec), 3);
});
