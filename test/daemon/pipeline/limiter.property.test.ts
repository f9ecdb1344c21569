import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import { LimitDenied } from "../../../src/daemon/pipeline/limit-denied.ts";
import type { LimiterHold } from "../../../src/daemon/pipeline/limiter.ts";
import type { LimitSpec } from "../../../src/policy/compile.ts";
import type { LimitRequest } from "../../../src/policy/limit.ts";
import { turn } from "../../support/fake-clock.ts";
import { concurrent, limiterBench, requests } from "../../support/limiter-bench.ts";

const PLAN = requests("plan", 5, 1000, 2, 700);
const DAILY = requests("daily", 4, 900, 4, 500);
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
      key: fc.constantFrom(0, 0, 0, 1),
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
  readonly bench = limiterBench();
  readonly arrivals: Arrival[] = [];
  readonly grants: Arrival[] = [];

  /** Time in which no timer could fire, as when the event loop is busy. */
  busyMs = 0;

  async run(act: Action): Promise<void> {
    switch (act.do) {
      case "advance":
        return this.bench.clock.advance(act.ms, () => this.assertNeverOver());
      case "busy":
        this.busy(act.ms);
        break;
      case "arrive":
        this.arrive(
          act.specs.map((at) => SPECS[at] ?? PLAN),
          act.key,
        );
        break;
      case "abort":
        this.nth("waiting", act.which)?.abort.abort();
        break;
      default:
        this.settle(this.nth("granted", act.which), act.do);
    }
    await turn();
    this.assertNeverOver();
  }

  busy(ms: number): void {
    this.busyMs += ms;
    this.bench.clock.skip(ms);
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
      this.assertNobodyOvertaken(arrival);
    };
    const refused = (error: unknown): void => {
      if (!(error instanceof ProxyError)) throw error;
      arrival.state = error.code === "client_closed" ? "aborted" : "refused";
    };
    try {
      const reserved = limiter.reserve(arrival.wanted, () => arrival.abort.signal);
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

  /** Whoever came earlier and wants nothing that this one does not want has been overtaken. */
  assertNobodyOvertaken(granted: Arrival): void {
    const wants = new Set(granted.wanted.map(({ key }) => key));
    const overtaken = this.arrivals.find(
      ({ state, number, wanted }) =>
        state === "waiting" && number < granted.number && wanted.every(({ key }) => wants.has(key)),
    );
    assert.equal(overtaken?.number, undefined, `${granted.number} went first`);
  }
}

test("G11 exact-limits: under any interleaving never over, in order of arrival, and everything settles", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 1, maxLength: 60, size: "max" }), async (actions) => {
      const play = new Play();
      for (const act of actions) await play.run(act);
      const { clock, limiter, table } = play.bench;
      // The longest wait is 700 ms: afterwards nobody waits any more, whether or not anything was released.
      await clock.advance(700, () => play.assertNeverOver());
      assert.equal(limiter.waiting(), 0);
      assert.equal(clock.pending(), 0);
      assert.ok(play.arrivals.every(({ state }) => state !== "waiting"));
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
    { numRuns: 300, seed: 11 },
  );
});

test("a denied or aborted request consumes nothing: the same grants happen without it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(150), { minLength: 5, maxLength: 40 }), async (gaps) => {
      const grantTimes = async (withNoise: boolean): Promise<number[]> => {
        const { clock, limiter } = limiterBench();
        const spec = requests("plan", 5, 1000, 2, 0);
        const times: number[] = [];
        for (const gap of gaps) {
          await clock.advance(gap);
          for (let n = 0; n < (withNoise ? 3 : 1); n++) {
            try {
              const reserved = limiter.reserve([{ spec, key: "plan" }], () => new AbortController().signal);
              if (!(reserved instanceof Promise)) reserved.release();
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
    { numRuns: 50, seed: 11 },
  );
});
