import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { keepProviderLimits } from "../../../src/daemon/monitor/limit-keeper.ts";
import { createProviderLimits, type LiveLimits } from "../../../src/daemon/pipeline/provider-limits.ts";
import { type MonitorStore, openMonitorStore } from "../../../src/store/monitor.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { tempDir } from "../../support/temp-dir.ts";

interface Scene {
  readonly store: MonitorStore;
  readonly limits: LiveLimits;
  readonly nowMs: () => number;
  readonly skip: (ms: number) => void;
}

function scene(t: TestContext, dir = tempDir(t)): Scene {
  // In the middle of a millisecond, as the daemon's clock is.
  const clock = fakeClock();
  clock.skip(0.25);
  const nowMs = () => clock.nowUs() / 1000;
  const store = openMonitorStore(dir);
  t.after(() => store.close());
  const { setTimer } = clock;
  const limits = createProviderLimits({ nowMs, setTimer, random: () => 0.3, countedTogether: () => null });
  return { store, limits, nowMs, skip: (ms) => clock.skip(ms) };
}

function observe({ limits, nowMs }: Scene, remaining: number, status = 200, credential = "c1"): void {
  const resetAtMs = nowMs() + 60_000;
  limits.observe({
    credential,
    version: 1,
    status,
    limits: {
      windows: [{ kind: "requests", limit: 10, remaining, resetAtMs }],
      retryAtMs: status === 429 ? nowMs() + 20_000 : null,
      capped: false,
    },
  });
}

const fail = (error: unknown) => assert.fail(String(error));

test("what has changed is written by a timer, each credential at most once in 5 s", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const play = scene(t);
  const keeper = keepProviderLimits({ ...play, onFailure: fail });
  const remaining = () => play.store.providerLimits("c1")[0]?.windows[0]?.remaining ?? null;
  const second = () => {
    play.skip(1_000);
    t.mock.timers.tick(1_000);
  };
  observe(play, 9);
  assert.equal(remaining(), null, "never beside a request");
  second();
  assert.equal(remaining(), 9);
  observe(play, 8);
  for (let n = 0; n < 4; n++) second();
  assert.equal(remaining(), 9);
  second();
  assert.equal(remaining(), 8);
  observe(play, 7);
  keeper.close();
  assert.equal(remaining(), 7);
  observe(play, 6);
  for (let n = 0; n < 9; n++) second();
  assert.equal(remaining(), 7, "closed");
});

test("a restart goes on with what was held and left", (t) => {
  const dir = tempDir(t);
  const before = scene(t, dir);
  const keeper = keepProviderLimits({ ...before, onFailure: fail });
  observe(before, 0, 429);
  const until = before.limits.heldUntil("c1", 1) ?? 0;
  assert.ok(!Number.isInteger(until));
  keeper.close();
  const after = scene(t, dir);
  keepProviderLimits({ ...after, onFailure: fail }).close();
  assert.equal(after.limits.heldUntil("c1", 1), Math.ceil(until));
  assert.equal(after.limits.view("c1", 1)?.windows[0]?.remaining, 0);
});

test("a bounded number of credentials is written at once, and at the end all of them", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const play = scene(t);
  const keeper = keepProviderLimits({ ...play, onFailure: fail });
  for (let n = 0; n < 250; n++) observe(play, 5, 200, `c${n}`);
  t.mock.timers.tick(1_000);
  assert.equal(play.store.providerLimits().length, 100);
  keeper.close();
  assert.equal(play.store.providerLimits().length, 250);
});

test("a database that cannot be used is told and costs nothing but the memory of a restart", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const play = scene(t);
  const failures: unknown[] = [];
  const broken = {
    providerLimits: () => {
      throw new Error("cannot be read");
    },
    putProviderLimits: () => {
      throw new Error("disk full");
    },
  };
  const keeper = keepProviderLimits({ ...play, store: broken, onFailure: (error) => failures.push(error) });
  observe(play, 0, 429);
  t.mock.timers.tick(1_000);
  keeper.close();
  assert.deepEqual(failures.map(String), ["Error: cannot be read", "Error: disk full"]);
  assert.notEqual(play.limits.heldUntil("c1", 1), null);
});

test("kinds that this release does not know are left out", (t) => {
  const play = scene(t);
  const window = { scope: null, kind: "moonbeams", limit: 1, remaining: 0, resetAtMs: null, seenAtMs: 1 };
  const windows = [window, { ...window, kind: "requests_per_day" }];
  play.store.putProviderLimits([{ credential: "c1", version: 1, held: null, windows }]);
  keepProviderLimits({ ...play, onFailure: fail }).close();
  assert.deepEqual(
    play.limits.view("c1", 1)?.windows.map(({ kind }) => kind),
    ["requests_per_day"],
  );
});
