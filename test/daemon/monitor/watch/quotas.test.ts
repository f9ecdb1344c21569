import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { AttemptResult } from "../../../../src/daemon/monitor/watch/attempt.ts";
import { Quotas } from "../../../../src/daemon/monitor/watch/quotas.ts";
import { type AlertScene, alertScene } from "../alert-scene.ts";

const MINUTE = 60_000;

function scene(t: TestContext, alerts: AlertScene = alertScene(t)) {
  const inUse = new Set(["main", "spare"]);
  const quotas = new Quotas(alerts.book, (name) => inUse.has(name));
  const seen = (result: AttemptResult, credential: string | null = "main") =>
    quotas.seen({ provider: "p", host: "api.p.example", credential, result, cause: "", atMs: alerts.nowMs() });
  return { ...alerts, inUse, quotas, seen };
}

const open = ({ book }: AlertScene): string[] => book.open().map(({ kind, object }) => `${kind} ${object}`);

test("a credential without quota is told at once, counted once a minute, and told by its name alone", (t) => {
  const one = scene(t);
  for (let n = 0; n < 100; n++) one.seen("quota");
  assert.deepEqual(open(one), ["provider_quota credential:main"]);
  assert.equal(one.book.open()[0]?.count, 1);
  assert.equal(one.book.open()[0]?.severity, "critical");
  one.pass(MINUTE);
  one.seen("quota");
  assert.equal(one.book.open()[0]?.count, 2);
  one.seen("quota", null);
  assert.equal(one.quotas.size, 1);
});

test("an answer to a request that needs no quota closes nothing until ten minutes have passed without a refusal", (t) => {
  const one = scene(t);
  one.seen("quota");
  for (let n = 0; n < 9; n++) {
    one.pass(MINUTE);
    one.seen("ok");
  }
  one.seen("answered");
  assert.equal(open(one).length, 1);
  one.pass(MINUTE);
  one.seen("answered");
  one.seen("ok", "spare");
  assert.equal(open(one).length, 1);
  one.seen("ok");
  assert.deepEqual(open(one), []);
  assert.equal(one.quotas.size, 0);
});

test("a credential that was removed or disabled has nothing to tell", (t) => {
  const one = scene(t);
  one.seen("quota");
  one.seen("quota", "spare");
  one.inUse.delete("main");
  one.quotas.look();
  assert.deepEqual(open(one), ["provider_quota credential:spare"]);
});

test("after a restart it is not told again, and closes as it would have", (t) => {
  const first = scene(t);
  first.seen("quota");
  const again = scene(t, first.restart());
  again.seen("quota");
  assert.deepEqual(again.changes, []);
  again.pass(10 * MINUTE);
  again.seen("ok");
  assert.deepEqual(open(again), []);
});

test("no more than 500 credentials are kept", (t) => {
  const many = scene(t);
  for (let n = 0; n < 600; n++) many.seen("quota", `c${n}`);
  assert.equal(many.quotas.size, 500);
});
