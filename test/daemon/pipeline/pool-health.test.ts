import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Attempt, PoolHealth, type Readiness, type VersionUse } from "../../../src/daemon/pipeline/pool-health.ts";
import type { TrafficMeaning } from "../../../src/providers/classify-traffic.ts";

const NOW = 1_700_000_000_000;
const MINUTE = 60_000;
const USE: VersionUse = { credentialId: "id", version: 1, authority: "api.p.test:443", client: "app" };

function scene() {
  const refused = new Set<string>();
  const held = new Map<string, number>();
  const verified = new Map<string, number>();
  const asked: string[] = [];
  let nowMs = NOW;
  const health = new PoolHealth({
    usable: (id, version) => !refused.has(`${id} ${version}`),
    verifiedAt: (id, version) => verified.get(`${id} ${version}`) ?? null,
    heldUntil: (id, version) => held.get(`${id} ${version}`) ?? null,
    onRefused: (id, version, meaning) => asked.push(`${id} ${version} ${meaning}`),
    now: () => nowMs,
    random: () => 0,
  });
  const use = (changes: Partial<VersionUse> = {}): VersionUse => ({ ...USE, ...changes });
  return {
    refused,
    held,
    verified,
    asked,
    health,
    wait: (ms: number) => {
      nowMs += ms;
    },
    ready: (changes: Partial<VersionUse> = {}): Readiness => health.ready(use(changes), nowMs),
    begin: (changes: Partial<VersionUse> = {}): Attempt => health.begin(use(changes)),
    answered: (meaning: TrafficMeaning, retryAtMs: number | null = null, changes: Partial<VersionUse> = {}) =>
      health.begin(use(changes)).answered(meaning, retryAtMs),
  };
}

test("what nothing is known of is ready, and what the monitor knows to be refused is out", () => {
  const { ready, refused } = scene();
  assert.equal(ready(), "ready");
  refused.add("id 1");
  assert.equal(ready(), "out");
  assert.equal(ready({ version: 2 }), "ready", "health is per version");
});

test("a provider's limit holds a version exactly as long as was told, at every place", () => {
  const { ready, held, wait } = scene();
  held.set("id 1", NOW + 1_234);
  for (const authority of ["api.p.test:443", "eu.p.test:443"]) {
    assert.deepEqual(ready({ authority }), { why: "provider_limit", untilMs: NOW + 1_234 });
  }
  assert.equal(ready({ version: 2 }), "ready");
  wait(1_233);
  assert.notEqual(ready(), "ready");
  wait(1);
  assert.equal(ready(), "ready");
});

test("a refused key is suspect at once, asked about, and cleared by a check that came after", () => {
  const { ready, answered, asked, verified, wait } = scene();
  verified.set("id 1", NOW - 1);
  answered("invalid");
  assert.equal(ready(), "suspect");
  assert.equal(ready({ version: 2 }), "ready");
  assert.deepEqual(asked, ["id 1 invalid"]);
  wait(500);
  verified.set("id 1", NOW);
  assert.equal(ready(), "ready");
});

test("where nobody can be asked a request finds out after a while, one at a time", () => {
  const { ready, begin, answered, wait } = scene();
  answered("invalid");
  wait(30_000);
  assert.equal(ready(), "probe");
  const probe = begin();
  assert.equal(ready(), "suspect");
  probe.answered("invalid", null);
  wait(59_999);
  assert.equal(ready(), "suspect");
  wait(1);
  assert.equal(ready(), "probe");
  const gone = begin();
  gone.abandoned();
  assert.equal(ready(), "probe", "the client went away, which tells nothing");
  begin().answered("request", null);
  assert.equal(ready(), "probe", "nor does a bad request");
  begin().answered("forbidden", null);
  assert.equal(ready(), "ready", "a key that may not do this is known");
});

test("for want of another a suspect version is used, and a success ends the suspicion", () => {
  const { ready, begin, answered, wait } = scene();
  const before = begin();
  answered("invalid");
  wait(10);
  before.answered("ok", null);
  assert.equal(ready(), "suspect", "what was sent before proves nothing");
  begin().answered("invalid", null);
  begin().answered("ok", null);
  assert.equal(ready(), "ready");
});

test("a used-up quota takes a version out until it was told to be back, else for 5 minutes doubling to an hour", () => {
  const told = scene();
  told.answered("quota", NOW + 90_000);
  assert.deepEqual(told.ready(), { why: "quota", untilMs: NOW + 90_000 });
  assert.deepEqual(told.asked, ["id 1 quota"]);
  assert.deepEqual(told.ready({ authority: "eu.p.test:443" }), { why: "quota", untilMs: NOW + 90_000 });
  told.wait(90_000);
  assert.equal(told.ready(), "probe");
  told.answered("ok");
  assert.equal(told.ready(), "ready");

  const { ready, answered, wait } = scene();
  answered("quota");
  for (const minutes of [5, 10, 20, 40, 60, 60]) {
    wait(minutes * MINUTE - 1);
    assert.notEqual(ready(), "probe", `${minutes} min`);
    wait(1);
    assert.equal(ready(), "probe", `${minutes} min`);
    answered("quota");
  }
});

test("a burst of answers that say the same makes a hold no longer", () => {
  const { ready, begin } = scene();
  const burst = Array.from({ length: 20 }, () => begin());
  for (const attempt of burst) attempt.answered("quota", null);
  assert.deepEqual(ready(), { why: "quota", untilMs: NOW + 5 * MINUTE });
});

test("5xx and connections that fail open the breaker of this place and version alone; other answers do not", () => {
  const { ready, answered, begin, wait } = scene();
  for (const meaning of ["limited", "request", "forbidden", "plan", "unknown", "session", "retired", "ok"] as const) {
    for (let n = 0; n < 20; n++) answered(meaning);
  }
  assert.equal(ready(), "ready");
  wait(11_000);
  for (let n = 0; n < 3; n++) answered("unavailable");
  for (let n = 0; n < 2; n++) begin().failed();
  assert.deepEqual(ready(), { why: "failing", untilMs: NOW + 12_000 });
  assert.equal(ready({ version: 2 }), "ready");
  assert.equal(ready({ authority: "eu.p.test:443" }), "ready");
  wait(1_000);
  assert.equal(ready(), "probe");
  const probe = begin();
  assert.deepEqual(ready(), { why: "failing", untilMs: NOW + 13_000 });
  probe.answered("limited", null);
  assert.equal(ready(), "ready", "it answers again");
});

test("several holds all have to end, and a provider's limit is the reason only when there is no graver one", () => {
  const { ready, answered, held } = scene();
  held.set("id 1", NOW + 10 * MINUTE);
  answered("quota", NOW + MINUTE);
  assert.deepEqual(ready(), { why: "quota", untilMs: NOW + 10 * MINUTE });
  for (let n = 0; n < 5; n++) answered("unavailable");
  assert.deepEqual(ready(), { why: "failing", untilMs: NOW + 10 * MINUTE });
});

test("a place without a credential has a breaker too", () => {
  const { ready, begin } = scene();
  const keyless = { credentialId: "", version: 0 };
  for (let n = 0; n < 5; n++) begin(keyless).failed();
  assert.deepEqual(ready(keyless), { why: "failing", untilMs: NOW + 1_000 });
});

test("what is not simply ready is listed for the status", () => {
  const { health, answered } = scene();
  assert.deepEqual(health.state(), { breakers: [], versions: [] });
  answered("quota", NOW + MINUTE);
  answered("invalid", null, { version: 2 });
  for (let n = 0; n < 5; n++) answered("unavailable");
  assert.deepEqual(health.state(), {
    breakers: [{ authority: "api.p.test:443", credentialId: "id", version: 1, untilMs: NOW + 1_000, halfOpen: false }],
    versions: [
      { credentialId: "id", version: 1, state: "quota", untilMs: NOW + MINUTE },
      { credentialId: "id", version: 2, state: "suspect", untilMs: NOW + 30_000 },
    ],
  });
});

const MEANINGS = ["ok", "invalid", "quota", "limited", "unavailable", "request", "unknown"] as const;
const STEP = fc.record({
  waitMs: fc.integer({ min: 0, max: 400_000 }),
  version: fc.constantFrom(1, 2),
  do: fc.constantFrom("begin", "begin", "answered", "failed", "abandoned"),
  meaning: fc.constantFrom(...MEANINGS),
  told: fc.option(fc.integer({ min: -1_000, max: 10_000_000 })),
  which: fc.nat(9),
});

test("one probe of a version at a time, whatever comes back in whatever order; and nothing is out for ever", () => {
  fc.assert(
    fc.property(fc.array(STEP, { maxLength: 120 }), (steps) => {
      const { ready, begin, wait } = scene();
      let out: { attempt: Attempt; version: number; probe: boolean }[] = [];
      let nowMs = NOW;
      for (const step of steps) {
        wait(step.waitMs);
        nowMs += step.waitMs;
        const { version } = step;
        const before = ready({ version });
        if (step.do === "begin") {
          if (before === "ready" || before === "probe" || before === "suspect")
            out.push({ attempt: begin({ version }), version, probe: before === "probe" });
        } else {
          const [ended] = out.splice(step.which % Math.max(1, out.length), 1);
          if (step.do === "answered")
            ended?.attempt.answered(step.meaning, step.told === null ? null : nowMs + step.told);
          else ended?.attempt[step.do]();
        }
        // Once it is well the probes of before are requests like others.
        for (const v of [1, 2])
          if (ready({ version: v }) === "ready")
            out = out.map((one) => (one.version === v ? { ...one, probe: false } : one));
        for (const v of [1, 2]) assert.ok(out.filter((one) => one.version === v && one.probe).length <= 1);
      }
      for (const { attempt } of out) attempt.abandoned();
      wait(75 * MINUTE);
      for (const version of [1, 2]) assert.ok(["ready", "probe"].includes(ready({ version }) as string));
    }),
    { numRuns: 300 },
  );
});
