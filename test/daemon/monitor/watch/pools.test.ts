import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Pools } from "../../../../src/daemon/monitor/watch/pools.ts";
import { type AlertScene, alertScene } from "../alert-scene.ts";

function scene(t: TestContext) {
  const state = { pools: [{ route: "r", members: 3, usable: 3 }], watch: null as Pools | null };
  return watching(
    alertScene(t, (nowMs) => state.watch?.look(state.pools, nowMs)),
    state,
  );
}

interface State {
  pools: { route: string; members: number; usable: number }[];
  watch: Pools | null;
}

function watching(alerts: AlertScene, state: State) {
  const pools = new Pools(alerts.book, alerts.nowMs());
  state.watch = pools;
  const usable = (count: number): void => {
    state.pools = [{ route: "r", members: 3, usable: count }];
  };
  return { ...alerts, pools, state, usable, again: () => watching(alerts.restart(), state) };
}

const open = ({ book }: AlertScene): string[] => book.open().map(({ kind, severity }) => `${kind} ${severity}`);

test("one that is left is a warning, none is critical, and each closes the other", (t) => {
  const one = scene(t);
  one.usable(2);
  one.pass(60_000);
  assert.deepEqual(open(one), []);
  one.usable(1);
  one.pass(16_000);
  assert.deepEqual(open(one), ["pool_down_to_one warning"]);
  assert.match(
    one.book.open()[0]?.message ?? "",
    /route r is left with 1 of 3 credentials; see `sidekey credential list`/,
  );
  one.usable(0);
  one.pass(16_000);
  assert.deepEqual(open(one), ["pool_empty critical"]);
  one.usable(1);
  one.pass(16_000);
  assert.deepEqual(open(one), ["pool_down_to_one warning"]);
  one.usable(3);
  one.pass(16_000);
  assert.deepEqual(open(one), []);
});

test("what lasts for less than a quarter of a minute is not told, in either direction", (t) => {
  const one = scene(t);
  for (let n = 0; n < 10; n++) {
    one.usable(0);
    one.pass(10_000);
    one.usable(3);
    one.pass(10_000);
  }
  assert.deepEqual(one.changes, []);
  one.usable(0);
  one.pass(16_000);
  for (let n = 0; n < 10; n++) {
    one.usable(3);
    one.pass(10_000);
    one.usable(0);
    one.pass(10_000);
  }
  assert.deepEqual(one.changes, ["opened route:r"]);
  assert.equal(one.book.open()[0]?.count, 1);
});

test("a route that is gone, or has one credential only, has nothing to tell", (t) => {
  const one = scene(t);
  one.usable(0);
  one.pass(16_000);
  one.state.pools = [];
  one.pass(1_000);
  assert.deepEqual(open(one), []);
  assert.equal(one.pools.size, 0);
});

test("after a restart it is not told again, and closes when the pool is well", (t) => {
  const first = scene(t);
  first.usable(0);
  first.pass(16_000);
  const again = first.again();
  again.pass(60_000);
  assert.deepEqual(again.changes, []);
  assert.deepEqual(open(again), ["pool_empty critical"]);
  again.usable(3);
  again.pass(16_000);
  assert.deepEqual(open(again), []);
});
