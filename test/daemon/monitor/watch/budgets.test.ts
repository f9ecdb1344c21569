import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Budgets, type BudgetUse } from "../../../../src/daemon/monitor/watch/budgets.ts";
import { NANO_PER_USD } from "../../../../src/policy/amount.ts";
import type { LimitSpec } from "../../../../src/policy/compile.ts";
import { bucketKey } from "../../../../src/policy/limit.ts";
import { type AlertScene, alertScene } from "../alert-scene.ts";

const HOUR = 3_600_000;
const IDS = { client: "app", credential: "main", provider: "openai", route: "chat", user: "u7" };
const SPEND: LimitSpec = {
  name: "spend",
  kind: "usd",
  per: ["client", "route"],
  count: 25 * NANO_PER_USD,
  periodMs: 24 * HOUR,
  burst: 25 * NANO_PER_USD,
  waitMs: 0,
  mode: "enforce",
  budget: { calendar: { unit: "day", zone: "UTC" }, strict: false, unpriced: "deny", warn: [50, 80, 95] },
};

function scene(t: TestContext) {
  const state = { percent: 0 as number | null, budgets: null as Budgets | null };
  return watching(
    alertScene(t, (nowMs) => state.budgets?.look(nowMs)),
    state,
  );
}

function watching(alerts: AlertScene, state: { percent: number | null; budgets: Budgets | null }) {
  const budgets = new Budgets(alerts.book, () => state.percent);
  state.budgets = budgets;
  const use = (percent: number, changes: Partial<BudgetUse> = {}): void => {
    state.percent = percent;
    const used = (25 * NANO_PER_USD * percent) / 100;
    const key = bucketKey(changes.spec ?? SPEND, IDS);
    budgets.passed(
      { spec: SPEND, key, percent, used, limit: SPEND.count, resetMs: 6 * HOUR, ...changes },
      alerts.nowMs(),
    );
  };
  const now = (percent: number | null): void => {
    state.percent = percent;
  };
  return { ...alerts, budgets, use, now, again: () => watching(alerts.restart(), state) };
}

const open = ({ book }: AlertScene): string[] => book.open().map(({ object, severity }) => `${object} ${severity}`);

test("50, 80 and 95 per cent are a note, a warning and critical, of one alert, in words and with what is left", (t) => {
  const one = scene(t);
  one.use(50);
  one.use(80);
  one.use(95);
  assert.deepEqual(open(one), ["limit:chat/spend client=app critical"]);
  assert.deepEqual(one.changes, [
    "opened limit:chat/spend client=app",
    "severity limit:chat/spend client=app info>warning",
    "severity limit:chat/spend client=app warning>critical",
  ]);
  assert.equal(
    one.book.open()[0]?.message,
    "budget chat/spend client=app is used up to 95 %: $23.75 of $25.00; all of it is there again at " +
      "2023-11-15T04:13:20.000Z; raise it in policy.yaml, or see who uses it with `sidekey usage`",
  );
});

test("tokens are counted in whole ones, and a budget that follows a credential belongs to no route", (t) => {
  const one = scene(t);
  const spec: LimitSpec = { ...SPEND, kind: "tokens", name: "tpm", per: ["credential"], count: 200_000 };
  one.use(80, { spec, used: 160_000, limit: 200_000 });
  assert.deepEqual(open(one), ["limit:tpm credential=main warning"]);
  assert.match(one.book.open()[0]?.message ?? "", /160,000 of 200,000 tokens/);
});

test("it closes when the window has moved below its lowest level, with a margin, and becomes milder on the way", (t) => {
  const one = scene(t);
  one.use(95);
  one.now(78);
  one.pass(11_000);
  assert.deepEqual(open(one), ["limit:chat/spend client=app warning"]);
  one.now(76);
  one.pass(11_000);
  one.now(60);
  one.pass(11_000);
  assert.deepEqual(open(one), ["limit:chat/spend client=app info"]);
  one.now(46);
  one.pass(11_000);
  assert.equal(open(one).length, 1);
  one.now(44);
  one.pass(11_000);
  assert.deepEqual(open(one), []);
  assert.equal(one.budgets.size, 0);
});

test("use that wavers around a level says nothing more", (t) => {
  const one = scene(t);
  one.use(80);
  for (let n = 0; n < 20; n++) {
    one.now(n % 2 === 0 ? 78 : 82);
    one.pass(11_000);
  }
  assert.equal(one.changes.length, 1);
});

test("when nobody knows the counter, and after a restart, it lapses when all of the budget is there again", (t) => {
  const first = scene(t);
  first.use(80);
  const again = first.again();
  again.now(null);
  again.pass(5 * HOUR, 60_000);
  assert.deepEqual(open(again), ["limit:chat/spend client=app warning"]);
  assert.deepEqual(again.changes, []);
  again.pass(HOUR, 60_000);
  assert.deepEqual(open(again), []);
});

test("no more than 500 budgets are followed", (t) => {
  const many = scene(t);
  for (let n = 0; n < 600; n++) many.use(50, { key: bucketKey(SPEND, { ...IDS, client: `c${n}` }) });
  assert.equal(many.budgets.size, 500);
});
