import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { tempDir } from "../support/temp-dir.ts";

const RUNNER = join(import.meta.dirname, "..", "..", "scripts", "run-tests.ts");

interface Run {
  readonly output: string;
  readonly status: number | null;
}

function runTests(args: readonly string[], fileTimeoutMs?: number): Run {
  // Inside a test run node:test expects to be a part of it; this one is a run of its own.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  if (fileTimeoutMs !== undefined) env.SIDEKEY_TEST_FILE_TIMEOUT_MS = String(fileTimeoutMs);
  const { stdout, stderr, status } = spawnSync(process.execPath, [RUNNER, ...args], { encoding: "utf8", env });
  return { output: stdout + stderr, status };
}

const IMPORT = 'import { test } from "node:test";\n';

test("passing files exit with 0 and end with node's own summary", (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, "a.test.ts"), `${IMPORT}test("one", () => {}); test("two", () => {});`);
  writeFileSync(join(dir, "b.test.ts"), `${IMPORT}test("three", (t) => t.skip("absent"));`);
  const { output, status } = runTests([join(dir, "*.test.ts")]);
  assert.equal(status, 0, output);
  assert.match(output, /tests 3\n[\s\S]*pass 2\n[\s\S]*fail 0\n[\s\S]*skipped 1\n/);
});

test("one failing test among passing ones exits with 1", (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, "a.test.ts"), `${IMPORT}test("one", () => {});`);
  writeFileSync(join(dir, "b.test.ts"), `${IMPORT}test("two", () => { throw new Error("no"); });`);
  const { output, status } = runTests([join(dir, "a.test.ts"), join(dir, "b.test.ts")]);
  assert.equal(status, 1, output);
  assert.match(output, /pass 1\n[\s\S]*fail 1\n/);
});

test("unit tests of several files share processes, and a failing one still counts once", (t) => {
  const dir = tempDir(t);
  for (let n = 0; n < 12; n++) {
    const body = n === 7 ? "{ throw new Error(); }" : "{}";
    writeFileSync(join(dir, `${n}.test.ts`), `${IMPORT}test("test ${n} of " + process.pid, () => ${body});`);
  }
  const { output, status } = runTests(["--unit", join(dir, "*.test.ts")]);
  assert.equal(status, 1, output);
  assert.match(output, /tests 12\n[\s\S]*pass 11\n[\s\S]*fail 1\n/);
  const processes = new Set([...output.matchAll(/test \d+ of (\d+)/g)].map(([, pid]) => pid));
  assert.ok(processes.size < 12, `${processes.size} processes`);
});

test("a file that hangs, even one that blocks its thread, is ended and fails", (t) => {
  const dir = tempDir(t);
  mkdirSync(join(dir, "x"));
  writeFileSync(join(dir, "x", "hangs.test.ts"), `${IMPORT}setInterval(() => {}, 999);\ntest("one", () => {});`);
  writeFileSync(join(dir, "x", "spins.test.ts"), `${IMPORT}test("two", () => { for (;;); });`);
  const { output, status } = runTests([join(dir, "x", "*.test.ts")], 700);
  assert.equal(status, 1, output);
  assert.match(output, /test file ended after 0\.7 s: .*hangs\.test\.ts/);
  assert.match(output, /test file ended after 0\.7 s: .*spins\.test\.ts/);
});

test("a run of no tests does not pass", () => {
  assert.deepEqual(runTests(["test/no-such-file.test.ts"]).status, 2);
  assert.match(runTests(["--units"]).output, /unknown option --units; usage/);
  assert.match(runTests(["--unit", "test/clients/**/nothing.test.ts"]).output, /no test file matches/);
});
