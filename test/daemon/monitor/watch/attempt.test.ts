import assert from "node:assert/strict";
import { test } from "node:test";
import { attemptOf } from "../../../../src/daemon/monitor/watch/attempt.ts";
import type { Outcome } from "../../../../src/daemon/pipeline/exchange.ts";
import { outcomeOf } from "./outcome.ts";

const CASES: readonly [name: string, changes: Partial<Outcome>, result: string | null][] = [
  ["an answer of 200", {}, "ok"],
  ["an answer of 404", { status: 404 }, "answered"],
  ["an answer of 401", { status: 401 }, "answered"],
  ["an answer of 429", { status: 429 }, "limited"],
  ["an answer of 500", { status: 500 }, "failed"],
  ["an answer of 501, which says that there is no such thing", { status: 501 }, "answered"],
  ["an answer of 200 that says that nothing is left", { meaning: "quota" }, "quota"],
  ["an answer of 429 that says that nothing is left", { status: 429, meaning: "quota" }, "quota"],
  ["an answer of 200 that says too many requests", { meaning: "limited" }, "limited"],
  ["an answer of 500 that says the request was wrong", { status: 500, meaning: "request" }, "answered"],
  ["an answer of 529 that says it failed", { status: 529, meaning: "unavailable" }, "failed"],
  ["an answer that nobody understands counts by its status", { status: 503, meaning: "unknown" }, "failed"],
  ["no connection", { status: 502, outcome: "upstream_connect", attempts: 1 }, "failed"],
  ["no head in time", { status: 504, outcome: "upstream_timeout" }, "failed"],
  ["an answer that broke off", { outcome: "truncated" }, "failed"],
  ["an answer that broke off after it had said what it was", { outcome: "truncated", meaning: "ok" }, "failed"],
  ["a client that went away", { outcome: "client_closed" }, null],
  ["a request that was never sent", { status: 403, outcome: "not_allowed", attempts: 0 }, null],
  [
    "one that sidekey held back because the provider had said so",
    { status: 429, outcome: "limit_exceeded", reason: "provider_limit", attempts: 0 },
    "limited",
  ],
  ["one that sidekey's own limit refused", { status: 429, outcome: "limit_exceeded", attempts: 0 }, null],
  ["a tunnel, which has no provider", { provider: null }, null],
  ["an address that is refused", { status: 403, outcome: "upstream_refused_address" }, null],
];

for (const [name, changes, result] of CASES) {
  test(`${name} is ${result ?? "nothing"} to those who watch`, () => {
    assert.equal(attemptOf(outcomeOf(changes))?.result ?? null, result);
  });
}

test("it names the provider's own cause and no path", () => {
  const tried = attemptOf(outcomeOf({ status: 503 }));
  assert.deepEqual(tried, {
    provider: "p",
    host: "api.p.example",
    credential: "main",
    result: "failed",
    cause: "status 503",
    atMs: 1_700_000_000_000,
  });
  assert.equal(attemptOf(outcomeOf({ outcome: "upstream_connect", reason: "reset" }))?.cause, "reset");
  assert.equal(attemptOf(outcomeOf({ outcome: "upstream_timeout" }))?.cause, "upstream_timeout");
});
