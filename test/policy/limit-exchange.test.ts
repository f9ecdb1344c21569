import assert from "node:assert/strict";
import test from "node:test";
import type { Ask } from "../../src/policy/budget.ts";
import type { LimitScope, LimitSpec } from "../../src/policy/compile.ts";
import { bucketKey, type Hold, type LimitRequest, LimitTable } from "../../src/policy/limit.ts";
import { concurrent, requestsPer, tokens, tokensPer } from "./limit-steps.ts";

const IDS = { client: "app", provider: "p", route: "r", user: null };

/** The limits of a route, for one of its credentials. */
function of(credential: string, specs: readonly LimitSpec[]): LimitRequest[] {
  return specs.map((spec) => ({ spec, key: bucketKey(spec, { ...IDS, credential }) }));
}

const by = (scope: LimitScope, spec: LimitSpec): LimitSpec => ({
  ...spec,
  name: `${spec.name}-${scope}`,
  per: [scope],
});

const SPECS = (["client", "credential", "provider"] as const).flatMap((scope) => [
  by(scope, requestsPer(3, 1000)),
  by(scope, concurrent(1)),
  by(scope, tokensPer(100, 1000)),
]);

function held(table: LimitTable, requests: readonly LimitRequest[], ask: Ask): Hold {
  const result = table.tryReserve(requests, 0, ask);
  return result.ok ? result.hold : assert.fail(`denied by ${result.denied.spec.name}`);
}

const left = (table: LimitTable, requests: readonly LimitRequest[]) =>
  Object.fromEntries(requests.map(({ spec, key }) => [spec.name, table.remaining(spec, key, 0).remaining]));

test("an exchange takes the new credential's limits, frees the old one's and keeps the client's", () => {
  const table = new LimitTable();
  const [first, second] = [of("a", SPECS), of("b", SPECS)];
  const hold = held(table, first, tokens(40));
  assert.equal(table.exchange(hold, second, 0), true);
  const client = { "plan-client": 2, "open-client": 0, "tokens-client": 60 };
  const provider = { "plan-provider": 1, "open-provider": 0, "tokens-provider": 60 };
  assert.deepEqual(left(table, first), {
    ...client,
    ...provider,
    "plan-credential": 2,
    "open-credential": 1,
    "tokens-credential": 100,
  });
  assert.deepEqual(left(table, second), {
    ...client,
    ...provider,
    "plan-credential": 2,
    "open-credential": 0,
    "tokens-credential": 60,
  });
  table.release(hold, { tokens: 10, nanoUsd: null }, 0);
  assert.deepEqual(left(table, second), {
    "plan-client": 2,
    "open-client": 1,
    "tokens-client": 90,
    "plan-credential": 2,
    "open-credential": 1,
    "tokens-credential": 90,
    "plan-provider": 1,
    "open-provider": 1,
    "tokens-provider": 90,
  });
});

test("without room at once an exchange changes nothing", () => {
  for (const full of ["plan-credential", "open-credential", "tokens-credential"]) {
    const table = new LimitTable();
    const [first, second] = [of("a", SPECS), of("b", SPECS)];
    const blocking = second.filter(({ spec }) => spec.name === full);
    for (let n = 0; n < 3; n++) table.tryReserve(blocking, 0, tokens(33));
    const hold = held(table, first, tokens(40));
    const before = JSON.stringify([table.exportState(), left(table, first), left(table, second)]);
    assert.equal(table.exchange(hold, second, 0), false, full);
    assert.equal(JSON.stringify([table.exportState(), left(table, first), left(table, second)]), before);
    assert.equal(hold.settled, false);
  }
});

test("what the call holds itself does not stand in its way", () => {
  const table = new LimitTable();
  const specs = [by("provider", concurrent(1)), by("provider", tokensPer(50, 1000))];
  const hold = held(table, of("a", specs), tokens(40));
  for (let n = 0; n < 5; n++) assert.equal(table.exchange(hold, of("ab"[n % 2] ?? "", specs), 0), true);
  assert.deepEqual(left(table, of("a", specs)), { "open-provider": 0, "tokens-provider": 10 });
  table.refund(hold, 0);
  assert.deepEqual(left(table, of("a", specs)), { "open-provider": 1, "tokens-provider": 50 });
});

test("each attempt is a request that the provider counts", () => {
  const table = new LimitTable();
  const specs = [by("provider", requestsPer(3, 1000)), by("client", requestsPer(3, 1000))];
  const hold = held(table, of("a", specs), tokens(1));
  assert.equal(table.exchange(hold, of("b", specs), 0), true);
  assert.equal(table.exchange(hold, of("c", specs), 0), true);
  assert.equal(table.exchange(hold, of("d", specs), 0), false);
  assert.deepEqual(left(table, of("a", specs)), { "plan-provider": 0, "plan-client": 2 });
  // Only the attempt that was not sent is taken back.
  table.refund(hold, 0);
  assert.deepEqual(left(table, of("a", specs)), { "plan-provider": 1, "plan-client": 3 });
});

test("a shadow limit does not stop an exchange, and a settled hold cannot be exchanged", () => {
  const table = new LimitTable();
  const shadow: LimitSpec = { ...by("credential", concurrent(1)), mode: "shadow" };
  held(table, of("b", [shadow]), tokens(1));
  const hold = held(table, of("a", [shadow]), tokens(1));
  assert.equal(table.exchange(hold, of("b", [shadow]), 0), true);
  table.release(hold, null, 0);
  assert.deepEqual(left(table, of("b", [shadow])), { "open-credential": 0 });
  assert.equal(table.exchange(hold, of("a", [shadow]), 0), false);
});

test("an exchange needs room for the counters as well", () => {
  const specs = [by("credential", requestsPer(3, 1000))];
  const table = new LimitTable({ maxBuckets: 1 });
  const hold = held(table, of("a", specs), tokens(1));
  assert.equal(table.exchange(hold, of("b", specs), 0), false);
  assert.equal(table.exchange(hold, of("b", specs), 1_000_000), true);
});
