import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { compileShim, FaultControl, type FaultMode, faultsPossible } from "./fault-control.ts";
import { chosenCalls } from "./faults.ts";
import { tempDir } from "./temp-dir.ts";

/** Writes a file in the watched directory, and one beside it, and says how each went. */
const PROGRAM = `
const fs = require("node:fs");
const said = [];
for (const path of process.argv.slice(1)) {
  try {
    const fd = fs.openSync(path, "w");
    fs.writeSync(fd, "12345678");
    fs.fsyncSync(fd);
    fs.closeSync(fd);
    said.push("ok");
  } catch (error) {
    said.push(error.code);
  }
}
process.stdout.write(said.join(" "));`;

function place(t: TestContext) {
  const home = realpathSync(tempDir(t));
  const inside = join(home, "inside");
  mkdirSync(inside);
  const control = FaultControl.create(join(home, "control"));
  t.after(() => control.close());
  const environment = control.environment(compileShim(home), inside);
  const [watched, other] = [join(inside, "vault.db"), join(home, "other")];
  const run = (mode: FaultMode, at: number, persist = false) => {
    control.arm(at, mode, persist);
    const env = { PATH: process.env.PATH, ...environment };
    const { stdout, signal } = spawnSync(process.execPath, ["-e", PROGRAM, watched, other], { encoding: "utf8", env });
    return {
      said: stdout,
      signal,
      written: existsSync(watched) ? readFileSync(watched, "utf8") : null,
      ...control.read(),
    };
  };
  return { control, run };
}

test("the shim counts the calls below its directory, and only those", async (t) => {
  if (!(await faultsPossible(t))) return;
  const { control, run } = place(t);
  assert.deepEqual(run("eio", 0), { said: "ok ok", signal: null, written: "12345678", count: 3, fired: 0 });
  assert.deepEqual(control.calls(3), ["create database", "write database", "sync database"]);
});

test("the chosen call fails as it was armed to, and the others work", async (t) => {
  if (!(await faultsPossible(t))) return;
  const { run } = place(t);
  assert.deepEqual(run("eio", 1).said, "EIO ok");
  assert.deepEqual(run("enospc", 2), { said: "ENOSPC ok", signal: null, written: "", count: 2, fired: 1 });
  assert.deepEqual(run("eio", 3), { said: "EIO ok", signal: null, written: "12345678", count: 3, fired: 1 });
  // Node goes on writing where a short write ended; when the rest fails it says so only by the count.
  assert.deepEqual(run("short", 2), { said: "ok ok", signal: null, written: "12345678", count: 4, fired: 1 });
  assert.deepEqual(run("torn", 2), { said: "ok ok", signal: null, written: "1234", count: 4, fired: 1 });
  assert.deepEqual(run("eio", 2, true).said, "EIO ok");
});

test("a process is killed before or after the chosen call", async (t) => {
  if (!(await faultsPossible(t))) return;
  const { run } = place(t);
  assert.deepEqual(run("kill", 2), { said: "", signal: "SIGKILL", written: "", count: 2, fired: 1 });
  assert.deepEqual(run("kill-after", 2), { said: "", signal: "SIGKILL", written: "12345678", count: 2, fired: 1 });
});

test("a sample has the first call of each sort", () => {
  const calls = ["write log", "write log", "sync log", "write anchor", "sync log"];
  assert.deepEqual(chosenCalls(calls, "sample"), [1, 3, 4]);
  assert.deepEqual(chosenCalls(calls, "all"), [1, 2, 3, 4, 5]);
});
