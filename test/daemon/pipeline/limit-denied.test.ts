import assert from "node:assert/strict";
import { test } from "node:test";
import type { LimitDenied } from "../../../src/daemon/pipeline/limit-denied.ts";
import type { Caller } from "../../../src/daemon/pipeline/limiter.ts";
import type { BudgetSpec, LimitSpec } from "../../../src/policy/compile.ts";
import { limiterBench, requests, tokensPer, usdPer } from "../../support/limiter-bench.ts";
import { atOnce, callOf, denialOf, named } from "./waiting-call.ts";

const DAY = 86_400_000;
// The bench's clock stands at 2023-11-14T22:13:20Z.
const BERLIN: BudgetSpec["calendar"] = { unit: "day", zone: "Europe/Berlin" };
const MONTH: BudgetSpec["calendar"] = { unit: "month", zone: "UTC" };

function costing(expected: number, atMost: number | null = expected): Caller {
  return { ...callOf("app"), ask: { tokens: { expected: 0, atMost: 0 }, usd: { expected, atMost } } };
}

/** The refusal of `call` by a budget of which `used` is gone. */
function refusal(spec: LimitSpec, used: number, call: Caller): LimitDenied {
  const { limiter } = limiterBench();
  const before = spec.kind === "usd" ? costing(used) : callOf("app", used);
  if (used > 0) atOnce(limiter.reserve(named(spec), before)).release({ tokens: used, nanoUsd: used });
  return denialOf(() => limiter.reserve(named(spec), call));
}

function field(error: LimitDenied, name: string): string | undefined {
  const at = error.fields.indexOf(name);
  return at === -1 ? undefined : error.fields[at + 1];
}

test("a budget's refusal says what is left, what the call needs, and when there is room", () => {
  const spec = usdPer("spend", 25e9, DAY, 0, { calendar: BERLIN });
  const error = refusal(spec, 24_880_000_000, costing(500_000_000));
  assert.equal(`${error.status} ${error.code} ${error.reason}`, "429 budget_exceeded no_room");
  assert.equal(
    error.publicMessage,
    "budget spend (25.00 USD per day (Europe/Berlin) per credential) has 0.12 USD left, " +
      "this call needs about 0.50 USD; there is room for it at 2023-11-14T23:00:00Z",
  );
  assert.deepEqual(error.fields, [
    "Retry-After",
    "2800",
    "RateLimit-Policy",
    '"spend";q=25000000;qu="micro-usd";w=86400',
    "RateLimit",
    '"spend";r=120000;t=2800',
  ]);
  assert.equal(error.remaining, 120_000_000);
  assert.equal(error.retryAfterMs, 2_800_000);
});

test("in a window that slides there is room before all of it is there again", () => {
  const { limiter, clock } = limiterBench();
  const budget = named(tokensPer("tokens", 100, 60_000, 0));
  atOnce(limiter.reserve(budget, callOf("app", 50))).release({ tokens: 50, nanoUsd: null });
  clock.skip(10_000);
  atOnce(limiter.reserve(budget, callOf("app", 40))).release({ tokens: 40, nanoUsd: null });
  const error = denialOf(() => limiter.reserve(budget, callOf("app", 30)));
  assert.equal(
    error.publicMessage,
    "budget tokens (100 tokens in 60 s per credential) has 10 tokens left, this call needs about 30 tokens; " +
      "there is room for it at 2023-11-14T22:14:20Z, and all of it is there again at 2023-11-14T22:14:30Z",
  );
  assert.equal(field(error, "Retry-After"), "50");
  assert.equal(field(error, "RateLimit-Policy"), '"tokens";q=100;qu="tokens";w=60');
});

test("when calls in flight hold the rest, nobody can know when; that is said, and to ask again soon", () => {
  const { limiter } = limiterBench();
  const budget = named(tokensPer("tokens", 100, DAY, 0, { calendar: BERLIN, strict: true }));
  atOnce(limiter.reserve(budget, callOf("app", 1, 90)));
  const error = denialOf(() => limiter.reserve(budget, callOf("app", 1, 30)));
  assert.equal(
    error.publicMessage,
    "budget tokens (100 tokens per day (Europe/Berlin) per credential) has 10 tokens left, this call needs up to 30 tokens; " +
      "calls in flight hold the rest, and all of it is there again at 2023-11-14T23:00:00Z",
  );
  assert.equal(field(error, "Retry-After"), "1");
});

test("a month's budget may be far away: the message tells the day, Retry-After a day at most", () => {
  const error = refusal(usdPer("spend", 500e9, 31 * DAY, 0, { calendar: MONTH }), 500e9, costing(1));
  assert.match(error.publicMessage, /has 0\.00 USD left, .* there is room for it at 2023-12-01T00:00:00Z$/);
  assert.equal(field(error, "Retry-After"), "86400");
  assert.equal(field(error, "RateLimit"), '"spend";r=0;t=1388800');
});

test("a call that can never pass is told why, and not to try again", () => {
  const strict = { strict: true };
  const rows: readonly [reason: string, spec: LimitSpec, call: Caller, message: RegExp][] = [
    [
      "too_large",
      tokensPer("t", 100, 60_000, 0),
      callOf("app", 101),
      /^budget t \(100 tokens in 60 s per credential\): this call needs about 101 tokens, more than all of it; ask for less, or raise the limit$/,
    ],
    ["too_large", usdPer("d", 100, 60_000, 0, strict), costing(1, 101), /needs up to 0\.000000101 USD, more than all/],
    [
      "too_large",
      tokensPer("t", 100, 60_000, 0),
      callOf("app", Number.NaN),
      /needs about more than can be counted, more than all/,
    ],
    ["unbounded", tokensPer("t", 100, 60_000, 0, strict), callOf("app", 1, null), /is strict, and nothing bounds/],
    ["unpriced", usdPer("d", 100, 60_000, 0), callOf("app", 1), /this call has no price; .* prices\.yaml/],
  ];
  for (const [reason, spec, call, message] of rows) {
    const error = refusal(spec, 0, call);
    assert.equal(`${error.code} ${error.reason}`, `budget_exceeded ${reason}`);
    assert.match(error.publicMessage, message);
    assert.equal(field(error, "Retry-After"), undefined);
    assert.equal(field(error, "X-Should-Retry"), "false");
    assert.equal(error.retryAfterMs, null);
    assert.ok(field(error, "RateLimit"));
  }
});

test("the fields show all limits of the request, also those that have room", () => {
  const { limiter } = limiterBench();
  const both = named(requests("plan", 5, 60_000, 5, 0), tokensPer("tokens", 10, 60_000, 0));
  const error = denialOf(() => limiter.reserve(both, callOf("app", 11)));
  assert.equal(field(error, "RateLimit"), '"plan";r=5;t=0, "tokens";r=10;t=0');
});

test("a limit's refusal is as it was: its own code, and Retry-After without a cap", () => {
  const { limiter } = limiterBench();
  const plan = named(requests("plan", 1, 30 * DAY, 1, 0));
  atOnce(limiter.reserve(plan, callOf("app")));
  const error = denialOf(() => limiter.reserve(plan, callOf("app")));
  assert.equal(error.code, "limit_exceeded");
  assert.equal(field(error, "Retry-After"), "2592000");
});
