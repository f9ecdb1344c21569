import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const ROOT = join(import.meta.dirname, "..", "..");

function bash(script: string): { stdout: string; status: number | null } {
  const text = `set -euo pipefail\nsource .ci/steps.sh\nsleep() { echo "waits $1"; }\n${script}`;
  return spawnSync("bash", ["-c", text], { encoding: "utf8", cwd: ROOT });
}

test("a step prints its heading and how long it took", () => {
  const { stdout, status } = bash("step 'two words' echo inside");
  assert.match(stdout, /^\n== two words\ninside\n== two words took \d+ s\n$/);
  assert.equal(status, 0);
});

test("a failing step ends the run with its exit code", () => {
  const { stdout, status } = bash("step first bash -c 'exit 7'\necho not reached");
  assert.match(stdout, /== first FAILED with 7 after \d+ s\n$/);
  assert.equal(status, 7);
});

test("a failure in the middle of a step is not overlooked", () => {
  const { stdout, status } = bash("work() {\n  false\n  echo not reached\n}\nstep work work\necho not reached");
  assert.doesNotMatch(stdout, /not reached/);
  assert.equal(status, 1);
});

test("a command is tried again with longer pauses, four times at most", () => {
  const works = bash('n=0\nflaky() { n=$((n + 1)); [ "$n" -eq 3 ]; }\nretry flaky\necho "$n tries"');
  assert.match(works.stdout, /waits 5\n[\s\S]*waits 10\n3 tries\n$/);
  assert.equal(works.status, 0);
  const never = bash("retry false\necho not reached");
  assert.equal(never.stdout.match(/waits/g)?.length, 3);
  assert.equal(never.status, 1);
});

test("the run is the tests with nothing skipped, the linter and the type checker", () => {
  const run = readFileSync(join(ROOT, ".ci", "run"), "utf8");
  assert.match(run, /^set -euo pipefail$/m);
  for (const command of ["SIDEKEY_TEST_REQUIRE=all npm test", "npm run lint", "npm run types"]) {
    assert.ok(run.includes(command), command);
  }
});
