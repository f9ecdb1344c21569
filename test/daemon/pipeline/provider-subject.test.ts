import assert from "node:assert/strict";
import { test } from "node:test";
import { ONE_CALL } from "../../../src/daemon/pipeline/provider-need.ts";
import { MAX_SCOPES, ProviderSubject, SubjectTable } from "../../../src/daemon/pipeline/provider-subject.ts";
import { WaitLine } from "../../../src/daemon/pipeline/wait-line.ts";
import { fakeClock } from "../../support/fake-clock.ts";

const NOW = 1_790_000_000_000;

function newLine(): WaitLine {
  const { setTimer } = fakeClock();
  return new WaitLine({ nowMs: () => NOW, setTimer, maxWaiting: 10, gapMs: () => 0 });
}

test("models and hosts of one credential are told apart, in bounded number and length", () => {
  const subject = new ProviderSubject("c1", 1, newLine);
  assert.notEqual(subject.lane("a"), subject.lane("b"));
  assert.equal(subject.lane("a"), subject.lane("a"));
  assert.equal(subject.lane("x".repeat(200)), subject.lane(null));
  for (let n = 0; n < 1_000; n++) subject.lane(`made-up-${n}`);
  assert.ok(subject.laneCount <= MAX_SCOPES + 1);
});

test("names that a client makes up push out each other, not a scope that the provider has told of", () => {
  const subject = new ProviderSubject("c1", 1, newLine);
  const { lane } = subject.lane("gpt");
  const trip = lane.send(ONE_CALL, 1, NOW);
  const window = { kind: "requests", limit: 5, remaining: 4, resetAtMs: null } as const;
  lane.answered(trip, 200, { windows: [window], retryAtMs: null, capped: false }, NOW);
  lane.over(trip, 0);
  for (let n = 0; n < 1_000; n++) subject.lane(`made-up-${n}`);
  assert.equal(subject.lane("gpt").lane, lane);
});

test("while all scopes are in use, one too many shares the lane of the unknown", () => {
  const subject = new ProviderSubject("c1", 1, newLine);
  for (let n = 0; n < MAX_SCOPES; n++) subject.lane(`m${n}`).lane.send(ONE_CALL, n, NOW);
  assert.equal(subject.lane("one too many"), subject.lane(null));
});

test("a full table forgets what is idle and was not used for longest, and never what is held or in use", () => {
  const table = new SubjectTable(10, newLine);
  for (let n = 0; n < 10; n++) table.get(`c${n}`, 1, NOW).usedAtMs = NOW - n;
  const held = table.find("c9", 1);
  held?.hold.refused(
    { number: 1, status: 429, limits: { windows: [], retryAtMs: NOW + 60_000, capped: false } },
    1,
    NOW,
    0,
  );
  table.find("c8", 1)?.lane(null).lane.send(ONE_CALL, 1, NOW);
  table.get("new", 1, NOW);
  assert.equal(table.find("c9", 1), held);
  assert.ok(table.find("c8", 1));
  assert.equal(table.find("c7", 1), undefined);
  assert.ok(table.find("new", 1));
});

test("where all are in use, one that there is no room for is not kept", () => {
  const table = new SubjectTable(2, newLine);
  for (const name of ["a", "b"]) table.get(name, 1, NOW).lane(null).lane.send(ONE_CALL, 1, NOW);
  assert.ok(table.get("c", 1, NOW));
  assert.equal(table.find("c", 1), undefined);
  assert.equal([...table.all()].length, 2);
});
