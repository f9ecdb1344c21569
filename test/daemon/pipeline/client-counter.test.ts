import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientCounter } from "../../../src/daemon/pipeline/client-counter.ts";
import type { ExchangeState } from "../../../src/daemon/pipeline/exchange-state.ts";

function exchange(client: string): ExchangeState {
  return { identity: { client, user: null } } as ExchangeState;
}

test("a client may have so many exchanges in flight and no more; another client is not touched by it", () => {
  const counter = new ClientCounter(2);
  const [one, two, three] = [exchange("app"), exchange("app"), exchange("app")];
  counter.enter(one);
  counter.enter(two);
  assert.throws(() => counter.enter(three), { code: "overloaded", reason: "client_concurrency" });
  counter.enter(exchange("batch"));
  counter.leave(three);
  assert.throws(() => counter.enter(three), { code: "overloaded" }, "one that was refused gives no place back");
  counter.leave(one);
  counter.leave(one);
  counter.enter(three);
  assert.throws(() => counter.enter(exchange("app")), { code: "overloaded" });
});
