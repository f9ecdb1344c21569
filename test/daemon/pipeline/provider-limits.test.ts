import assert from "node:assert/strict";
import { test } from "node:test";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import {
  createProviderLimits,
  type LimitedRequest,
  type LiveLimits,
  type Pass,
  type ProviderLimitOptions,
} from "../../../src/daemon/pipeline/provider-limits.ts";
import { ONE_CALL } from "../../../src/daemon/pipeline/provider-need.ts";
import type { ProviderLimits } from "../../../src/providers/limit-headers.ts";
import type { LimitWindow } from "../../../src/providers/limits/limit-window.ts";
import { type FakeClock, fakeClock, turn } from "../../support/fake-clock.ts";

const NOTHING: ProviderLimits = { windows: [], retryAtMs: null, capped: false };
const never = () => new AbortController().signal;

interface Waited {
  pass: Pass | null;
  error: unknown;
}

/** A function, because the compiler cannot know that a promise has filled `waited` in the meantime. */
function waitedMs({ pass }: Waited): number | undefined {
  return pass?.waitedMs;
}

class Scene {
  readonly clock: FakeClock = fakeClock();
  readonly start = this.now();
  readonly limits: LiveLimits;

  constructor(options: Partial<ProviderLimitOptions> = {}) {
    this.limits = createProviderLimits({
      nowMs: () => this.now(),
      setTimer: this.clock.setTimer,
      random: () => 0,
      countedTogether: () => null,
      ...options,
    });
  }

  now(): number {
    return this.clock.nowUs() / 1000;
  }

  request(over: Partial<LimitedRequest> = {}): LimitedRequest {
    const credential = { id: "c1", name: "openai-main" };
    const base = { credential, version: 1, client: "app", scope: null, pace: false, need: ONE_CALL, maxWaitMs: 60_000 };
    return { ...base, ...over };
  }

  /** One that goes at once. */
  go(over: Partial<LimitedRequest> = {}): Pass {
    const entered = this.limits.enter(this.request(over), never);
    return entered instanceof Promise ? assert.fail("had to wait") : entered;
  }

  /** One that has to wait; what became of it is in the result. */
  wait(over: Partial<LimitedRequest> = {}, gone = never): Waited {
    const entered = this.limits.enter(this.request(over), gone);
    assert.ok(entered instanceof Promise, "did not have to wait");
    const seen: Waited = { pass: null, error: null };
    entered.then(
      (pass) => {
        seen.pass = pass;
      },
      (error: unknown) => {
        seen.error = error;
      },
    );
    return seen;
  }

  refusal(over: Partial<LimitedRequest> = {}): ProxyError {
    try {
      void this.limits.enter(this.request(over), never);
    } catch (error) {
      assert.ok(error instanceof ProxyError, String(error));
      return error;
    }
    return assert.fail("was not refused");
  }

  retryIn(ms: number, capped = false): ProviderLimits {
    return { windows: [], retryAtMs: this.now() + ms, capped };
  }

  told(remaining: number, resetInMs: number, limit = 10): ProviderLimits {
    const window: LimitWindow = { kind: "requests", limit, remaining, resetAtMs: this.now() + resetInMs };
    return { windows: [window], retryAtMs: null, capped: false };
  }

  /** One request, answered and over. */
  done(status: number, limits: ProviderLimits, over: Partial<LimitedRequest> = {}): void {
    const pass = this.go(over);
    pass.answered(status, limits);
    pass.over(null);
  }
}

function fieldsOf(error: unknown): readonly string[] {
  assert.ok(error instanceof ProxyError, String(error));
  return [error.code, error.reason ?? "", ...error.fields];
}

test("nothing stands against a first request: no promise, no timer, nobody is asked whether they have gone", () => {
  const scene = new Scene();
  for (const pace of [false, true]) {
    const entered = scene.limits.enter(scene.request({ pace }), () => assert.fail("asked for the client"));
    assert.ok(!(entered instanceof Promise));
    assert.equal(entered.waitedMs, 0);
    entered.over(null);
  }
  assert.equal(scene.clock.pending(), 0);
  assert.equal(scene.limits.heldUntil("c1", 1), null);
});

test("after a 429 the credential is held for all clients, exactly as long as the provider said", async () => {
  const scene = new Scene();
  scene.done(429, scene.retryIn(7_500));
  assert.equal(scene.limits.heldUntil("c1", 1), scene.start + 7_500);
  const waits = ["app", "batch"].map((client) => scene.wait({ client }));
  // Another version, and another credential, may be used.
  scene.go({ version: 2 }).over(null);
  scene.go({ credential: { id: "c2", name: "spare" } }).over(null);
  await scene.clock.advance(7_499);
  assert.ok(waits.every(({ pass }) => pass === null));
  await scene.clock.advance(1);
  assert.deepEqual(
    waits.map(({ pass }) => pass?.waitedMs),
    [7_500, 7_500],
  );
  assert.equal(scene.clock.pending(), 0);
});

test("who cannot wait that long gets a 429 at once, with the provider's time", () => {
  const scene = new Scene();
  scene.done(429, scene.retryIn(7_500));
  const error = scene.refusal({ maxWaitMs: 7_499 });
  assert.equal(error.status, 429);
  assert.deepEqual(fieldsOf(error), ["limit_exceeded", "provider_limit", "Retry-After", "8"]);
  assert.equal(
    error.publicMessage,
    "the provider wants no requests with credential openai-main for now; try again in 8 s",
  );
  assert.equal(scene.limits.waiting(), 0);
  assert.equal(scene.clock.pending(), 0);
});

test("a longer hold sends those away who cannot wait for it, at once", async () => {
  const scene = new Scene();
  const early = scene.go();
  scene.done(429, scene.retryIn(1_000));
  const long = scene.wait({ maxWaitMs: 60_000 });
  const short = scene.wait({ maxWaitMs: 5_000 });
  early.answered(429, scene.retryIn(30_000));
  await turn();
  assert.deepEqual(fieldsOf(short.error), ["limit_exceeded", "provider_limit", "Retry-After", "30"]);
  await scene.clock.advance(30_000);
  assert.equal(waitedMs(long), 30_000);
});

test("those who waited for a hold come back one after the other, spread over a second", async () => {
  const scene = new Scene({ random: () => 0.5 });
  scene.done(429, scene.retryIn(10_000));
  assert.equal(scene.limits.heldUntil("c1", 1), scene.start + 10_500);
  const waits = Array.from({ length: 200 }, () => scene.wait());
  const went = () => waits.filter(({ pass }) => pass !== null).length;
  await scene.clock.advance(10_500);
  assert.equal(went(), 1);
  await scene.clock.advance(500);
  assert.ok(went() > 80 && went() < 120, String(went()));
  await scene.clock.advance(600);
  assert.equal(went(), 200);
});

test("a success after the hold resets the back-off", () => {
  const scene = new Scene();
  scene.done(429, NOTHING);
  assert.equal(scene.limits.heldUntil("c1", 1), scene.now() + 1_000);
  scene.clock.skip(1_000);
  scene.done(429, NOTHING);
  assert.equal(scene.limits.heldUntil("c1", 1), scene.now() + 2_000);
  scene.clock.skip(2_000);
  scene.done(500, NOTHING);
  scene.done(429, NOTHING);
  assert.equal(scene.limits.heldUntil("c1", 1), scene.now() + 4_000);
  scene.clock.skip(4_000);
  scene.done(200, NOTHING);
  scene.done(429, NOTHING);
  assert.equal(scene.limits.heldUntil("c1", 1), scene.now() + 1_000);
});

test("a refusal that only the body shows counts when it is told", () => {
  const scene = new Scene();
  const pass = scene.go();
  pass.answered(200, NOTHING);
  pass.answered(429, scene.retryIn(3_000));
  pass.over(null);
  assert.equal(scene.limits.heldUntil("c1", 1), scene.start + 3_000);
});

test("with pace, several clients share what is left; without it nobody is slowed down", async () => {
  const scene = new Scene();
  scene.done(200, scene.told(2, 60_000));
  scene.go({ pace: false }).unsent();
  scene.done(200, scene.told(2, 60_000));
  const waits = ["a", "b", "a"].map((client) => scene.wait({ client, pace: true }));
  await scene.clock.advance(20_000);
  assert.deepEqual(
    waits.map(({ pass }) => pass !== null),
    [true, false, false],
  );
  await scene.clock.advance(20_000);
  assert.ok(waits[1]?.pass);
  assert.equal(waits[2]?.pass, null);
  await scene.clock.advance(19_999);
  assert.equal(waits[2]?.pass, null);
  await scene.clock.advance(1);
  assert.equal(waitedMs(waits[2] ?? assert.fail()), 60_000);
});

test("with pace, who cannot wait for the reset is told when to come back", () => {
  const scene = new Scene();
  scene.done(200, scene.told(0, 45_000));
  const error = scene.refusal({ pace: true, maxWaitMs: 2_000 });
  assert.deepEqual(fieldsOf(error), ["limit_exceeded", "provider_limit", "Retry-After", "45"]);
  assert.match(error.publicMessage, /the provider's own limits leave credential openai-main no room/);
});

test("the limits of one model do not slow down another", () => {
  const scene = new Scene();
  scene.done(200, scene.told(0, 45_000), { scope: "large" });
  scene.refusal({ pace: true, scope: "large", maxWaitMs: 0 });
  scene.go({ pace: true, scope: "small" }).over(null);
});

test("a client that goes while it waits is gone, and whoever is behind it moves up", async () => {
  const scene = new Scene();
  scene.done(200, scene.told(1, 60_000));
  const gone = new AbortController();
  const first = scene.wait({ pace: true }, () => gone.signal);
  const second = scene.wait({ pace: true });
  gone.abort();
  await turn();
  assert.ok(first.error instanceof ProxyError && first.error.code === "client_closed");
  assert.equal(scene.limits.waiting(), 1);
  await scene.clock.advance(30_000);
  assert.ok(second.pass);
  assert.equal(scene.clock.pending(), 0);
  scene.done(429, scene.retryIn(1_000));
  assert.throws(() => scene.limits.enter(scene.request(), () => gone.signal), { code: "client_closed" });
});

test("a crowd of one client is refused when the line is full, another client is not", async () => {
  const scene = new Scene({ maxWaiting: 3 });
  scene.done(429, scene.retryIn(5_000));
  const crowd = Array.from({ length: 4 }, () => scene.wait({ client: "flood" }));
  await turn();
  assert.deepEqual(fieldsOf(crowd[3]?.error), ["limit_exceeded", "queue_full", "Retry-After", "5"]);
  const quiet = scene.wait({ client: "quiet" });
  await scene.clock.advance(5_000);
  assert.ok(quiet.pass);
  assert.equal(scene.limits.waiting(), 0);
});

test("where a provider counts by address, all its credentials are held together", () => {
  const scene = new Scene({ countedTogether: (id) => (id.startsWith("b") ? "binance" : null) });
  scene.done(418, scene.retryIn(9_000, true), { credential: { id: "b1", name: "one" }, version: 3 });
  assert.equal(scene.limits.heldUntil("b2", 1), scene.start + 9_000);
  assert.equal(scene.limits.heldUntil("c1", 1), null);
  assert.deepEqual(scene.limits.view("b2", 1), {
    credential: "provider:binance",
    version: 0,
    held: { status: 418, untilMs: scene.start + 9_000, capped: true },
    windows: [],
  });
});

test("an answer to one of sidekey's own requests counts as well", () => {
  const scene = new Scene();
  scene.limits.observe({ credential: "c1", version: 1, status: 429, limits: scene.retryIn(4_000) });
  assert.equal(scene.limits.heldUntil("c1", 1), scene.start + 4_000);
  scene.limits.observe({ credential: "c2", version: 1, status: 200, limits: scene.told(7, 1_000) });
  assert.equal(scene.limits.view("c2", 1)?.windows[0]?.remaining, 7);
});

test("what has changed is taken once in a while, a bounded number at a time", () => {
  const scene = new Scene();
  for (const id of ["c1", "c2", "c3"]) scene.done(200, scene.told(5, 60_000), { credential: { id, name: id } });
  scene.done(200, NOTHING, { credential: { id: "silent", name: "silent" } });
  const take = (most = 10) => scene.limits.takeChanged(most, 5_000).map(({ credential }) => credential);
  assert.deepEqual(take(2), ["c1", "c2"]);
  assert.deepEqual(take(), ["c3"]);
  assert.deepEqual(take(), []);
  scene.done(200, scene.told(4, 60_000));
  assert.deepEqual(take(), []);
  scene.clock.skip(5_000);
  assert.deepEqual(take(), ["c1"]);
});

test("a restart goes on with holds and with what was left", () => {
  const before = new Scene();
  before.done(200, before.told(0, 45_000), { scope: "large" });
  before.done(429, before.retryIn(20_000));
  const after = new Scene();
  after.limits.restore([...before.limits.views()]);
  assert.equal(after.limits.heldUntil("c1", 1), before.start + 20_000);
  assert.deepEqual(after.limits.view("c1", 1), before.limits.view("c1", 1));
  after.clock.skip(20_000);
  assert.deepEqual(fieldsOf(after.refusal({ pace: true, scope: "large", maxWaitMs: 0 })).at(-1), "25");
});

test("thousands of credentials, scopes and answers leave a bounded table behind", () => {
  const scene = new Scene({ maxSubjects: 50 });
  for (let n = 0; n < 5_000; n++) {
    const credential = { id: `c${n % 700}`, name: "x" };
    scene.done(200, scene.told(5, 60_000), { credential, scope: `m${n}` });
  }
  assert.ok([...scene.limits.views()].length <= 50);
  assert.ok(scene.limits.takeChanged(10_000, 0).length <= 50);
  assert.equal(scene.clock.pending(), 0);
});
