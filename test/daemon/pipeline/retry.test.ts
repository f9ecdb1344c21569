import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ERROR_STATUS, type ErrorCode } from "../../../src/daemon/pipeline/errors.ts";
import {
  connectFailure,
  type Failure,
  type RetryFacts,
  repeatHints,
  retryVerdict,
  shouldRetry,
} from "../../../src/daemon/pipeline/retry.ts";
import type { RetryReason } from "../../../src/policy/compile.ts";
import type { TrafficMeaning } from "../../../src/providers/classify-traffic.ts";

const ALL: readonly RetryReason[] = ["connect", "refused", "limited", "unavailable"];
const FIRST_HAND = { idempotencyKey: false, clientRetries: false };
const WITH_KEY = { idempotencyKey: true, clientRetries: false };

function answer(
  status: number,
  meaning: TrafficMeaning,
  more: Partial<Extract<Failure, { kind: "answer" }>> = {},
): Failure {
  return { kind: "answer", status, meaning, shouldRetry: null, retryAfterMs: null, ...more };
}

const BROKEN: Failure = { kind: "connect", written: true };
const REFUSED: Failure = { kind: "connect", written: false };

/** A first try of a GET on a route that allows three for every reason, with everything in favour of another. */
function facts(failure: Failure, changes: Partial<RetryFacts> = {}): RetryFacts {
  return {
    failure,
    retry: { attempts: 3, on: new Set(ALL), withinMs: 10_000 },
    attempts: 1,
    elapsedMs: 50,
    method: "GET",
    hints: FIRST_HAND,
    bodyHeld: true,
    answerBegun: false,
    trading: false,
    sameReady: true,
    otherReady: true,
    random: 0,
    ...changes,
  };
}

function told(failure: Failure, changes: Partial<RetryFacts> = {}): string {
  const { retry, reason } = retryVerdict(facts(failure, changes));
  return `${retry ?? "no"} ${reason}`;
}

test("another key for a key that was refused or may not go on, the same key for trouble that passes", () => {
  const table: readonly [Failure, string][] = [
    [answer(401, "invalid"), "other refused"],
    [answer(403, "invalid"), "other refused"],
    [answer(400, "invalid"), "other refused"],
    [answer(200, "invalid"), "other refused"],
    [answer(401, "unknown"), "other refused"],
    [answer(402, "quota"), "other limited"],
    [answer(429, "quota"), "other limited"],
    [answer(429, "limited"), "other limited"],
    [answer(503, "unavailable"), "same unavailable"],
    [answer(529, "unavailable"), "same unavailable"],
    [BROKEN, "same connect"],
    [REFUSED, "same connect"],
    [answer(401, "forbidden"), "no answer_stands"],
    [answer(403, "forbidden"), "no answer_stands"],
    [answer(403, "unknown"), "no answer_stands"],
    [answer(402, "plan"), "no answer_stands"],
    [answer(403, "retired"), "no answer_stands"],
    [answer(401, "session"), "no answer_stands"],
    [answer(400, "request"), "no answer_stands"],
    [answer(501, "request"), "no answer_stands"],
    [answer(200, "ok"), "no answer_stands"],
  ];
  for (const [failure, expected] of table) assert.equal(told(failure), expected, JSON.stringify(failure));
});

test("when the key that was used is not well either, trouble is taken to another one", () => {
  assert.equal(told(BROKEN, { sameReady: false }), "other connect");
  assert.equal(told(answer(503, "unavailable"), { sameReady: false }), "other unavailable");
  assert.equal(told(answer(503, "unavailable"), { sameReady: false, otherReady: false }), "no no_credential_ready");
  for (const failure of [answer(401, "invalid"), answer(429, "limited"), answer(429, "quota")]) {
    assert.equal(told(failure, { otherReady: false }), "no no_credential_ready");
  }
});

test("each rule by itself forbids it", () => {
  const table: readonly [Partial<RetryFacts>, string][] = [
    [{ answerBegun: true }, "answer_begun"],
    [{ retry: null }, "no_retry_on_route"],
    [{ retry: { attempts: 3, on: new Set(["connect"]), withinMs: 10_000 } }, "reason_not_on_route"],
    [{ attempts: 3 }, "attempts_used"],
    [{ attempts: 99 }, "attempts_used"],
    [{ hints: { idempotencyKey: true, clientRetries: true } }, "client_retries"],
    [{ bodyHeld: false }, "body_gone"],
    [{ method: "POST" }, "outcome_unknown"],
    [{ elapsedMs: 9_951 }, "too_late"],
  ];
  for (const [changes, reason] of table) assert.equal(told(answer(503, "unavailable"), changes), `no ${reason}`);
  assert.equal(told(answer(503, "unavailable"), { elapsedMs: 9_950 }), "same unavailable");
  assert.equal(told(answer(503, "unavailable", { shouldRetry: false })), "no provider_says_no");
});

test("a quota counts for either reason that wants another key", () => {
  const only = (...on: RetryReason[]) => ({ retry: { attempts: 3, on: new Set(on), withinMs: 10_000 } });
  assert.equal(told(answer(429, "quota"), only("refused")), "other refused");
  assert.equal(told(answer(402, "quota"), only("limited")), "other limited");
  assert.equal(told(answer(402, "quota"), only("connect", "unavailable")), "no reason_not_on_route");
});

test("what may have been carried out is only sent again when that does nothing twice", () => {
  const unknown = [BROKEN, answer(500, "unavailable"), answer(529, "unavailable")];
  for (const failure of unknown) {
    for (const method of ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]) {
      assert.match(told(failure, { method }), /^same/, `${method} ${JSON.stringify(failure)}`);
    }
    for (const method of ["POST", "PATCH", "CONNECT", "get", "X"]) {
      assert.equal(told(failure, { method }), "no outcome_unknown", `${method} ${JSON.stringify(failure)}`);
      assert.match(told(failure, { method, hints: WITH_KEY }), /^same/, method);
    }
  }
  for (const failure of [
    REFUSED,
    answer(401, "invalid"),
    answer(403, "invalid"),
    answer(429, "limited"),
    answer(402, "quota"),
  ]) {
    assert.doesNotMatch(told(failure, { method: "POST" }), /^no/, JSON.stringify(failure));
  }
});

test("an order is never placed twice: at trading providers nothing but a refusal is followed by another try", () => {
  for (const failure of [BROKEN, answer(500, "unavailable"), answer(503, "unavailable"), answer(504, "unavailable")]) {
    for (const method of ["POST", "PATCH", "PUT", "DELETE"]) {
      for (const hints of [FIRST_HAND, WITH_KEY]) {
        assert.equal(told(failure, { method, hints, trading: true }), "no outcome_unknown", method);
      }
    }
    assert.match(told(failure, { method: "GET", trading: true }), /^same/);
  }
  assert.equal(told(REFUSED, { method: "POST", trading: true }), "same connect", "no byte was written");
  assert.equal(told(answer(401, "invalid"), { method: "POST", trading: true }), "other refused");
  assert.equal(told(answer(429, "limited"), { method: "POST", trading: true }), "other limited");
  assert.equal(
    told(answer(503, "limited"), { method: "POST", trading: true }),
    "no outcome_unknown",
    "5xx promises nothing",
  );
});

test("what a provider says of a key does not stand against another key", () => {
  for (const failure of [
    answer(401, "invalid", { shouldRetry: false }),
    answer(429, "limited", { shouldRetry: false }),
  ]) {
    assert.match(told(failure), /^other/);
  }
  const slow = answer(429, "limited", { retryAfterMs: 3_600_000 });
  assert.deepEqual(retryVerdict(facts(slow)), { retry: "other", reason: "limited", afterMs: 0 });
});

test("the same key is tried after a pause that grows, half of it jitter, and not before the provider said", () => {
  const pause = (attempts: number, random: number, failure: Failure = BROKEN) => {
    const retry = { attempts: 99, on: new Set(ALL), withinMs: 60_000 };
    return retryVerdict(facts(failure, { attempts, random, retry })).afterMs;
  };
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6, 7].map((n) => pause(n, 0)),
    [50, 100, 200, 400, 800, 1_000, 1_000],
  );
  assert.deepEqual(
    [1, 2].map((n) => pause(n, 0.5)),
    [75, 150],
  );
  assert.equal(pause(1, 0, answer(503, "unavailable", { retryAfterMs: 2_000 })), 2_000);
  assert.equal(told(answer(503, "unavailable", { retryAfterMs: 9_960 })), "no too_late");
  assert.equal(pause(1, 0, answer(503, "unavailable", { retryAfterMs: -5 })), 50);
});

test("the client's own fields say whether it repeats, and whether the provider would recognise a repetition", () => {
  assert.deepEqual(repeatHints([]), FIRST_HAND);
  assert.deepEqual(repeatHints(["Idempotency-Key", "abc", "X-Stainless-Retry-Count", "0"]), WITH_KEY);
  assert.deepEqual(repeatHints(["x-idempotency-key", "k"]), WITH_KEY);
  assert.deepEqual(repeatHints(["IDEMPOTENCY-KEY", "  "]), FIRST_HAND);
  for (const value of ["1", "2", "10", "x"]) {
    assert.equal(repeatHints(["x-stainless-retry-count", value]).clientRetries, true, value);
  }
  assert.equal(repeatHints(["x-stainless-retry-count", "0", "x-stainless-retry-count", "3"]).clientRetries, true);
  assert.deepEqual(["true", "false", "TRUE", "", null].map(shouldRetry), [true, false, null, null, null]);
});

test("the provider gave no answer: which errors say so", () => {
  const none = (Object.keys(ERROR_STATUS) as ErrorCode[]).filter((code) => connectFailure({ code }, true) !== null);
  assert.deepEqual(none.sort(), [
    "upstream_connect",
    "upstream_dns",
    "upstream_protocol",
    "upstream_timeout",
    "upstream_tls",
  ]);
  assert.deepEqual(connectFailure({ code: "upstream_connect" }, false), REFUSED);
});

const FAILURE: fc.Arbitrary<Failure> = fc.oneof(
  fc.record({ kind: fc.constant("connect" as const), written: fc.boolean() }),
  fc.record({
    kind: fc.constant("answer" as const),
    status: fc.integer({ min: 200, max: 599 }),
    meaning: fc.constantFrom<TrafficMeaning>(
      "ok",
      "invalid",
      "forbidden",
      "quota",
      "limited",
      "plan",
      "session",
      "unavailable",
      "request",
      "unknown",
    ),
    shouldRetry: fc.constantFrom(true, false, null),
    retryAfterMs: fc.option(fc.integer({ min: -10_000, max: 10_000_000 })),
  }),
);
const FACTS: fc.Arbitrary<RetryFacts> = fc.record({
  failure: FAILURE,
  retry: fc.option(
    fc.record({
      attempts: fc.integer({ min: 1, max: 5 }),
      on: fc.subarray([...ALL]).map((on) => new Set(on)),
      withinMs: fc.integer({ min: 1, max: 120_000 }),
    }),
  ),
  attempts: fc.integer({ min: 1, max: 6 }),
  elapsedMs: fc.integer({ min: 0, max: 150_000 }),
  method: fc.constantFrom("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
  hints: fc.record({ idempotencyKey: fc.boolean(), clientRetries: fc.boolean() }),
  bodyHeld: fc.boolean(),
  answerBegun: fc.boolean(),
  trading: fc.boolean(),
  sameReady: fc.boolean(),
  otherReady: fc.boolean(),
  random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
});

test("whatever else holds, a try is made only within the route's bounds, with something that is ready, and before any byte went out", () => {
  fc.assert(
    fc.property(FACTS, (one) => {
      const { retry, reason, afterMs } = retryVerdict(one);
      if (retry === null) return assert.equal(afterMs, 0);
      assert.equal(one.answerBegun, false);
      assert.ok(one.retry);
      assert.ok(one.retry.on.has(reason as RetryReason));
      assert.ok(one.attempts < one.retry.attempts);
      assert.ok(one.elapsedMs + afterMs <= one.retry.withinMs);
      assert.equal(one.hints.clientRetries, false);
      assert.equal(one.bodyHeld, true);
      assert.ok(retry === "other" ? one.otherReady : one.sameReady);
      if (retry === "same") assert.ok(reason === "connect" || reason === "unavailable");
      if (one.trading && one.method !== "GET" && one.method !== "HEAD") {
        const { failure } = one;
        assert.ok(
          failure.kind === "connect" ? !failure.written : failure.status < 500 && failure.meaning !== "unavailable",
        );
      }
    }),
    { numRuns: 2_000 },
  );
});
