import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  advance,
  MAX_TEST_ATTEMPTS,
  nextDueAt,
  type RotationEvent,
  type RotationStep,
  rampPercent,
  retryDelayMs,
} from "../../src/store/rotation-step.ts";
import type { AutomaticRotation, Rotation, RotationPhase } from "../../src/store/rotations.ts";
import type { Stage } from "../../src/store/versions.ts";

const T0 = 1_000_000;
const BEGUN: Rotation = {
  phase: "testing",
  from: 1,
  to: 2,
  steps: [5, 25, 50, 100],
  step: 0,
  stepMs: 600,
  graceMs: 9_000,
  startedAt: T0,
  since: T0,
  startedBy: "ana",
  attempts: 0,
  nextTryAt: null,
  problem: null,
  automatic: null,
};
const AUTOMATIC = { rotator: "openai", admin: null, token: "t", oldKey: "a", newKey: "b" } as AutomaticRotation;
const VALID: RotationEvent = { kind: "tested", version: 2, meaning: "valid", detail: "200" };
const TIME: RotationEvent = { kind: "time", users: 0, settleMs: 0 };

function said(step: RotationStep): string {
  const { rotation, versionChanges, note } = step;
  const changes = versionChanges.map(({ version, stage }) => `${version}:${stage}`).join(" ");
  return `${rotation.phase} ${rampPercent(rotation)} [${changes}] ${note?.action ?? "-"}`;
}

/** Applies events at their times, and says what each did. */
function told(start: Rotation, events: readonly (readonly [RotationEvent, number])[]): string[] {
  let rotation = start;
  return events.map(([event, atMs]) => {
    const step = advance(rotation, event, T0 + atMs);
    rotation = step.rotation;
    return said(step);
  });
}

describe("a rotation", () => {
  it("goes from test over its steps to the new version, and revokes the old one after the grace time", () => {
    assert.deepEqual(
      told(BEGUN, [
        [TIME, 10],
        [VALID, 10],
        [TIME, 609],
        [TIME, 610],
        [TIME, 1_210],
        [TIME, 1_809],
        [TIME, 1_810],
        [TIME, 10_809],
        [{ kind: "time", users: 3, settleMs: 0 }, 10_810],
        [{ kind: "time", users: 2, settleMs: 0 }, 10_811],
        [TIME, 10_812],
        [TIME, 99_999],
      ]),
      [
        "testing 0 [] -",
        "ramping 5 [] rotation.step",
        "ramping 5 [] -",
        "ramping 25 [] rotation.step",
        "ramping 50 [] rotation.step",
        "ramping 50 [] -",
        "grace 100 [1:previous 2:current] rotation.promote",
        "grace 100 [] -",
        "grace 100 [] rotation.wait",
        "grace 100 [] -",
        "done 100 [1:revoked] rotation.finish",
        "done 100 [] -",
      ],
    );
  });

  it("takes one step at a time after a long stop, so that each is watched", () => {
    assert.deepEqual(
      told(BEGUN, [
        [VALID, 0],
        [TIME, 1e9],
        [TIME, 1e9],
        [TIME, 1e9 + 600],
      ]),
      ["ramping 5 [] rotation.step", "ramping 25 [] rotation.step", "ramping 25 [] -", "ramping 50 [] rotation.step"],
    );
  });

  it("switches at once with the one step 100, and without an old version is done then", () => {
    assert.deepEqual(told({ ...BEGUN, steps: [100] }, [[VALID, 0]]), [
      "grace 100 [1:previous 2:current] rotation.promote",
    ]);
    assert.deepEqual(told({ ...BEGUN, from: null }, [[VALID, 0]]), ["done 100 [2:current] rotation.promote"]);
  });

  it("waits with the end of the grace time for exchanges that may still begin to use the old version", () => {
    const grace: Rotation = { ...BEGUN, phase: "grace", graceMs: 0 };
    const settle: RotationEvent = { kind: "time", users: 0, settleMs: 500 };
    assert.deepEqual(told(grace, [[settle, 499]]), ["grace 100 [] -"]);
    assert.deepEqual(told(grace, [[settle, 500]]), ["done 100 [1:revoked] rotation.finish"]);
  });

  it("is rolled back by a test that says no, by failures, and by people, from wherever it is", () => {
    const invalid: RotationEvent = { kind: "tested", version: 2, meaning: "invalid", detail: "401" };
    const failing: RotationEvent = { kind: "failing", version: 2, detail: "9 of 9" };
    const rollback: RotationEvent = { kind: "rollback", reason: "by ana" };
    const from = (phase: RotationPhase, event: RotationEvent) => told({ ...BEGUN, phase }, [[event, 1]])[0];
    assert.equal(from("testing", invalid), "failed 0 [] rotation.fail");
    assert.equal(from("ramping", failing), "failed 0 [] rotation.fail");
    assert.equal(from("grace", failing), "failed 0 [2:pending 1:current] rotation.fail");
    assert.equal(from("creating", rollback), "failed 0 [] rotation.roll-back");
    assert.equal(from("ramping", rollback), "failed 0 [] rotation.roll-back");
    assert.equal(from("grace", rollback), "failed 0 [2:pending 1:current] rotation.roll-back");
    for (const phase of ["revoking", "done", "failed"] as const) assert.match(from(phase, rollback) ?? "", / -$/);
    assert.match(
      advance({ ...BEGUN, phase: "ramping" }, failing, T0).rotation.problem ?? "",
      /version 2 failed: 9 of 9/,
    );
  });

  it("does not listen to what is said of another version", () => {
    for (const event of [
      { kind: "tested", version: 3, meaning: "valid", detail: "" },
      { kind: "failing", version: 1, detail: "" },
      { kind: "revoked", version: 7 },
    ] as const) {
      assert.equal(advance(BEGUN, event, T0).note, null, JSON.stringify(event));
    }
  });

  it("repeats a test that says nothing, ever more rarely, and gives up in the end", () => {
    const unknown: RotationEvent = { kind: "tested", version: 2, meaning: "unknown", detail: "timeout" };
    let rotation = BEGUN;
    const waits: number[] = [];
    for (let n = 1; n < MAX_TEST_ATTEMPTS; n++) {
      rotation = advance(rotation, unknown, T0).rotation;
      assert.equal(rotation.phase, "testing");
      waits.push((nextDueAt(rotation) ?? 0) - T0);
    }
    assert.deepEqual(waits.slice(0, 3), [10_000, 20_000, 40_000]);
    assert.equal(waits.at(-1), 30 * 60_000);
    assert.equal(retryDelayMs(0), 10_000);
    const last = advance(rotation, unknown, T0).rotation;
    assert.match(`${last.phase}: ${last.problem}`, /^failed: version 2 could not be tested: timeout$/);
    const heard = advance({ ...rotation, attempts: 4, nextTryAt: T0, problem: "x" }, VALID, T0).rotation;
    assert.deepEqual([heard.phase, heard.attempts, heard.nextTryAt, heard.problem], ["ramping", 0, null, null]);
  });

  it("follows a revocation: without the old version the new one takes over, without the new one it has failed", () => {
    const after = (phase: RotationPhase, version: number) =>
      told({ ...BEGUN, phase }, [[{ kind: "revoked", version }, 1]])[0];
    assert.equal(after("ramping", 1), "done 100 [2:current] rotation.promote");
    assert.equal(after("grace", 1), "done 100 [] rotation.finish");
    assert.equal(after("testing", 1), "testing 0 [] rotation.go-on");
    for (const phase of ["testing", "ramping", "grace"] as const) {
      assert.equal(after(phase, 2), "failed 0 [] rotation.fail");
    }
  });

  it("that is automatic ends only when the old key is dead at the provider", () => {
    const automatic: Rotation = { ...BEGUN, phase: "grace", automatic: AUTOMATIC };
    assert.deepEqual(
      told(automatic, [
        [{ kind: "finished" }, 1],
        [TIME, 9_000],
        [TIME, 99_000],
        [{ kind: "finished" }, 99_001],
      ]),
      [
        "grace 100 [] -",
        "revoking 100 [] rotation.revoke",
        "revoking 100 [] -",
        "done 100 [1:revoked] rotation.finish",
      ],
    );
  });
});

const PHASES: readonly RotationPhase[] = ["creating", "testing", "ramping", "grace", "revoking", "done", "failed"];
const version = fc.constantFrom(1, 2, 3);
const event: fc.Arbitrary<RotationEvent> = fc.oneof(
  fc.record({
    kind: fc.constant("tested" as const),
    version,
    meaning: fc.constantFrom("valid" as const, "invalid" as const, "unknown" as const),
    detail: fc.constant("x"),
  }),
  fc.record({ kind: fc.constant("time" as const), users: fc.nat(2), settleMs: fc.nat(500) }),
  fc.record({ kind: fc.constant("failing" as const), version, detail: fc.constant("x") }),
  fc.constant({ kind: "promote" as const }),
  fc.constant({ kind: "rollback" as const, reason: "x" }),
  fc.record({ kind: fc.constant("revoked" as const), version }),
  fc.constant({ kind: "finished" as const }),
);

/** The rows as the vault would keep them. */
function applied(stages: Map<number, Stage>, { versionChanges }: RotationStep): void {
  for (const { version: number, stage } of versionChanges) {
    if (stages.get(number) === "revoked") {
      assert.notEqual(stage, "current", "a revoked version was made current");
      continue;
    }
    stages.set(number, stage);
    const currents = [...stages.values()].filter((each) => each === "current");
    assert.ok(currents.length <= 1, "two versions were current at once");
  }
}

describe("whatever happens in whatever order", () => {
  it("never two versions are current, never a revoked one, and traffic always has a version to use", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(event, fc.nat(2_000)), { maxLength: 40 }),
        fc.boolean(),
        fc.constantFrom([100], [5, 100], [5, 25, 50, 100]),
        (events, automatic, steps) => {
          const stages = new Map<number, Stage>([
            [1, "current"],
            [2, "pending"],
          ]);
          let rotation: Rotation = { ...BEGUN, steps, automatic: automatic ? AUTOMATIC : null };
          let nowMs = T0;
          for (const [each, waited] of events) {
            nowMs += waited;
            if (each.kind === "revoked" && stages.has(each.version)) stages.set(each.version, "revoked");
            const before = rotation;
            const step = advance(rotation, each, nowMs);
            applied(stages, step);
            rotation = step.rotation;
            assert.ok(
              PHASES.indexOf(rotation.phase) >= PHASES.indexOf(before.phase),
              "it went back to an earlier phase",
            );
            if (rotation.phase === before.phase) assert.ok(rampPercent(rotation) >= rampPercent(before));
            if (step.note === null) assert.deepEqual(rotation, before);
            // Only a revocation by people may leave a credential without a current version.
            const alive = [1, 2].filter((number) => stages.get(number) !== "revoked");
            if (alive.length === 2) assert.ok([...stages.values()].includes("current"));
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it("it ends: done when the provider takes the new version, failed when it does not", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(event, fc.nat(2_000)), { maxLength: 20 }),
        fc.constantFrom("valid" as const, "invalid" as const, "unknown" as const),
        (events, meaning) => {
          let rotation = BEGUN;
          let nowMs = T0;
          for (const [each, waited] of events) {
            nowMs += waited;
            rotation = advance(rotation, each, nowMs).rotation;
          }
          for (let n = 0; n < 40 && rotation.phase !== "done" && rotation.phase !== "failed"; n++) {
            nowMs = Math.max(nowMs, nextDueAt(rotation) ?? nowMs);
            const next: RotationEvent =
              rotation.phase === "testing" ? { kind: "tested", version: 2, meaning, detail: "x" } : TIME;
            rotation = advance(rotation, next, nowMs).rotation;
          }
          assert.match(rotation.phase, /^(done|failed)$/);
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
