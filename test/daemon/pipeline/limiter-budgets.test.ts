import assert from "node:assert/strict";
import { test } from "node:test";
import { createLimiter } from "../../../src/daemon/pipeline/limiter.ts";
import type { LimitScope, LimitSpec } from "../../../src/policy/compile.ts";
import {
  type BudgetOverrun,
  type BudgetWarning,
  bucketKey,
  type LimitRequest,
  LimitTable,
} from "../../../src/policy/limit.ts";
import { turn } from "../../support/fake-clock.ts";
import { concurrent, limiterBench, requests, tokensPer, usdPer } from "../../support/limiter-bench.ts";
import { atOnce, callOf, named, watched } from "./waiting-call.ts";

/** The limits of a route, for one of its credentials. */
function of(credential: string, ...specs: LimitSpec[]): LimitRequest[] {
  const ids = { client: "app", credential, provider: "p", route: "r", user: null };
  return specs.map((spec) => ({ spec, key: bucketKey(spec, ids) }));
}

const by = (scope: LimitScope, spec: LimitSpec): LimitSpec => ({ ...spec, per: [scope] });

test("a budget's levels are told once per window, and not again after a restart", () => {
  const told: BudgetWarning[] = [];
  const { limiter, clock, table } = limiterBench(10, { onWarning: (warning) => told.push(warning) });
  const budget = named(tokensPer("budget", 100, 60_000, 0, { warn: [50, 80, 95] }));
  const use = (tokens: number): void => {
    atOnce(limiter.reserve(budget, callOf("app", tokens))).release({ tokens, nanoUsd: null });
  };
  use(49);
  assert.equal(told.length, 0);
  use(1);
  assert.deepEqual(told, [{ ...budget[0], percent: 50, used: 50, limit: 100, resetMs: 60_000 }]);
  use(46);
  assert.deepEqual(
    told.splice(0).map(({ percent }) => percent),
    [50, 80, 95],
  );

  const after = new LimitTable();
  after.importState(table.exportState(), clock.nowUs());
  const { nowUs, setTimer } = clock;
  const again = createLimiter({ table: after, nowUs, setTimer, onWarning: (warning) => told.push(warning) });
  atOnce(again.reserve(budget, callOf("app", 4))).release({ tokens: 4, nanoUsd: null });
  assert.equal(told.length, 0);
  clock.skip(60_000);
  atOnce(again.reserve(budget, callOf("app", 60))).release({ tokens: 60, nanoUsd: null });
  assert.deepEqual(
    told.map(({ percent }) => percent),
    [50],
  );
});

test("what a call only holds tells nothing; a refund never does", () => {
  const told: BudgetWarning[] = [];
  const { limiter } = limiterBench(10, { onWarning: (warning) => told.push(warning) });
  const budget = named(tokensPer("budget", 100, 60_000, 0, { warn: [50] }));
  atOnce(limiter.reserve(budget, callOf("app", 90))).refund();
  const held = atOnce(limiter.reserve(budget, callOf("app", 90)));
  assert.equal(told.length, 0);
  held.release(null);
  assert.equal(told.length, 1);
});

test("a provider that reports more than the bound of a strict budget is reported, and counted", () => {
  const overruns: BudgetOverrun[] = [];
  const { limiter } = limiterBench(10, { onOverrun: (overrun) => overruns.push(overrun) });
  const budget = named(tokensPer("budget", 100, 60_000, 0, { strict: true }));
  atOnce(limiter.reserve(budget, callOf("app", 1, 60))).release({ tokens: 70, nanoUsd: null });
  assert.deepEqual(overruns, [{ ...budget[0], over: 10 }]);
  assert.equal(limiter.states(budget)[0]?.remaining, 30);
});

test("a call without a price passes where the budget allows it, and its hold says so", () => {
  const { limiter } = limiterBench();
  const budget = named(usdPer("spend", 100, 60_000, 0, { unpriced: "allow" }));
  assert.deepEqual(atOnce(limiter.reserve(budget, callOf("app"))).uncounted, budget);
});

test("the states of a request's limits are there for its answer", () => {
  const { limiter } = limiterBench();
  const wanted = named(
    requests("plan", 5, 60_000, 5, 0),
    tokensPer("budget", 100, 60_000, 0),
    concurrent("open", 3, 0),
  );
  const hold = atOnce(limiter.reserve(wanted, callOf("app", 30)));
  const shown = () => limiter.states(wanted).map(({ remaining, resetMs }) => [remaining, resetMs]);
  assert.deepEqual(shown(), [
    [4, 60_000],
    [70, 60_000],
    [2, null],
  ]);
  hold.release({ tokens: 10, nanoUsd: null });
  assert.deepEqual(shown(), [
    [4, 60_000],
    [90, 60_000],
    [3, 0],
  ]);
});

test("settling a budget is a change to save; ending a call that only had other limits is not", () => {
  const { limiter } = limiterBench();
  const holds = [named(tokensPer("budget", 100, 60_000, 0)), named(requests("plan", 5, 60_000, 5, 0))].map((wanted) =>
    atOnce(limiter.reserve(wanted, callOf("app", 30))),
  );
  const [budget, plan] = holds;
  const before = limiter.changedState();
  assert.equal(before?.length, 2);
  plan?.release(null);
  assert.equal(limiter.changedState(), null);
  budget?.release({ tokens: 10, nanoUsd: null });
  const after = limiter.changedState();
  assert.equal(after?.length, 2);
  assert.notDeepEqual(after, before);
});

test("an exchange frees what waiters of the old credential wait for", async () => {
  const { limiter } = limiterBench();
  const specs = [by("credential", concurrent("open", 1, 5000)), by("client", tokensPer("own", 100, 60_000, 5000))];
  const hold = atOnce(limiter.reserve(of("a", ...specs), callOf("app", 10)));
  const waiter = watched(limiter.reserve(of("a", ...specs), callOf("app", 10)));
  assert.equal(hold.exchange(of("b", ...specs)), true);
  await turn();
  assert.ok(waiter.hold !== null);
  assert.equal(hold.exchange(of("a", ...specs)), false, "somebody has it now");
  hold.release({ tokens: 1, nanoUsd: null });
  hold.release({ tokens: 1, nanoUsd: null });
  const states = limiter.states(of("b", ...specs));
  assert.deepEqual(
    states.map(({ remaining }) => remaining),
    [1, 89],
  );
});

test("an exchange does not overtake those who wait for the other credential", async () => {
  const { limiter, clock } = limiterBench();
  const pace = by("credential", requests("pace", 10, 1000, 1, 5000));
  const hold = atOnce(limiter.reserve(of("a", pace), callOf("app")));
  atOnce(limiter.reserve(of("b", pace), callOf("app")));
  const waiter = watched(limiter.reserve(of("b", pace), callOf("app")));
  clock.skip(100);
  assert.equal(hold.exchange(of("b", pace)), false);
  await clock.advance(0);
  assert.ok(waiter.hold !== null);
  await clock.advance(100);
  assert.equal(hold.exchange(of("b", pace)), true);
});

test("what is exchanged may be taken while others wait for it, if the call has it already", () => {
  const { limiter } = limiterBench();
  const shared = by("provider", concurrent("open", 1, 5000));
  const hold = atOnce(limiter.reserve(of("a", shared), callOf("app")));
  watched(limiter.reserve(of("a", shared), callOf("batch")));
  assert.equal(hold.exchange(of("b", shared)), true);
  assert.equal(limiter.waiting(), 1);
});
