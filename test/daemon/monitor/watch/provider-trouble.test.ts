import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { AttemptResult } from "../../../../src/daemon/monitor/watch/attempt.ts";
import { ProviderTrouble } from "../../../../src/daemon/monitor/watch/provider-trouble.ts";
import { type AlertScene, alertScene } from "../alert-scene.ts";

const MINUTE = 60_000;
const OBJECT = "provider:openai/api.openai.com";

interface Scene extends AlertScene {
  readonly trouble: () => ProviderTrouble;
  seen(result: AttemptResult, times?: number, host?: string): void;
  again(): Scene;
}

function scene(t: TestContext): Scene {
  let trouble: ProviderTrouble | null = null;
  return watching(
    alertScene(t, (nowMs) => trouble?.look(nowMs)),
    (made) => {
      trouble = made;
    },
  );
}

function watching(alerts: AlertScene, use: (trouble: ProviderTrouble) => void): Scene {
  const trouble = new ProviderTrouble(alerts.book, alerts.nowMs());
  use(trouble);
  return {
    ...alerts,
    trouble: () => trouble,
    seen: (result, times = 1, host = "api.openai.com") => {
      const tried = { provider: "openai", host, credential: "main", result, cause: "status 503" };
      for (let n = 0; n < times; n++) trouble.seen({ ...tried, atMs: alerts.nowMs() });
    },
    again: () => watching(alerts.restart(), use),
  };
}

const open = ({ book }: AlertScene): string[] =>
  book.open().map(({ kind, object, severity }) => `${kind} ${object} ${severity}`);

test("half of ten requests that failed open an alert, nine of nine do not", (t) => {
  const few = scene(t);
  few.seen("failed", 9);
  few.pass(1_000);
  assert.deepEqual(open(few), []);
  few.seen("ok", 9);
  few.pass(1_000);
  assert.deepEqual(open(few), [`provider_failing ${OBJECT} critical`]);
  assert.match(
    few.book.open()[0]?.message ?? "",
    /^openai \(api\.openai\.com\): 9 of 18 requests failed in the last 2 minutes, last status 503; look at .*`sidekey requests --follow`$/,
  );
});

test("less than half, or failures that are two minutes old, are no trouble", (t) => {
  const some = scene(t);
  some.seen("failed", 9);
  some.pass(121_000);
  some.seen("failed", 1);
  some.seen("answered", 20);
  some.pass(1_000);
  some.seen("limited", 100);
  some.pass(1_000);
  assert.deepEqual(open(some), []);
});

test("while it lasts it is counted once a minute, and two minutes of health close it", (t) => {
  const one = scene(t);
  one.seen("failed", 20);
  for (let n = 0; n < 5; n++) {
    one.pass(MINUTE);
    one.seen("failed", 20);
  }
  assert.ok((one.book.open()[0]?.count ?? 0) >= 5);
  one.pass(1_000);
  const counted = one.book.open()[0]?.count ?? 0;
  assert.ok(counted <= 6, `${counted}`);
  one.seen("ok", 5);
  one.pass(100_000);
  assert.equal(open(one).length, 1, "failures of the last two minutes still count");
  one.seen("ok", 5);
  one.pass(30_000);
  assert.deepEqual(open(one), []);
  assert.deepEqual(one.changes, [`opened ${OBJECT}`]);
});

test("it stays failing while one in five requests fails", (t) => {
  const one = scene(t);
  one.seen("failed", 10);
  for (let n = 0; n < 10; n++) {
    one.pass(MINUTE);
    one.seen("failed", 2);
    one.seen("ok", 8);
  }
  assert.equal(open(one).length, 1);
  one.seen("ok", 90);
  one.pass(1_000);
  assert.deepEqual(open(one), [], "few of many in two minutes are no failing provider");
});

test("nobody asking is no health; after an hour nothing is known any more", (t) => {
  const one = scene(t);
  one.seen("failed", 20);
  one.pass(10 * MINUTE);
  assert.equal(open(one).length, 1);
  one.pass(51 * MINUTE);
  assert.deepEqual(open(one), []);
  assert.equal(one.trouble().size, 0);
});

test("a breaker that is open for a minute is told, whatever the counts say", (t) => {
  const one = scene(t);
  one.trouble().breaker("openai", "api.openai.com", true, one.nowMs());
  one.pass(59_000);
  one.trouble().breaker("openai", "api.openai.com", true, one.nowMs());
  assert.deepEqual(open(one), []);
  one.pass(1_000);
  assert.deepEqual(open(one), [`provider_failing ${OBJECT} critical`]);
  assert.match(one.book.open()[0]?.message ?? "", /its breaker is open since 2023-11-14T22:13:20\.000Z/);
  one.trouble().breaker("openai", "api.openai.com", false, one.nowMs());
  one.seen("ok", 3);
  one.pass(110_000);
  assert.equal(open(one).length, 1);
  one.seen("ok", 3);
  one.pass(11_000);
  assert.deepEqual(open(one), []);
});

test("each host of a provider has an alert of its own", (t) => {
  const two = scene(t);
  two.seen("failed", 10, "a.openai.com");
  two.seen("failed", 10, "b.openai.com");
  two.pass(1_000);
  assert.equal(open(two).length, 2);
});

test("429s that go on for five minutes are told, and two minutes without any close it", (t) => {
  const one = scene(t);
  for (let n = 0; n < 10; n++) {
    one.seen("limited", 2);
    one.seen("ok", 10);
    one.pass(29_000);
  }
  assert.deepEqual(open(one), []);
  one.seen("limited", 2);
  one.pass(20_000);
  assert.deepEqual(open(one), [`provider_limited ${OBJECT} warning`]);
  assert.match(one.book.open()[0]?.message ?? "", /of 1[0-9]{2} answers of the last 5 minutes were 429/);
  one.seen("ok", 10);
  one.pass(99_000);
  assert.equal(open(one).length, 1);
  one.seen("ok", 10);
  one.pass(2_000);
  assert.deepEqual(open(one), []);
});

test("a 429 now and then among many answers, or a burst of them, is no trouble", (t) => {
  const one = scene(t);
  one.seen("limited", 50);
  for (let n = 0; n < 20; n++) {
    one.pass(30_000);
    one.seen("ok", 100);
    if (n % 2 === 0) one.seen("limited", 1);
  }
  assert.deepEqual(open(one), []);
});

test("after a restart what is open is not told again, and closes only after two minutes of health", (t) => {
  const first = scene(t);
  for (let n = 0; n < 12; n++) {
    first.seen("failed", 5);
    first.seen("limited", 5);
    first.pass(29_000);
  }
  first.pass(1_000);
  assert.equal(open(first).length, 2);
  const again = first.again();
  again.pass(1_000);
  again.seen("ok", 10);
  again.pass(118_000);
  assert.equal(open(again).length, 2);
  again.seen("ok", 10);
  again.pass(3_000);
  assert.deepEqual(open(again), []);
  assert.deepEqual(again.changes, []);
});

test("no more than 500 hosts are kept, and one that is dropped takes its alert with it", (t) => {
  const many = scene(t);
  many.seen("failed", 10, "first.example");
  many.pass(1_000);
  assert.equal(open(many).length, 1);
  for (let n = 0; n < 600; n++) many.seen("ok", 1, `h${n}.example`);
  assert.equal(many.trouble().size, 500);
  assert.deepEqual(open(many), []);
});
