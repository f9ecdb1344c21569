import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import { LimitDenied } from "../../../src/daemon/pipeline/limit-denied.ts";
import type { Caller, LimiterHold } from "../../../src/daemon/pipeline/limiter.ts";
import { type Ask, NOTHING_KNOWN } from "../../../src/policy/budget.ts";
import type { LimitSpec } from "../../../src/policy/compile.ts";
import type { LimitRequest } from "../../../src/policy/limit.ts";
import { turn } from "../../support/fake-clock.ts";
import { concurrent, limiterBench, requests, tokensPer } from "../../support/limiter-bench.ts";

const APP: Caller = { client: "app", ask: NOTHING_KNOWN, gone: () => new AbortController().signal };
const PLAN = requests("plan", 5, 1000, 2, 700);
const DAILY = requests("daily", 4, 900, 4, 500);
const OPEN = concurrent("open", 2, 400);
const BUDGET = tokensPer("budget", 12, 800, 600);
const SPECS = [PLAN, DAILY, OPEN, BUDGET];

type Action =
  | { do: "arrive"; specs: number[]; key: number; client: number; tokens: number }
  | { do: "advance" | "busy"; ms: number }
  | { do: "abort" | "release" | "refund"; which: number; share: number };

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("arrive" as const),
      specs: fc.uniqueArray(fc.nat(SPECS.length - 1), { minLength: 1 }),
      key: fc.constantFrom(0, 0, 0, 1),
      client: fc.nat(2),
      tokens: fc.nat(7),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("advance" as const), ms: fc.nat(400) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("busy" as const), ms: fc.nat(300) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom("abort" as const, "release" as const, "refund" as const),
      which: fc.nat(20),
      share: fc.nat(4),
    }),
  },
);

interface Arrival {
  number: number;
  client: string;
  /** Tokens: what it is expected to use, and then what it has used. */
  tokens: number;
  atUs: number;
  wanted: LimitRequest[];
  abort: AbortController;
  state: "waiting" | "granted" | "refused" | "aborted";
  hold: LimiterHold | null;
  grantedUs: number;
  settledUs: number;
  refunded: boolean;
}

function askFor(expected: number): Ask {
  return { tokens: { expected, atMost: null }, usd: null };
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
        await this.bench.clock.advance(act.ms, () => this.assertNeverOver());
        this.assertNobodyIsForgotten();
        return;
      case "busy":
        this.busy(act.ms);
        break;
      case "arrive":
        this.arrive(act);
        break;
      case "abort":
        this.nth("waiting", act.which)?.abort.abort();
        break;
      default:
        this.settle(this.nth("granted", act.which), act.do, act.share);
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

  /** Uses `share` quarters of what it was expected to use; 4: nobody knows. */
  settle(arrival: Arrival | undefined, how: "release" | "refund", share = 4): void {
    if (!arrival?.hold) return;
    arrival.refunded = how === "refund";
    arrival.settledUs = this.bench.clock.nowUs();
    if (how === "refund") arrival.hold.refund();
    else {
      arrival.tokens = Math.floor((arrival.tokens * share) / 4);
      arrival.hold.release(share === 4 ? null : { tokens: arrival.tokens, nanoUsd: null });
    }
    arrival.hold = null;
  }

  arrive({ specs, key, client, tokens }: Extract<Action, { do: "arrive" }>): void {
    const { clock, limiter } = this.bench;
    const arrival: Arrival = {
      number: this.arrivals.length,
      client: `client-${client}`,
      tokens,
      atUs: clock.nowUs(),
      wanted: specs.map((at) => SPECS[at] ?? PLAN).map((spec) => ({ spec, key: `${spec.name}-${key}` })),
      abort: new AbortController(),
      state: "waiting",
      hold: null,
      grantedUs: 0,
      settledUs: 0,
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
      const reserved = limiter.reserve(arrival.wanted, {
        client: arrival.client,
        ask: askFor(tokens),
        gone: () => arrival.abort.signal,
      });
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
        assert.ok(this.counted(spec, took, nowUs) <= spec.count, `${key} is over`);
      }
    }
  }

  counted({ kind, periodMs }: LimitSpec, took: readonly Arrival[], nowUs: number): number {
    const sinceUs = nowUs - periodMs * 1000;
    if (kind === "concurrent") return took.filter(({ hold }) => hold !== null).length;
    if (kind === "requests") return took.filter(({ refunded, grantedUs }) => !refunded && grantedUs > sinceUs).length;
    const counts = took.filter(({ hold, refunded, settledUs }) => hold !== null || (!refunded && settledUs > sinceUs));
    return counts.reduce((sum, { tokens }) => sum + tokens, 0);
  }

  /** Among requests that wait for the same counters, directly or through others, one at least has a limit without room. */
  assertNobodyIsForgotten(): void {
    const { clock, table } = this.bench;
    const open = new Set(this.arrivals.filter(({ state }) => state === "waiting"));
    for (const start of open) {
      const group = [start];
      open.delete(start);
      for (const { wanted } of group) {
        const keys = new Set(wanted.map(({ key }) => key));
        for (const other of open) {
          if (!other.wanted.some(({ key }) => keys.has(key))) continue;
          group.push(other);
          open.delete(other);
        }
      }
      const blocked = group.some(({ wanted, tokens }) =>
        wanted.some((request) => table.denialOf(request, clock.nowUs(), askFor(tokens)) !== null),
      );
      assert.ok(blocked, `${group.length} wait, and nothing is in their way`);
    }
  }

  /** Whoever of the same client came earlier and wants nothing that this one does not want has been overtaken. */
  assertNobodyOvertaken(granted: Arrival): void {
    const wants = new Set(granted.wanted.map(({ key }) => key));
    const overtaken = this.arrivals.find(
      ({ state, number, client, wanted }) =>
        state === "waiting" &&
        client === granted.client &&
        number < granted.number &&
        wanted.every(({ key }) => wants.has(key)),
    );
    assert.equal(overtaken?.number, undefined, `${granted.number} went first`);
  }
}

async function playAll(actions: readonly Action[]): Promise<void> {
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
}

const anyActions = fc.array(action, { minLength: 1, maxLength: 60, size: "max" });

test("G11 exact-limits: under any interleaving never over, in order of arrival, and everything settles", async () => {
  const ofOneClient = anyActions.map((actions) =>
    actions.map((act) => (act.do === "arrive" ? { ...act, client: 0 } : act)),
  );
  await fc.assert(fc.asyncProperty(ofOneClient, playAll), { numRuns: 300, seed: 11 });
});

test("with several clients, too: never over, in order of arrival within each of them, and everything settles", async () => {
  await fc.assert(fc.asyncProperty(anyActions, playAll), { numRuns: 300, seed: 11 });
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
              const reserved = limiter.reserve([{ spec, key: "plan" }], APP);
              if (!(reserved instanceof Promise)) reserved.release(null);
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
