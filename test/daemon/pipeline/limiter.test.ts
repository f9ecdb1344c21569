import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import { LimitDenied } from "../../../src/daemon/pipeline/limit-denied.ts";
import { createLimiter, type Limiter, type LimiterHold } from "../../../src/daemon/pipeline/limiter.ts";
import type { LimitSpec } from "../../../src/policy/compile.ts";
import { type LimitRequest, LimitTable } from "../../../src/policy/limit.ts";
import { type FakeClock, fakeClock, turn } from "./fake-clock.ts";

const requests = (name: string, count: number, periodMs: number, burst: number, waitMs: number): LimitSpec => ({
  name,
  kind: "requests",
  per: ["credential"],
  count,
  periodMs,
  burst,
  waitMs,
  mode: "enforce",
});

const concurrent = (name: string, count: number, waitMs: number): LimitSpec => ({
  ...requests(name, count, 0, count, waitMs),
  kind: "concurrent",
});

const never = new AbortController().signal;

interface Bench {
  clock: FakeClock;
  table: LimitTable;
  limiter: Limiter;
}

function bench(maxWaiting = 1000): Bench {
  const clock = fakeClock();
  const table = new LimitTable();
  return { clock, table, limiter: createLimiter({ table, nowUs: clock.nowUs, setTimer: clock.setTimer, maxWaiting }) };
}

const one = (spec: LimitSpec): LimitRequest[] => [{ spec, key: spec.name }];

function immediate(limiter: Limiter, wanted: readonly LimitRequest[]): LimiterHold {
  const reserved = limiter.reserve(wanted, never);
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
  const { limiter, clock } = bench();
  const hold = immediate(limiter, one(requests("plan", 2, 1000, 2, 500)));
  assert.equal(hold.waited, null);
  assert.equal(clock.pending(), 0);
  hold.release();
  hold.release();
});

test("a limit without `wait` denies at once, with everything a client needs to come back", () => {
  const { limiter } = bench();
  const spec = requests("plan", 2, 60_000, 2, 0);
  immediate(limiter, one(spec));
  immediate(limiter, one(spec));
  const error = denial(() => limiter.reserve(one(spec), never));
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
  const { limiter, clock } = bench();
  const spec = requests("plan", 1, 60_000, 1, 2000);
  immediate(limiter, one(spec));
  assert.equal(denial(() => limiter.reserve(one(spec), never)).reason, "no_room");
  assert.equal(clock.pending(), 0);
});

test("a request waits for its turn and says how long it did", async () => {
  const { limiter, clock } = bench();
  const spec = requests("plan", 10, 1000, 1, 500);
  immediate(limiter, one(spec));
  const first = watched(limiter.reserve(one(spec), never));
  const second = watched(limiter.reserve(one(spec), never));
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
  const { limiter, clock } = bench();
  const spec = requests("plan", 10, 1000, 1, 500);
  immediate(limiter, one(spec));
  const waiter = watched(limiter.reserve(one(spec), never));
  clock.skip(100);
  const newcomer = watched(limiter.reserve(one(spec), never));
  await clock.advance(0);
  assert.ok(waiter.hold !== null);
  assert.equal(newcomer.hold, null);
  // A route that shares the counter but may not wait is refused instead of going first.
  const impatient = { ...spec, waitMs: 0 };
  assert.equal(denial(() => limiter.reserve([{ spec: impatient, key: "plan" }], never)).reason, "no_room");
  await clock.advance(100);
  assert.ok(newcomer.hold !== null);
});

test("release wakes the next waiter of a concurrent limit; refund gives a request back", async () => {
  const { limiter, clock } = bench();
  const open = concurrent("open", 1, 5000);
  const held = immediate(limiter, one(open));
  const next = watched(limiter.reserve(one(open), never));
  await clock.advance(1000);
  assert.equal(next.hold, null);
  held.release();
  await turn();
  assert.deepEqual(waitOf(next), { limit: "open", ms: 1000 });

  const plan = requests("plan", 1, 60_000, 1, 60_000);
  const sent = immediate(limiter, one(plan));
  const behind = watched(limiter.reserve(one(plan), never));
  sent.refund();
  await turn();
  assert.ok(behind.hold !== null);
});

test("a wait that ends without room is a 429 and leaves nothing behind", async () => {
  const { limiter, clock } = bench();
  const open = concurrent("open", 1, 300);
  const held = immediate(limiter, one(open));
  const waiter = watched(limiter.reserve(one(open), never));
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
  held.release();
  immediate(limiter, one(open)).release();
});

test("an abort removes the waiter at once and lets the next one forward", async () => {
  const { limiter, clock } = bench();
  const open = concurrent("open", 1, 5000);
  const held = immediate(limiter, one(open));
  const gone = new AbortController();
  const first = watched(limiter.reserve(one(open), gone.signal));
  const second = watched(limiter.reserve(one(open), never));
  gone.abort();
  await turn();
  assert.ok(first.error instanceof ProxyError && first.error.code === "client_closed");
  assert.equal(limiter.waiting(), 1);
  held.release();
  await turn();
  assert.ok(second.hold !== null);
  assert.equal(clock.pending(), 0);
  assert.throws(() => limiter.reserve(one(open), gone.signal), { code: "client_closed" });
});

test("too many waiters for one counter: the next one is refused, others are not", () => {
  const { limiter } = bench(2);
  const open = concurrent("open", 1, 5000);
  immediate(limiter, one(open));
  for (let n = 0; n < 2; n++) watched(limiter.reserve(one(open), never));
  assert.equal(denial(() => limiter.reserve(one(open), never)).reason, "queue_full");
  immediate(limiter, [{ spec: open, key: "another client" }]);
});

test("a request waits for several limits in turn and takes none until it can take all", async () => {
  const { limiter, clock, table } = bench();
  const plan = requests("plan", 10, 1000, 1, 2000);
  const open = concurrent("open", 1, 2000);
  const both = [...one(plan), ...one(open)];
  const first = immediate(limiter, both);
  const second = watched(limiter.reserve(both, never));
  await clock.advance(500);
  assert.equal(second.hold, null);
  assert.equal(table.remaining(plan, "plan", clock.nowUs()).remaining, 1);
  // Another one that needs only the plan is not held up by it: nobody waits for the plan.
  immediate(limiter, one(plan));
  first.release();
  await clock.advance(50);
  assert.equal(second.hold, null);
  await clock.advance(50);
  assert.deepEqual(waitOf(second), { limit: "plan", ms: 600 });
});

test("shadow limits never delay; they are reported on the hold", () => {
  const { limiter } = bench();
  const shadow: LimitSpec = { ...requests("trial", 1, 60_000, 1, 5000), mode: "shadow" };
  assert.deepEqual(immediate(limiter, one(shadow)).shadowed, []);
  assert.equal(immediate(limiter, one(shadow)).shadowed[0]?.spec.name, "trial");
});

test("the state to save is there once after each change, and the lowest remaining count is known", () => {
  const { limiter } = bench();
  const spec = requests("plan", 5, 60_000, 5, 0);
  assert.equal(limiter.changedState(), null);
  assert.equal(limiter.lowestRemaining(spec), null);
  immediate(limiter, [{ spec, key: "a" }]);
  immediate(limiter, [{ spec, key: "b" }]);
  immediate(limiter, [{ spec, key: "b" }]).release();
  assert.equal(limiter.changedState()?.length, 2);
  assert.equal(limiter.changedState(), null);
  assert.equal(limiter.lowestRemaining(spec), 3);
});

const PLAN = requests("plan", 5, 1000, 2, 700);
const DAILY = requests("daily", 12, 3000, 12, 0);
const OPEN = concurrent("open", 2, 400);
const SPECS = [PLAN, DAILY, OPEN];

type Action =
  | { do: "arrive"; specs: number[]; key: number }
  | { do: "advance" | "busy"; ms: number }
  | { do: "abort" | "release" | "refund"; which: number };

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("arrive" as const),
      specs: fc.uniqueArray(fc.nat(SPECS.length - 1), { minLength: 1 }),
      key: fc.nat(1),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("advance" as const), ms: fc.nat(400) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("busy" as const), ms: fc.nat(300) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom("abort" as const, "release" as const, "refund" as const),
      which: fc.nat(20),
    }),
  },
);

interface Arrival {
  number: number;
  atUs: number;
  wanted: LimitRequest[];
  abort: AbortController;
  state: "waiting" | "granted" | "refused" | "aborted";
  hold: LimiterHold | null;
  grantedUs: number;
  refunded: boolean;
}

/** Plays actions against a limiter and keeps the books that the properties are checked on. */
class Play {
  readonly bench = bench();
  readonly arrivals: Arrival[] = [];
  readonly grants: Arrival[] = [];

  /** Time in which no timer could fire, as when the event loop is busy. */
  busyMs = 0;

  async run(act: Action): Promise<void> {
    if (act.do === "advance") return this.bench.clock.advance(act.ms, () => this.assertNeverOver());
    if (act.do === "busy") {
      this.busyMs += act.ms;
      this.bench.clock.skip(act.ms);
    } else if (act.do === "arrive")
      this.arrive(
        act.specs.map((at) => SPECS[at] ?? PLAN),
        act.key,
      );
    else if (act.do === "abort") this.nth("waiting", act.which)?.abort.abort();
    else this.settle(this.nth("granted", act.which), act.do);
    await turn();
    this.assertNeverOver();
  }

  nth(state: Arrival["state"], which: number): Arrival | undefined {
    const open = this.arrivals.filter((arrival) => arrival.state === state && (state !== "granted" || arrival.hold));
    return open[which % Math.max(1, open.length)];
  }

  settle(arrival: Arrival | undefined, how: "release" | "refund"): void {
    if (arrival === undefined) return;
    arrival.refunded = how === "refund";
    arrival.hold?.[how]();
    arrival.hold = null;
  }

  arrive(specs: readonly LimitSpec[], key: number): void {
    const { clock, limiter } = this.bench;
    const arrival: Arrival = {
      number: this.arrivals.length,
      atUs: clock.nowUs(),
      wanted: specs.map((spec) => ({ spec, key: `${spec.name}-${key}` })),
      abort: new AbortController(),
      state: "waiting",
      hold: null,
      grantedUs: 0,
      refunded: false,
    };
    this.arrivals.push(arrival);
    const granted = (hold: LimiterHold): void => {
      Object.assign(arrival, { state: "granted", hold, grantedUs: clock.nowUs() });
      this.grants.push(arrival);
    };
    const refused = (error: unknown): void => {
      assert.ok(error instanceof ProxyError);
      arrival.state = error.code === "client_closed" ? "aborted" : "refused";
    };
    try {
      const reserved = limiter.reserve(arrival.wanted, arrival.abort.signal);
      if (reserved instanceof Promise) reserved.then(granted, refused);
      else granted(reserved);
    } catch (error) {
      refused(error);
    }
  }

  assertNeverOver(): void {
    const nowUs = this.bench.clock.nowUs();
    for (const spec of SPECS) {
      for (const key of [`${spec.name}-0`, `${spec.name}-1`]) {
        const took = this.grants.filter(({ wanted }) => wanted.some((request) => request.key === key));
        const counted =
          spec.kind === "concurrent"
            ? took.filter(({ hold }) => hold !== null)
            : took.filter(({ refunded, grantedUs }) => !refunded && grantedUs > nowUs - spec.periodMs * 1000);
        assert.ok(counted.length <= spec.count, `${key}: ${counted.length} of ${spec.count}`);
      }
    }
  }

  /** Requests that want the same are granted in the order in which they came. */
  assertArrivalOrder(): void {
    const last = new Map<string, number>();
    for (const { wanted, number } of this.grants) {
      const id = wanted
        .map(({ key }) => key)
        .sort()
        .join();
      assert.ok(number > (last.get(id) ?? -1), `${id}: ${number} after ${last.get(id)}`);
      last.set(id, number);
    }
  }
}

test("G11 exact-limits: under any interleaving never over, in order of arrival, and everything settles", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 1, maxLength: 60 }), async (actions) => {
      const play = new Play();
      for (const act of actions) await play.run(act);
      const { clock, limiter, table } = play.bench;
      // The longest wait is 700 ms: afterwards nobody waits any more, whether or not anything was released.
      await clock.advance(700, () => play.assertNeverOver());
      assert.equal(limiter.waiting(), 0);
      assert.equal(clock.pending(), 0);
      assert.ok(play.arrivals.every(({ state }) => state !== "waiting"));
      play.assertArrivalOrder();
      for (const { wanted, grantedUs, atUs } of play.grants) {
        const longest = Math.max(...wanted.map(({ spec }) => spec.waitMs));
        assert.ok(grantedUs - atUs <= (longest + play.busyMs) * 1000);
      }
      // With all holds settled and time gone by, no trace is left in the counters.
      for (const arrival of play.arrivals) play.settle(arrival.hold ? arrival : undefined, "release");
      await clock.advance(10_000);
      for (const spec of SPECS) {
        for (const key of [`${spec.name}-0`, `${spec.name}-1`]) {
          assert.equal(table.remaining(spec, key, clock.nowUs()).remaining, Math.min(spec.count, spec.burst));
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("a denied or aborted request consumes nothing: the same grants happen without it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(150), { minLength: 5, maxLength: 40 }), async (gaps) => {
      const grantTimes = async (withNoise: boolean): Promise<number[]> => {
        const { clock, limiter } = bench();
        const spec = requests("plan", 5, 1000, 2, 0);
        const times: number[] = [];
        for (const gap of gaps) {
          await clock.advance(gap);
          for (let n = 0; n < (withNoise ? 3 : 1); n++) {
            try {
              immediate(limiter, one(spec)).release();
              times.push(clock.nowUs());
              break;
            } catch (error) {
              assert.ok(error instanceof LimitDenied);
            }
          }
        }
        return times;
      };
      assert.deepEqual(await grantTimes(true), await grantTimes(false));
    }),
    { numRuns: 50 },
  );
});
