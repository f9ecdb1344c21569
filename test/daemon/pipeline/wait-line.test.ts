import assert from "node:assert/strict";
import { test } from "node:test";
import { type Waiter, WaitLine } from "../../../src/daemon/pipeline/wait-line.ts";
import { type FakeClock, fakeClock } from "../../support/fake-clock.ts";

/** A line whose requests go at `readyAt`, which the test may change, and what became of each. */
class Scene {
  readonly clock: FakeClock = fakeClock();
  readonly start = this.now();
  readonly line: WaitLine;
  readonly events: string[] = [];
  readyAt: (name: string) => number | null = () => null;

  constructor(options: { maxWaiting?: number; gapMs?: (waiting: number) => number } = {}) {
    const { maxWaiting = 100, gapMs = () => 0 } = options;
    this.line = new WaitLine({ nowMs: () => this.now(), setTimer: this.clock.setTimer, maxWaiting, gapMs });
  }

  now(): number {
    return this.clock.nowUs() / 1000;
  }

  at(ms: number): number {
    return this.start + ms;
  }

  join(client: string, name: string, maxWaitMs = 10_000): Waiter {
    const note = (what: string) => this.events.push(`${this.now() - this.start} ${name} ${what}`);
    const waiter: Waiter = {
      client,
      deadlineMs: this.now() + maxWaitMs,
      readyAt: () => this.readyAt(name),
      grant: () => note("went"),
      refuse: (why, atMs) => note(`${why} ${atMs === null ? "?" : atMs - this.start}`),
    };
    this.line.join(waiter);
    return waiter;
  }

  /** Names in the order in which they went. */
  went(): string[] {
    return this.events.flatMap((event) => (event.endsWith("went") ? [event.split(" ")[1] ?? ""] : []));
  }
}

test("one client's requests go in order of arrival, when their time has come", async () => {
  const scene = new Scene();
  scene.readyAt = () => scene.at(100);
  for (const name of ["a1", "a2", "a3"]) scene.join("a", name);
  assert.equal(scene.line.size, 3);
  await scene.clock.advance(99);
  assert.deepEqual(scene.events, []);
  await scene.clock.advance(1);
  assert.deepEqual(scene.events, ["100 a1 went", "100 a2 went", "100 a3 went"]);
  assert.equal(scene.line.size, 0);
  assert.equal(scene.clock.pending(), 0);
});

test("clients take turns: whoever comes behind a crowd of another is next but one", async () => {
  const scene = new Scene({ maxWaiting: 1_000, gapMs: () => 10 });
  scene.readyAt = () => scene.at(100);
  for (let n = 0; n < 900; n++) scene.join("flood", `f${n}`, 60_000);
  for (const name of ["q1", "q2"]) scene.join("quiet", name, 60_000);
  scene.join("other", "o1", 60_000);
  await scene.clock.advance(100 + 60);
  assert.deepEqual(scene.went(), ["f0", "q1", "o1", "f1", "q2", "f2", "f3"]);
});

test("when the line is full, the newest of whoever has most in it has to go", () => {
  const scene = new Scene({ maxWaiting: 4 });
  for (const name of ["f1", "f2", "f3", "f4", "f5"]) scene.join("flood", name);
  assert.deepEqual(scene.events, ["0 f5 full ?"]);
  scene.join("quiet", "q1");
  scene.join("quiet", "q2");
  scene.join("quiet", "q3");
  assert.deepEqual(scene.events.slice(1), ["0 f4 full ?", "0 f3 full ?", "0 q3 full ?"]);
  assert.equal(scene.line.size, 4);
});

test("who would wait beyond its deadline is refused as soon as that is known", async () => {
  const scene = new Scene();
  scene.readyAt = () => null;
  scene.join("a", "short", 500);
  scene.join("b", "long", 5_000);
  scene.readyAt = () => scene.at(2_000);
  scene.line.sendAway();
  assert.deepEqual(scene.events, ["0 short late 2000"]);
  await scene.clock.advance(2_000);
  assert.deepEqual(scene.events.slice(1), ["2000 long went"]);
  assert.equal(scene.clock.pending(), 0);
});

test("the first in line does not keep the others waiting for a turn that comes too late for it", () => {
  const scene = new Scene();
  scene.join("a", "short", 500);
  scene.join("a", "next", 5_000);
  scene.readyAt = (name) => scene.at(name === "short" ? 2_000 : 0);
  scene.line.advance();
  assert.deepEqual(scene.events, ["0 short late 2000", "0 next went"]);
});

test("at its deadline a request is tried once more, and then refused with what is known", async () => {
  const scene = new Scene();
  scene.join("a", "a1", 500);
  scene.join("a", "a2", 500);
  await scene.clock.advance(499);
  scene.readyAt = (name) => (name === "a1" ? scene.at(0) : null);
  await scene.clock.advance(1);
  assert.deepEqual(scene.events, ["500 a1 went", "500 a2 late ?"]);
  assert.equal(scene.clock.pending(), 0);
});

test("who leaves makes way, and cannot leave twice", async () => {
  const scene = new Scene();
  scene.readyAt = (name) => (name === "first" ? null : scene.at(0));
  const first = scene.join("a", "first");
  scene.join("a", "second");
  assert.deepEqual(scene.events, []);
  assert.equal(scene.line.leave(first), true);
  assert.deepEqual(scene.events, ["0 second went"]);
  assert.equal(scene.line.leave(first), false);
  assert.equal(scene.clock.pending(), 0);
});

test("between two turns the gap is kept, also for those who come later", async () => {
  const scene = new Scene({ gapMs: () => 50 });
  scene.readyAt = () => scene.at(0);
  for (const name of ["a1", "a2"]) scene.join("a", name);
  await scene.clock.advance(20);
  scene.join("b", "b1");
  await scene.clock.advance(200);
  assert.deepEqual(scene.events, ["0 a1 went", "50 a2 went", "100 b1 went"]);
});
