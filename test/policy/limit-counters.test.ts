import assert from "node:assert/strict";
import test from "node:test";
import { Calendars } from "../../src/policy/calendar.ts";
import { LimitCounters } from "../../src/policy/limit-counters.ts";
import { concurrent, requestsPer, tokensPer } from "./limit-steps.ts";

const RULES = { calendars: new Calendars(), leaseUs: 1_000_000 };
const [PLAN, OPEN, TOKENS] = [requestsPer(1, 1000), concurrent(1), tokensPer(10, 1000)];

test("a counter belongs to its key and its kind", () => {
  const counters = new LimitCounters(10, RULES);
  assert.equal(counters.find(PLAN, "k"), undefined);
  const bucket = counters.findOrMake(PLAN, "k");
  assert.equal(counters.find(PLAN, "k"), bucket);
  assert.equal(counters.find(TOKENS, "k"), undefined);
  assert.equal(counters.find(OPEN, "k"), undefined);
});

test("dropping is about one counter, not about the one that has taken its place", () => {
  const counters = new LimitCounters(10, RULES);
  const first = counters.findOrMake(OPEN, "k") ?? assert.fail();
  counters.drop("k", first);
  const second = counters.findOrMake(OPEN, "k");
  counters.drop("k", first);
  assert.equal(counters.find(OPEN, "k"), second);
});

test("a full table says when a counter will be idle, and a budget in use is not", () => {
  const counters = new LimitCounters(1, RULES);
  const budget = counters.findOrMake(TOKENS, "a");
  assert.ok(budget && "reserve" in budget);
  const held = budget.reserve(TOKENS, 5, 0);
  const request = { spec: PLAN, key: "b" };
  assert.deepEqual(counters.shortage([request], 10), { request, endsUs: 2_000_000 }, "its lease and a period");
  budget.settle(held, 5, 20);
  assert.deepEqual(counters.shortage([request], 30), { request, endsUs: 1_000_020 });
  assert.equal(counters.shortage([request], 1_000_020), null);
  assert.equal(counters.shortage([{ spec: TOKENS, key: "a" }], 30), null);
  assert.equal(counters.makeRoom([request], 1_000_020), true);
  assert.equal(counters.find(TOKENS, "a"), undefined);
});

test("a concurrent counter is in use until it is dropped", () => {
  const counters = new LimitCounters(1, RULES);
  counters.findOrMake(OPEN, "a");
  assert.equal(counters.shortage([{ spec: PLAN, key: "b" }], Number.MAX_SAFE_INTEGER)?.endsUs, null);
  assert.equal(counters.findOrMake({ ...PLAN, mode: "shadow" }, "b"), null);
});

test("saved rows of both formats are read, idle and unreadable ones are left out", () => {
  const before = new LimitCounters(10, RULES);
  const [plan, tokens] = [before.findOrMake(PLAN, "plan"), before.findOrMake(TOKENS, "tokens")];
  assert.ok(plan && "grant" in plan && tokens && "reserve" in tokens);
  plan.grant(PLAN, 100);
  tokens.reserve(TOKENS, 3, 200);
  before.findOrMake(OPEN, "open");
  before.findOrMake(TOKENS, "unused");
  const rows = before.exportState();
  assert.deepEqual(
    rows.map(({ key }) => key),
    ["plan", "tokens"],
  );
  const after = new LimitCounters(10, RULES);
  after.importState([...rows, { key: "bad", state: "{" }, { key: "plan", state: rows[0]?.state ?? "" }], 300);
  assert.equal(after.exportState().length, 2);
  const late = new LimitCounters(10, RULES);
  late.importState(rows, 3_000_000);
  assert.deepEqual(late.exportState(), []);
});
