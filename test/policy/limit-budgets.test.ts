import assert from "node:assert/strict";
import test from "node:test";
import type { Ask } from "../../src/policy/budget.ts";
import type { LimitSpec } from "../../src/policy/compile.ts";
import { type LimitRequest, LimitTable } from "../../src/policy/limit.ts";
import { concurrent, requestsPer, tokens, tokensPer, usdPer } from "./limit-steps.ts";

const request = (spec: LimitSpec): LimitRequest => ({ spec, key: `${spec.kind} ${spec.name}` });
const usd = (expected: number, atMost: number | null = expected): Ask => ({
  tokens: { expected: 0, atMost: 0 },
  usd: { expected, atMost },
});

function reserved(table: LimitTable, limits: readonly LimitRequest[], ask: Ask, nowUs = 0) {
  const result = table.tryReserve(limits, nowUs, ask);
  return result.ok ? result : assert.fail(`denied by ${result.denied.spec.name}: ${result.denied.reason}`);
}

function denied(table: LimitTable, limits: readonly LimitRequest[], ask: Ask, nowUs = 0) {
  const result = table.tryReserve(limits, nowUs, ask);
  return result.ok ? assert.fail("was let through") : result.denied;
}

test("tokens and dollars are counted apart, each with its own figure", () => {
  const [count, spend] = [request(tokensPer(1000, 1000)), request(usdPer(500, 1000))];
  const table = new LimitTable();
  const ask: Ask = { tokens: { expected: 300, atMost: null }, usd: { expected: 100, atMost: null } };
  const { hold } = reserved(table, [count, spend], ask);
  assert.equal(table.remaining(count.spec, count.key, 0).remaining, 700);
  assert.equal(table.remaining(spend.spec, spend.key, 0).remaining, 400);
  table.release(hold, { tokens: 250, nanoUsd: null }, 0);
  assert.equal(table.remaining(count.spec, count.key, 0).remaining, 750);
  assert.equal(table.remaining(spend.spec, spend.key, 0).remaining, 400, "an unknown cost leaves the estimate");
});

test("a budget without room takes nothing from the other limits, and the other way round", () => {
  const [count, open] = [request(tokensPer(10, 1000)), request(concurrent(1))];
  const table = new LimitTable();
  const first = reserved(table, [count, open], tokens(6));
  assert.equal(denied(table, [count], tokens(5)).reason, "no_room");
  assert.equal(denied(table, [count, open], tokens(1)).key, open.key);
  table.release(first.hold, { tokens: 6, nanoUsd: null }, 0);
  assert.equal(denied(table, [count, open], tokens(5)).retryAfterUs, 1_000_000);
  assert.equal(table.remaining(open.spec, open.key, 0).remaining, 1);
  assert.equal(table.remaining(count.spec, count.key, 0).remaining, 4);
});

test("what can never pass is named before what only has no room now", () => {
  const [open, count, spend] = [request(concurrent(1)), request(tokensPer(10, 1000)), request(usdPer(10, 1000))];
  const table = new LimitTable();
  reserved(table, [open], tokens(0));
  assert.deepEqual(denied(table, [open, count], tokens(11)), { ...count, reason: "too_large", retryAfterUs: null });
  assert.equal(denied(table, [open, count, spend], tokens(11)).reason, "too_large");
  assert.equal(denied(table, [open, spend], tokens(1)).reason, "unpriced");
  assert.equal(denied(table, [request(tokensPer(10, 1000, { strict: true }))], tokens(1, null)).reason, "unbounded");
  assert.equal(table.exportState().length, 0, "nothing was counted");
});

test("a limit by itself says why it would deny, and changes nothing", () => {
  const count = request(tokensPer(10, 1000));
  const table = new LimitTable();
  reserved(table, [count], tokens(6));
  assert.equal(table.denialOf(count, 0, tokens(4)), null);
  assert.deepEqual(table.denialOf(count, 0, tokens(5)), { ...count, reason: "no_room", retryAfterUs: null });
  assert.equal(table.denialOf(count, 0, tokens(50))?.reason, "too_large");
  assert.equal(table.remaining(count.spec, count.key, 0).remaining, 4);
});

test("strict: the upper bound is reserved, the real figure is settled, and more than the bound is counted and reported", () => {
  const count = request(tokensPer(100, 1000, { strict: true }));
  const table = new LimitTable();
  const honest = reserved(table, [count], tokens(10, 60));
  assert.equal(table.remaining(count.spec, count.key, 0).remaining, 40);
  assert.deepEqual(table.release(honest.hold, { tokens: 60, nanoUsd: null }, 0).overruns, []);
  const liar = reserved(table, [count], tokens(10, 40));
  assert.deepEqual(table.release(liar.hold, { tokens: 45, nanoUsd: null }, 0).overruns, [{ ...count, over: 5 }]);
  assert.equal(table.remaining(count.spec, count.key, 0).remaining, 0);
  assert.equal(denied(table, [count], tokens(0, 0)).reason, "no_room", "it is over by 5");
});

test("an estimate that was too low is no overrun of a budget that is not strict", () => {
  const count = request(tokensPer(100, 1000));
  const table = new LimitTable();
  const { hold } = reserved(table, [count], tokens(10, 60));
  assert.deepEqual(table.release(hold, { tokens: 99, nanoUsd: null }, 0).overruns, []);
  assert.equal(denied(table, [count], tokens(2)).reason, "no_room");
});

test("a call without a price passes a budget that allows it, uncounted, and the reservation says so", () => {
  const spend = request(usdPer(100, 1000, { unpriced: "allow" }));
  const table = new LimitTable();
  assert.deepEqual(reserved(table, [spend], usd(40)).uncounted, []);
  const free = reserved(table, [spend], tokens(5));
  assert.deepEqual(free.uncounted, [spend]);
  table.release(free.hold, null, 0);
  assert.equal(table.remaining(spend.spec, spend.key, 0).remaining, 60);
  // The model that answered may have a price although the one that was asked for had none.
  const priced = reserved(table, [spend], tokens(5));
  table.release(priced.hold, { tokens: 5, nanoUsd: 25 }, 0);
  assert.equal(table.remaining(spend.spec, spend.key, 0).remaining, 35);
});

test("shadow: what a budget would have refused is reported and not counted", () => {
  const trial = request({ ...tokensPer(10, 1000, { warn: [50] }), mode: "shadow" });
  const strict = request({ ...usdPer(10, 1000, { strict: true }), mode: "shadow" });
  const table = new LimitTable();
  const first = reserved(table, [trial, strict], tokens(6));
  assert.deepEqual(
    first.shadowed.map(({ reason }) => reason),
    ["unpriced"],
  );
  const second = reserved(table, [trial, strict], tokens(6));
  assert.deepEqual(
    second.shadowed.map(({ reason }) => reason),
    ["no_room", "unpriced"],
  );
  table.release(second.hold, { tokens: 6, nanoUsd: 1 }, 0);
  const { warnings } = table.release(first.hold, { tokens: 6, nanoUsd: 1 }, 0);
  assert.equal(warnings[0]?.percent, 50);
  assert.equal(table.remaining(trial.spec, trial.key, 0).remaining, 4);
  assert.equal(table.remaining(strict.spec, strict.key, 0).remaining, 10);
});

test("a warning says which level was passed, how much is used and when it is whole again", () => {
  const spec = usdPer(1000, 60_000, { warn: [50, 80] });
  const spend = request(spec);
  const table = new LimitTable();
  const { hold } = reserved(table, [spend], usd(100));
  assert.deepEqual(table.release(hold, { tokens: 0, nanoUsd: 850 }, 5_000_000).warnings, [
    { ...spend, percent: 50, used: 850, limit: 1000, resetMs: 60_000 },
    { ...spend, percent: 80, used: 850, limit: 1000, resetMs: 60_000 },
  ]);
});

test("budgets go on after a restart beside request counters of the older format", () => {
  const [count, plan] = [request(tokensPer(10, 1000)), request(requestsPer(3, 1000))];
  const before = new LimitTable();
  const { hold } = reserved(before, [count, plan], tokens(4));
  const rows = before.exportState();
  assert.deepEqual(rows.map(({ key }) => key).sort(), [plan.key, count.key].sort());
  const after = new LimitTable();
  after.importState([...rows, { key: "other", state: '{"budget":2}' }], 10);
  assert.equal(after.remaining(count.spec, count.key, 10).remaining, 6);
  assert.equal(after.remaining(plan.spec, plan.key, 10).remaining, 2);
  after.release(hold, { tokens: 10, nanoUsd: null }, 10);
  assert.equal(after.remaining(count.spec, count.key, 10).remaining, 6, "a late settling of the old process");
});

test("a lease can be set, and what it gives up counts for its period", () => {
  const count = request(tokensPer(10, 1000));
  const table = new LimitTable({ leaseMs: 500 });
  reserved(table, [count], tokens(10));
  assert.equal(denied(table, [count], tokens(1), 499_999).retryAfterUs, null);
  assert.equal(denied(table, [count], tokens(1), 500_000).retryAfterUs, 1_000_000);
  reserved(table, [count], tokens(1), 1_500_000);
});
