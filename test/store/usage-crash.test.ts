import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { recomputeCosts } from "../../src/store/usage-recompute.ts";
import { tempDir } from "../support/temp-dir.ts";
import { assertRollupsAgree, DAY_MS, selectUsage, USAGE_NOW_MS } from "../support/usage-fixture.ts";

const CHURNER = join(import.meta.dirname, "../support/usage-churner.ts");

/** Runs the churner, and kills it `afterMs` after it has said that it wrote. */
async function killedWhileWriting(path: string, afterMs: number): Promise<void> {
  const child = spawn(process.execPath, [CHURNER, path], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  await Promise.race([once(child.stdout, "data"), exited.then(() => assert.fail("it ended by itself"))]);
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  child.kill("SIGKILL");
  await exited;
}

test("after kill -9 at any moment the rollups are the sum of the requests, while records and prices change", async (t) => {
  const path = join(tempDir(t), "usage.db");
  for (const afterMs of [0, 5, 17, 43, 90]) {
    await killedWhileWriting(path, afterMs);
    assertRollupsAgree(path);
  }
  const calls = selectUsage(path, "SELECT id FROM usage WHERE units IS NOT NULL").length;
  const report = await recomputeCosts(
    path,
    ({ units }) => ({ costNano: units.input ?? 0, unpriced: false, table: "last" }),
    { sinceMs: 0, untilMs: USAGE_NOW_MS + DAY_MS },
  );
  assertRollupsAgree(path);
  assert.deepEqual([report.calls, report.after.unpriced, report.daysLeft], [calls, 0, []]);
});
