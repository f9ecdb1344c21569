import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { faultsPossible } from "../support/fault-control.ts";
import { FAULT_OPERATIONS } from "../support/fault-operations.ts";
import { type FaultExtent, type FaultRun, runKilled, runWithErrors } from "../support/faults.ts";

/*
 * Every operation of fault-operations.ts, with a fault at each of its file operations. SIDEKEY_FAULTS=all also kills a
 * process at each of them, and prints how many there were; without it one call of each sort has to do.
 */
const EXTENT: FaultExtent = process.env.SIDEKEY_FAULTS === "all" ? "all" : "sample";
const NAMES = Object.keys(FAULT_OPERATIONS);
/** These touch every sort of file; killing a process takes a third of a second, so the others are left to `crash`. */
const KILLED =
  EXTENT === "all" ? NAMES : ["create vault", "add current version", "replace the root key", "wrap data keys anew"];

function assertAllHeld(runs: readonly FaultRun[]): void {
  const broken = runs.filter(({ problems }) => problems.length > 0);
  const lines = broken.map(({ mode, n, call, problems }) => `${mode} at call ${n} (${call}): ${problems.join("; ")}`);
  assert.deepEqual(lines, []);
}

describe("G14 durable: file operations that fail", () => {
  for (const name of NAMES) {
    it(`${name}: whichever call fails or is the last before a crash, it is done or not done, and says so`, async (t) => {
      if (!(await faultsPossible(t))) return;
      const runs = await runWithErrors(t, name, EXTENT);
      assertAllHeld(runs);
      for (const mode of ["eio", "enospc", "short", "torn", "crash"]) {
        const some = runs.filter((run) => run.mode === mode);
        assert.ok(some.length > 1, `${mode} was tried ${some.length} times only`);
        assert.equal(some.at(-1)?.acknowledged, true, "the run without a fault is acknowledged");
      }
      assert.ok(
        name === "unseal" || runs.some((run) => run.mode === "eio" && !run.acknowledged),
        "no error came through: the faults do not reach this operation",
      );
      if (EXTENT === "all") t.diagnostic(`${name}: ${runs.length} runs`);
    });
  }
});

describe("G14 durable: processes that are killed", () => {
  for (const name of KILLED) {
    it(`${name}: after kill -9 at any file operation it is done or not done, and what was acknowledged is done`, async (t) => {
      if (!(await faultsPossible(t))) return;
      const runs = await runKilled(t, name, EXTENT);
      assertAllHeld(runs);
      assert.ok(runs.some(({ acknowledged }) => !acknowledged));
      assert.equal(runs[0]?.acknowledged, true, "the run without a kill is acknowledged");
      if (EXTENT === "all") t.diagnostic(`${name}: ${runs.length} processes`);
    });
  }
});
