import assert from "node:assert/strict";
import { test } from "node:test";
import { UnpricedCalls } from "../../../../src/daemon/monitor/watch/unpriced.ts";
import { alertScene } from "../alert-scene.ts";

test("calls without a price are one alert per route, which names a few models and lapses after a day", (t) => {
  const { book, changes, nowMs, pass } = alertScene(t);
  const calls = new UnpricedCalls(book);
  const seen = (model: string | null, route = "chat") => calls.seen({ route, model, atMs: nowMs() });
  seen(null);
  assert.equal(
    book.open()[0]?.message,
    "calls on route chat have no price, so its dollar budget does not count them; add them to prices.yaml",
  );
  for (const model of ["gpt-9", "gpt-9", "anthropic/claude-9:beta", "m3", "m4", "m5", "m6"]) seen(model);
  assert.match(
    book.open()[0]?.message ?? "",
    /have no price \(gpt-9, anthropic\/claude-9:beta, m3, m4, m5\), so its dollar budget/,
  );
  seen("other", "second");
  assert.deepEqual(
    book.open().map(({ object, severity }) => `${object} ${severity}`),
    ["route:chat warning", "route:second warning"],
  );
  assert.deepEqual(changes, ["opened route:chat", "opened route:second"]);
  pass(86_400_000, 60_000);
  assert.deepEqual(book.open(), []);
});

test("a name that is none is not repeated, and routes are bounded", (t) => {
  const { book, nowMs } = alertScene(t);
  const calls = new UnpricedCalls(book);
  for (const model of ["\u001b[2J", "a b", "x".repeat(500), 'm"},{"', ""]) {
    calls.seen({ route: "chat", model, atMs: nowMs() });
  }
  assert.match(book.open()[0]?.message ?? "", /route chat have no price, so/);
  for (let n = 0; n < 700; n++) calls.seen({ route: `r${n}`, model: "m", atMs: nowMs() });
  assert.equal(calls.size, 500);
});
