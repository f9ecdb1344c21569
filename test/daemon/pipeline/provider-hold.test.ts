import assert from "node:assert/strict";
import { test } from "node:test";
import { isRefusal, ProviderHold } from "../../../src/daemon/pipeline/provider-hold.ts";
import type { ProviderLimits } from "../../../src/providers/limit-headers.ts";

const NOW = 1_790_000_000_000;

const told = (retryAtMs: number | null, capped = false): ProviderLimits => ({ windows: [], retryAtMs, capped });

/** Refuses request `number`, the last one sent, and answers for how long that holds, in milliseconds. */
function refuse(
  hold: ProviderHold,
  number: number,
  nowMs: number,
  retryAtMs: number | null = null,
  random = 0,
): number {
  hold.refused({ number, status: 429, limits: told(retryAtMs) }, number, nowMs, random);
  return (hold.at(nowMs)?.untilMs ?? nowMs) - nowMs;
}

test("a 429 always is a refusal; an overload, or Binance's 418, when it says when to come back", () => {
  for (const status of [429]) assert.ok(isRefusal(status, told(null)));
  for (const status of [418, 529]) {
    assert.ok(!isRefusal(status, told(null)), String(status));
    assert.ok(isRefusal(status, told(NOW)), String(status));
  }
  for (const status of [200, 400, 403, 500, 502, 503]) assert.ok(!isRefusal(status, told(NOW)), String(status));
});

test("it lasts as long as the provider said, and up to a second more at random", () => {
  assert.equal(refuse(new ProviderHold(), 1, NOW, NOW + 5_000), 5_000);
  assert.equal(refuse(new ProviderHold(), 1, NOW, NOW + 5_000, 1), 5_500);
  assert.equal(refuse(new ProviderHold(), 1, NOW, NOW + 60_000, 1), 61_000);
  const hold = new ProviderHold();
  assert.equal(hold.at(NOW), null);
  hold.refused({ number: 1, status: 529, limits: told(NOW + 5_000, true) }, 1, NOW, 0);
  assert.deepEqual(hold.at(NOW + 4_999), { status: 529, untilMs: NOW + 5_000, capped: true });
  assert.equal(hold.at(NOW + 5_000), null);
});

test("told nothing, or that there is nothing to wait for, it backs off: 1 s, doubled, never over a minute", () => {
  for (const retryAtMs of [null, NOW, NOW - 1_000]) {
    const hold = new ProviderHold();
    const waits = Array.from({ length: 9 }, (_, n) => refuse(hold, n, NOW + n * 100_000, retryAtMs));
    assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 48_000, 48_000, 48_000]);
  }
  // Told to the millisecond, while our clock is finer.
  assert.equal(refuse(new ProviderHold(), 1, NOW + 0.3, NOW + 1), 1_000);
  const random = new ProviderHold();
  const waits = Array.from({ length: 9 }, (_, n) => refuse(random, n, NOW + n * 100_000, null, 1));
  assert.deepEqual([waits[0], waits.at(-1)], [1_250, 60_000]);
});

test("a burst of refusals is one: what was on its way already does not double the wait", () => {
  const hold = new ProviderHold();
  for (let number = 1; number <= 20; number++) {
    hold.refused({ number, status: 429, limits: told(null) }, 20, NOW, 0);
  }
  assert.equal(hold.at(NOW)?.untilMs, NOW + 1_000);
  assert.equal(refuse(hold, 21, NOW + 1_000), 2_000);
});

test("it is extended and never shortened", () => {
  const hold = new ProviderHold();
  refuse(hold, 1, NOW, NOW + 30_000);
  assert.equal(refuse(hold, 2, NOW + 1_000, NOW + 3_000), 29_000);
  assert.equal(refuse(hold, 3, NOW + 1_000, NOW + 60_000), 59_000);
  assert.equal(refuse(hold, 4, NOW + 1_000, null), 59_000);
});

test("a request that got through ends it only if it was sent after the last refusal", () => {
  const hold = new ProviderHold();
  hold.refused({ number: 3, status: 429, limits: told(NOW + 30_000) }, 5, NOW, 0);
  hold.passed(5, NOW + 1_000);
  assert.notEqual(hold.at(NOW + 1_000), null);
  hold.passed(6, NOW + 1_000);
  assert.equal(hold.at(NOW + 1_000), null);
  // And the next one begins with 1 s again.
  assert.equal(refuse(hold, 7, NOW + 2_000), 1_000);
});

test("those who waited are spread over a tenth of the wait, a second at most", () => {
  const hold = new ProviderHold();
  assert.equal(hold.spreadLeftMs(NOW), 0);
  refuse(hold, 1, NOW, NOW + 4_000);
  assert.equal(hold.spreadLeftMs(NOW + 3_999), 0);
  assert.equal(hold.spreadLeftMs(NOW + 4_000), 400);
  assert.equal(hold.spreadLeftMs(NOW + 4_399), 1);
  assert.equal(hold.spreadLeftMs(NOW + 4_400), 0);
  refuse(hold, 2, NOW + 10_000, NOW + 70_000);
  assert.equal(hold.spreadLeftMs(NOW + 70_000), 1_000);
});

test("what an earlier process knew goes on", () => {
  const hold = new ProviderHold();
  const held = { status: 429, untilMs: NOW + 9_000, capped: false };
  hold.restore(held, NOW);
  assert.deepEqual(hold.at(NOW), held);
  hold.restore({ ...held, untilMs: NOW - 1 }, NOW);
  assert.equal(hold.at(NOW), null);
  hold.restore({ ...held, untilMs: NOW + 1e12 }, NOW);
  assert.equal(hold.at(NOW)?.untilMs, NOW + 3_601_000);
});
