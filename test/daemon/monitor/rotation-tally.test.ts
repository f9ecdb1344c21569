import assert from "node:assert/strict";
import { test } from "node:test";
import { count, isAnswered, isFailing, newTally } from "../../../src/daemon/monitor/rotation-tally.ts";
import type { Outcome } from "../../../src/daemon/pipeline/exchange.ts";

function tally(requests: number, refused: number) {
  return { requests, refused };
}

test("only 401 and 403 of the provider count as refusals", () => {
  const counted = newTally();
  for (const status of [200, 400, 401, 402, 403, 404, 407, 429, 500, 503]) count(counted, status);
  assert.deepEqual(counted, tally(10, 2));
  const outcome = { outcome: "ok", version: 1, status: 401 } as Outcome;
  assert.equal(isAnswered(outcome), true);
  assert.equal(isAnswered({ ...outcome, outcome: "not_allowed" }), false, "sidekey's own refusal");
  assert.equal(isAnswered({ ...outcome, version: null }), false, "a route without a key");
});

test("a new version fails with 3 refusals and more than twice the old one's rate", () => {
  const old = tally(100, 10);
  assert.equal(isFailing(tally(2, 2), old), false, "too few");
  assert.equal(isFailing(tally(3, 3), old), true);
  assert.equal(isFailing(tally(100, 20), old), false, "just twice");
  assert.equal(isFailing(tally(100, 21), old), true);
  assert.equal(isFailing(tally(100, 100), tally(100, 100)), false, "both fail");
});

test("without traffic of the old version to compare with, half of the requests must be refused", () => {
  for (const old of [tally(0, 0), tally(19, 0)]) {
    assert.equal(isFailing(tally(10, 4), old), false);
    assert.equal(isFailing(tally(10, 5), old), true);
  }
  assert.equal(isFailing(tally(10, 4), tally(20, 0)), true);
  assert.equal(isFailing(tally(10, 9), tally(2, 2)), false, "the little there is fails as well");
});
