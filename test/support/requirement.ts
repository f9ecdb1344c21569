import { spawnSync } from "node:child_process";
import type { TestContext } from "node:test";

/** True when `program` starts and exits with 0 (arguments default to `--version`). */
export function programRuns(program: string, args: readonly string[] = ["--version"]): boolean {
  return spawnSync(program, [...args], { stdio: "ignore", timeout: 30_000 }).status === 0;
}

/**
 * Asks for something a developer's machine may lack (curl, Go, the Python clients). Returns true when it is there;
 * otherwise marks the test as skipped and returns false, so a test begins with `if (!(await requires(...))) return;`.
 * With SIDEKEY_TEST_REQUIRE=all nothing may be absent: an automated run that skips would look like one that passed.
 * @throws Error naming the missing thing under SIDEKEY_TEST_REQUIRE=all.
 */
export async function requires(
  t: Pick<TestContext, "skip">,
  name: string,
  probe: () => boolean | Promise<boolean>,
): Promise<boolean> {
  if (await probe()) return true;
  if (process.env.SIDEKEY_TEST_REQUIRE === "all") {
    throw new Error(`${name} is missing and SIDEKEY_TEST_REQUIRE=all; install it (see .ci/run) or unset the variable`);
  }
  t.skip(`${name} is not installed here`);
  return false;
}
