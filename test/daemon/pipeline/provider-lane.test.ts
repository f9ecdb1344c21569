import assert from "node:assert/strict";
import { test } from "node:test";
import { ProviderLane } from "../../../src/daemon/pipeline/provider-lane.ts";
import { type Need, ONE_CALL } from "../../../src/daemon/pipeline/provider-need.ts";
import type { ProviderLimits } from "../../../src/providers/limit-headers.ts";
import { LIMIT_KINDS } from "../../../src/providers/limits/limit-kind.ts";
import type { LimitWindow } from "../../../src/providers/limits/limit-window.ts";

const NOW = 1_790_000_000_000;
const LATE = NOW + 1_000_000;
const TELLS_NOTHING: ProviderLimits = { windows: [], retryAtMs: null, capped: false };

function requests(remaining: number | null, resetInMs: number | null, limit: number | null = 100): LimitWindow {
  return { kind: "requests", limit, remaining, resetAtMs: resetInMs === null ? null : NOW + resetInMs };
}

const told = (...windows: LimitWindow[]): ProviderLimits => ({ windows, retryAtMs: null, capped: false });

/** A lane that has seen one request, answered with these windows. */
function laneTold(...windows: LimitWindow[]): ProviderLane {
  const lane = new ProviderLane();
  const trip = lane.send(ONE_CALL, 1, NOW);
  lane.answered(trip, 200, told(...windows), NOW);
  lane.over(trip, 0);
  return lane;
}

/** Milliseconds until a request may go. */
function wait(lane: ProviderLane, nowMs = NOW, need: Need = ONE_CALL, deadlineMs = LATE): number | null {
  const at = lane.readyAt(need, nowMs, deadlineMs);
  return at === null ? null : at - nowMs;
}

test("of an unknown credential one request goes, the others wait 2 s for its answer, or as long as they can", () => {
  const lane = new ProviderLane();
  assert.equal(wait(lane), 0);
  const first = lane.send(ONE_CALL, 1, NOW);
  assert.equal(wait(lane), 2_000);
  assert.equal(wait(lane, NOW + 1_500), 500);
  assert.equal(wait(lane, NOW + 1_500, ONE_CALL, NOW + 1_600), 100);
  assert.equal(wait(lane, NOW + 9_000), 0);
  lane.answered(first, 200, told(requests(99, 60_000)), NOW + 300);
  assert.equal(wait(lane, NOW + 300), 0);
});

test("a provider that tells nothing is not waited for again; an error or a 429 says nothing about that", () => {
  for (const [status, waits] of [
    [200, 0],
    [304, 0],
    [404, 2_000],
    [500, 2_000],
    [429, 2_000],
  ] as const) {
    const lane = new ProviderLane();
    const trip = lane.send(ONE_CALL, 1, NOW);
    lane.answered(trip, status, TELLS_NOTHING, NOW);
    lane.send(ONE_CALL, 2, NOW);
    assert.equal(wait(lane), waits, String(status));
  }
});

test("while much is left requests go at once", () => {
  const lane = laneTold(requests(21, 60_000));
  assert.equal(wait(lane), 0);
});

test("from a fifth of the limit on, what is left is spread over the time until the reset", () => {
  const lane = laneTold(requests(4, 60_000));
  const gaps: number[] = [];
  let nowMs = NOW;
  for (let number = 2; number <= 5; number++) {
    const gap = wait(lane, nowMs) ?? 0;
    gaps.push(gap);
    nowMs += gap;
    lane.send(ONE_CALL, number, nowMs);
  }
  assert.deepEqual(gaps, [12_000, 12_000, 12_000, 12_000]);
  assert.equal(wait(lane, nowMs), 12_000);
});

test("with nothing left it is the reset that is waited for", () => {
  const lane = laneTold(requests(0, 7_000));
  assert.equal(wait(lane), 7_000);
  assert.equal(wait(lane, NOW + 7_000), 0);
});

test("a provider that says for ever that nothing is left is asked again after an hour, one request at a time", () => {
  const lane = laneTold(requests(0, 20 * 86_400_000));
  assert.equal(wait(lane), 3_600_000);
  assert.equal(wait(lane, NOW + 3_600_000), 0);
  lane.send(ONE_CALL, 2, NOW + 3_600_000);
  assert.equal(wait(lane, NOW + 3_600_000), null);
});

test("what is on its way counts as used until its answer tells", () => {
  const lane = laneTold(requests(2, null));
  const second = lane.send(ONE_CALL, 2, NOW);
  const third = lane.send(ONE_CALL, 3, NOW);
  assert.equal(wait(lane), null);
  lane.unsent(third);
  assert.equal(wait(lane), 0);
  lane.answered(second, 200, told(requests(0, 5_000)), NOW);
  assert.equal(wait(lane), 5_000);
});

test("a header counts against it what may have been handled after it, until nothing is on its way", () => {
  const lane = laneTold(requests(50, null));
  const trips = Array.from({ length: 5 }, (_, n) => lane.send(ONE_CALL, n + 2, NOW));
  const need: Need = { ...ONE_CALL, requests: 45 };
  // The provider has handled all five; that number four was the last but one nobody can know from this answer.
  lane.answered(trips[3] ?? assert.fail(), 200, told(requests(46, null)), NOW);
  assert.equal(wait(lane, NOW, { ...need, requests: 43 }), null);
  assert.equal(wait(lane, NOW, { ...need, requests: 42 }), 0);
  for (const at of [0, 1, 2, 4]) {
    lane.answered(trips[at] ?? assert.fail(), 200, told(requests(49 - at, null)), NOW);
  }
  assert.equal(wait(lane, NOW, need), 0);
  assert.equal(wait(lane, NOW, { ...need, requests: 46 }), 0, "nothing is on its way: one may try");
  lane.send(need, 9, NOW);
  assert.equal(wait(lane, NOW, ONE_CALL), null);
});

test("the reset is the latest that was told to requests on their way together, whichever answer came first", () => {
  const lane = laneTold(requests(50, 1_000));
  const early = lane.send(ONE_CALL, 2, NOW);
  const late = lane.send(ONE_CALL, 3, NOW);
  lane.answered(late, 200, told(requests(1, 5_000)), NOW);
  lane.answered(early, 200, told(requests(0, 9_000)), NOW);
  assert.equal(wait(lane, NOW, { ...ONE_CALL, requests: 90 }), 9_000);
  // A request that was sent afterwards knows better.
  lane.answered(lane.send(ONE_CALL, 4, NOW), 200, told(requests(0, 3_000)), NOW);
  assert.equal(wait(lane), 3_000);
});

test("at the reset everything is there but what is on its way", () => {
  const lane = laneTold(requests(50, 1_000, 51));
  lane.send({ ...ONE_CALL, requests: 20 }, 2, NOW);
  const rest = { ...ONE_CALL, requests: 31 };
  assert.equal(wait(lane, NOW + 1_000, rest), 0);
  assert.equal(wait(lane, NOW + 1_000, { ...rest, requests: 32 }), null);
});

test("a lost answer's request stays counted over the reset, until a later request is told a number", () => {
  const lane = laneTold(requests(50, 1_000, 51));
  const lost = lane.send({ ...ONE_CALL, requests: 20 }, 2, NOW);
  const beside = lane.send(ONE_CALL, 3, NOW);
  lane.over(lost, null);
  // This may have been handled before the one that was lost.
  lane.answered(beside, 200, told(requests(49, 1_000, 51)), NOW);
  const later = lane.send(ONE_CALL, 4, NOW + 1_000);
  const rest = { ...ONE_CALL, requests: 31 };
  assert.equal(wait(lane, NOW + 1_000, rest), null);
  assert.equal(wait(lane, NOW + 1_000, { ...rest, requests: 30 }), 0);
  lane.answered(later, 200, told(requests(51, 1_000, 51)), NOW + 1_000);
  assert.equal(wait(lane, NOW + 1_000, { ...rest, requests: 51 }), 0);
});

test("an answer that was lost leaves its request counted", () => {
  const lane = laneTold(requests(1, 60_000, 2));
  const lost = lane.send(ONE_CALL, 2, NOW);
  lane.over(lost, null);
  lane.over(lost, null);
  assert.equal(wait(lane), 60_000);
  assert.ok(lane.idle);
});

test("the answer to an earlier request does not undo what a later one told", () => {
  const lane = laneTold(requests(50, 60_000));
  const early = lane.send(ONE_CALL, 2, NOW);
  const late = lane.send(ONE_CALL, 3, NOW);
  lane.answered(late, 200, told(requests(0, 60_000)), NOW);
  lane.answered(early, 200, told(requests(48, 60_000)), NOW);
  assert.equal(lane.views(NOW)[0]?.remaining, 0);
});

test("tokens: input counts when it is sent, output until it is known how much it was", () => {
  const tokens = (remaining: number): LimitWindow => ({
    kind: "tokens",
    limit: 10_000,
    remaining,
    resetAtMs: NOW + 60_000,
  });
  const lane = laneTold(tokens(10_000));
  const need: Need = { requests: 1, credits: 1, input: 1_000, output: 4_000 };
  const trip = lane.send(need, 2, NOW);
  lane.answered(trip, 200, told(tokens(9_000)), NOW);
  // 9000 told, 4000 may still be written.
  assert.equal(wait(lane, NOW, { ...need, input: 3_000, output: 0 }), 0);
  assert.equal(wait(lane, NOW, { ...need, input: 5_001, output: 0 }), 60_000);
  lane.over(trip, 200);
  assert.equal(wait(lane, NOW, { ...need, input: 6_000, output: 0 }), 0);
  assert.equal(wait(lane, NOW, { ...need, input: 8_801, output: 0 }), 60_000);
});

test("a call that is larger than the whole limit needs all of it and is not kept for ever", () => {
  const lane = laneTold({ kind: "tokens", limit: 1_000, remaining: 1_000, resetAtMs: NOW + 60_000 });
  const huge: Need = { ...ONE_CALL, input: 50_000 };
  assert.equal(wait(lane, NOW + 60_000, huge), 0);
});

test("of several limits the one that takes longest decides; what a call does not use does not matter", () => {
  const lane = laneTold(
    requests(0, 5_000),
    { kind: "input_tokens", limit: 10, remaining: 0, resetAtMs: NOW + 9_000 },
    { kind: "credits_per_minute", limit: 8, remaining: 8, resetAtMs: null },
  );
  assert.equal(wait(lane, NOW, { ...ONE_CALL, input: 1 }), 9_000);
  assert.equal(wait(lane, NOW, ONE_CALL), 5_000);
});

test("a limit over a period without a told reset is full again a period after it was last told of", () => {
  const lane = laneTold({ kind: "credits_per_minute", limit: 8, remaining: 0, resetAtMs: null });
  assert.deepEqual(lane.views(NOW), [
    { kind: "credits_per_minute", limit: 8, remaining: 0, resetAtMs: null, seenAtMs: NOW },
  ]);
  assert.equal(wait(lane), 60_000);
  assert.equal(wait(lane, NOW + 60_000), 0);
});

test("the view shows what was told, and the whole limit once its reset is past", () => {
  const lane = laneTold(requests(3, 7_000), { kind: "tokens", limit: null, remaining: 5, resetAtMs: NOW + 7_000 });
  assert.deepEqual(lane.views(NOW + 6_999), [
    { ...requests(3, 7_000), seenAtMs: NOW },
    { kind: "tokens", limit: null, remaining: 5, resetAtMs: NOW + 7_000, seenAtMs: NOW },
  ]);
  assert.deepEqual(lane.views(NOW + 7_000), [
    { kind: "requests", limit: 100, remaining: 100, resetAtMs: null, seenAtMs: NOW },
  ]);
});

test("kinds are bounded, whatever the answers of one credential add up to", () => {
  const lane = laneTold(...LIMIT_KINDS.map((kind) => ({ kind, limit: 5, remaining: 5, resetAtMs: null })));
  assert.equal(lane.views(NOW).length, 16);
});

test("what an earlier process knew goes on, and nobody has to learn it again", () => {
  const lane = new ProviderLane();
  lane.restore({ ...requests(0, 7_000), seenAtMs: NOW - 60_000 });
  assert.equal(wait(lane), 7_000);
  lane.send(ONE_CALL, 1, NOW + 7_000);
  assert.equal(wait(lane, NOW + 7_000), 0);
});
