import assert from "node:assert/strict";
import { test } from "node:test";
import type { LimiterHold } from "../../../src/daemon/pipeline/limiter.ts";
import { turn } from "../../support/fake-clock.ts";
import { concurrent, limiterBench, requests, tokensPer } from "../../support/limiter-bench.ts";
import { atOnce, callOf, denialOf, holdOf, named, type Seen, waitOf, watched } from "./waiting-call.ts";

test("a client with 900 requests in the queue does not keep another one waiting for more than two turns", async () => {
  const { limiter, clock } = limiterBench(2000);
  const open = named(concurrent("open", 1, 600_000));
  const order: string[] = [];
  let held = atOnce(limiter.reserve(open, callOf("flood")));
  const waiting: Seen[] = [];
  const join = (client: string): void => {
    waiting.push(watched(limiter.reserve(open, callOf(client)), () => order.push(client)));
  };
  const serveOne = async (): Promise<void> => {
    held.release(null);
    await turn();
    const next = waiting.find(({ hold }) => hold !== null);
    assert.ok(next?.hold);
    waiting.splice(waiting.indexOf(next), 1);
    held = next.hold;
  };
  for (let n = 0; n < 900; n++) join("flood");
  for (let n = 0; n < 10; n++) await serveOne();
  for (let n = 0; n < 3; n++) join("quiet");
  for (let n = 0; n < 6; n++) await serveOne();
  assert.deepEqual(order.slice(10), ["quiet", "flood", "quiet", "flood", "quiet", "flood"]);
  assert.equal(limiter.waiting(), 900 - 13);
  assert.equal(clock.pending(), limiter.waiting(), "one deadline each, and no wake-up for what only a release frees");
});

test("a pace is shared by turns, too, and the requests of one client keep their order", async () => {
  const { limiter, clock } = limiterBench();
  const pace = named(requests("pace", 10, 1000, 1, 60_000));
  const order: string[] = [];
  atOnce(limiter.reserve(pace, callOf("a")));
  for (const name of ["a1", "a2", "a3", "b1", "b2", "c1"]) {
    watched(limiter.reserve(pace, callOf(name.charAt(0))), () => order.push(name));
  }
  await clock.advance(1000);
  assert.deepEqual(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
});

test("a newcomer whose turn comes first is let through at once when there is room", async () => {
  const { limiter, clock } = limiterBench();
  const budget = named(tokensPer("budget", 10, 1000, 60_000));
  atOnce(limiter.reserve(budget, callOf("x", 10))).release({ tokens: 10, nanoUsd: null });
  const first = watched(limiter.reserve(budget, callOf("a", 5)));
  const large = watched(limiter.reserve(budget, callOf("a", 9)));
  await clock.advance(1000);
  assert.ok(first.hold !== null && large.hold === null);
  atOnce(limiter.reserve(budget, callOf("b", 3)));
  watched(limiter.reserve(budget, callOf("b", 1)));
  const third = watched(limiter.reserve(budget, callOf("c", 3)));
  await clock.advance(0);
  assert.equal(third.hold, null, "it is its turn, and there is no room");
  assert.equal(limiter.waiting(), 3);
});

test("when the first waiter leaves, the next one that fits goes on at once", async () => {
  const { limiter } = limiterBench();
  const budget = named(tokensPer("budget", 10, 60_000, 60_000));
  const held = atOnce(limiter.reserve(budget, callOf("a", 8)));
  const gone = new AbortController();
  watched(limiter.reserve(budget, { ...callOf("a", 9), gone: () => gone.signal }));
  const small = watched(limiter.reserve(budget, callOf("a", 2)));
  await turn();
  assert.equal(small.hold, null, "in order of arrival");
  gone.abort();
  await turn();
  assert.ok(small.hold);
  held.refund();
});

test("when a turn that was taken elsewhere changes who is first, that one is tried", async () => {
  const { limiter, clock } = limiterBench();
  const [open, budget] = [named(concurrent("open", 1, 60_000)), named(tokensPer("budget", 10, 60_000, 60_000))];
  const [gate, used] = [atOnce(limiter.reserve(open, callOf("x"))), atOnce(limiter.reserve(budget, callOf("x", 5)))];
  // a's first request waits for the gate and wants the budget too; a's second and b's wait for the budget.
  const both = watched(limiter.reserve([...open, ...budget], callOf("a", 1)));
  const large = watched(limiter.reserve(budget, callOf("a", 9)));
  const small = watched(limiter.reserve(budget, callOf("b", 3)));
  await clock.advance(10);
  assert.ok(both.hold === null && large.hold === null && small.hold === null);
  gate.release(null);
  await turn();
  assert.ok(both.hold !== null, "its number is the lowest of all");
  assert.ok(small.hold !== null, "now it is b's turn, and there is room for it");
  assert.equal(large.hold, null);
  used.refund();
});

test("two that want the same limits in another order never wait for each other", async () => {
  const { limiter, clock } = limiterBench();
  const [one, two] = [named(concurrent("one", 1, 60_000)), named(concurrent("two", 1, 60_000))];
  const held = [atOnce(limiter.reserve(one, callOf("x"))), atOnce(limiter.reserve(two, callOf("y")))];
  const seen = [
    watched(limiter.reserve([...one, ...two], callOf("a"))),
    watched(limiter.reserve([...two, ...one], callOf("b"))),
    watched(limiter.reserve([...one, ...two], callOf("a"))),
  ];
  for (const hold of held) hold.release(null);
  for (let n = 0; n < 3; n++) {
    await turn();
    const [granted, ...more] = seen.filter(({ hold }) => hold !== null);
    assert.ok(granted?.hold && more.length === 0, "one at a time, and always one");
    granted.hold.release(null);
    seen.splice(seen.indexOf(granted), 1);
  }
  assert.equal(limiter.waiting(), 0);
  assert.equal(clock.pending(), 0);
});

test("a budget is waited for until its window moves or a call settles lower", async () => {
  const { limiter, clock } = limiterBench();
  const budget = named(tokensPer("budget", 10, 1000, 5000));
  const first = atOnce(limiter.reserve(budget, callOf("a", 6)));
  const second = watched(limiter.reserve(budget, callOf("a", 8)));
  const third = watched(limiter.reserve(budget, callOf("a", 8)));
  await clock.advance(300);
  assert.equal(second.hold, null);
  first.release({ tokens: 2, nanoUsd: null });
  await turn();
  assert.deepEqual(waitOf(second), { limit: "budget", ms: 300 });
  holdOf(second).release({ tokens: 8, nanoUsd: null });
  await clock.advance(999);
  assert.equal(third.hold, null);
  await clock.advance(1);
  assert.deepEqual(waitOf(third), { limit: "budget", ms: 1300 });
});

test("what can never pass is refused at once, whoever waits", async () => {
  const { limiter } = limiterBench();
  const budget = named(tokensPer("budget", 10, 1000, 5000));
  const both = [...named(concurrent("open", 1, 5000)), ...budget];
  atOnce(limiter.reserve(both, callOf("a", 10)));
  watched(limiter.reserve(both, callOf("a", 10)));
  assert.equal(denialOf(() => limiter.reserve(both, callOf("a", 11))).reason, "too_large");
  assert.equal(limiter.waiting(), 1);
});

test("a full queue says of a budget what is left, and when there is room for the call", () => {
  const { limiter } = limiterBench(1);
  const budget = named(tokensPer("budget", 10, 1000, 5000));
  atOnce(limiter.reserve(budget, callOf("a", 9))).release({ tokens: 9, nanoUsd: null });
  watched(limiter.reserve(budget, callOf("a", 8)));
  const error = denialOf(() => limiter.reserve(budget, callOf("a", 8)));
  assert.equal(`${error.code} ${error.reason} ${error.retryAfterMs}`, "budget_exceeded queue_full 1000");
  assert.match(error.publicMessage, /has 1 tokens left, and too many requests wait for it already/);
});

test("thousands of waiters of two counters are all served, each once", async () => {
  const { limiter } = limiterBench(100_000);
  const [gate, all] = [named(concurrent("gate", 1, 60_000)), named(concurrent("all", 1000, 60_000))];
  const hold = atOnce(limiter.reserve(all, callOf("x")));
  const blocked = Array.from({ length: 999 }, () => atOnce(limiter.reserve(all, callOf("x"))));
  let granted = 0;
  for (let n = 0; n < 4000; n++) {
    const client = `c${n % 50}`;
    const wanted = n % 2 === 0 ? all : [...all, ...gate];
    const reserved = limiter.reserve(wanted, callOf(client));
    watched(reserved, () => granted++);
    void (reserved as Promise<LimiterHold>).then((held) => held.release(null));
  }
  hold.release(null);
  for (const other of blocked) other.release(null);
  for (let n = 0; n < 4100 && granted < 4000; n++) await turn();
  assert.equal(granted, 4000);
  assert.equal(limiter.waiting(), 0);
});
