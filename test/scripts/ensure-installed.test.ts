import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { tempDir } from "../support/temp-dir.ts";

const SCRIPT = join(import.meta.dirname, "..", "..", "scripts", "ensure-installed.sh");
const CLEAN_INSTALL = "ci --ignore-scripts --no-audit --no-fund --loglevel=error";

function executable(path: string, script: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}

interface Project {
  readonly root: string;
  readonly pinned: string;
  /** The arguments of each npm call so far. */
  npmCalls(): string[];
  /** Makes npm fail its first `failures` calls, then install a pinned Node with this script. */
  npm(failures: number, node?: string): void;
  systemNode(version: string): void;
  run(): { stdout: string; stderr: string; status: number | null };
}

function project(t: TestContext): Project {
  const root = tempDir(t);
  const pinned = join(root, "node_modules", ".bin", "node");
  const calls = join(root, "calls");
  const system = join(root, "system");
  mkdirSync(join(root, "scripts"));
  mkdirSync(system);
  copyFileSync(SCRIPT, join(root, "scripts", "ensure-installed.sh"));
  writeFileSync(join(root, "package-lock.json"), "{}");
  return {
    root,
    pinned,
    npmCalls: () => (existsSync(calls) ? readFileSync(calls, "utf8").trim().split("\n") : []),
    npm(failures, node = "echo v24.21.0") {
      executable(
        join(system, "npm"),
        `echo "$*" >>"${calls}"
[ "$(wc -l <"${calls}")" -gt ${failures} ] || { echo "network is down" >&2; exit 1; }
case :$PATH: in *node_modules/.bin:*) echo "runs on the Node that it replaces" >&2; exit 1 ;; esac
mkdir -p node_modules/.bin
printf '#!/bin/sh\\n%s\\n' '${node}' >node_modules/.bin/node
chmod +x node_modules/.bin/node`,
      );
    },
    systemNode: (version) => executable(join(system, "node"), `echo ${version}`),
    run() {
      const PATH = `${join(root, "node_modules", ".bin")}:${system}:/usr/bin:/bin`;
      return spawnSync("/bin/sh", [join(root, "scripts", "ensure-installed.sh")], {
        encoding: "utf8",
        env: { PATH, SIDEKEY_INSTALL_PAUSE: "0" },
      });
    },
  };
}

test("missing packages are installed from the lockfile without install scripts", (t) => {
  const { npm, run, npmCalls } = project(t);
  npm(0);
  assert.equal(run().status, 0);
  assert.deepEqual(npmCalls(), [CLEAN_INSTALL]);
});

test("with everything in place it runs nothing and says nothing", (t) => {
  const { npm, run, npmCalls } = project(t);
  npm(0);
  run();
  const { stdout, stderr, status } = run();
  assert.deepEqual({ stdout, stderr, status }, { stdout: "", stderr: "", status: 0 });
  assert.equal(npmCalls().length, 1);
});

test("a changed lockfile installs again, and so do packages that were removed", (t) => {
  const { root, npm, run, npmCalls } = project(t);
  npm(0);
  run();
  writeFileSync(join(root, "package-lock.json"), '{"other":1}');
  run();
  assert.equal(npmCalls().length, 2);
  rmSync(join(root, "node_modules"), { recursive: true });
  run();
  assert.equal(npmCalls().length, 3);
});

test("an installation that fails is tried three times", (t) => {
  const second = project(t);
  second.npm(2);
  assert.equal(second.run().status, 0);
  assert.equal(second.npmCalls().length, 3);

  const never = project(t);
  never.npm(99);
  const { status, stderr } = never.run();
  assert.equal(status, 1);
  assert.equal(never.npmCalls().length, 3);
  assert.match(stderr, /network is down[\s\S]*npm ci failed three times/);
  assert.equal(existsSync(join(never.root, "node_modules", ".sidekey-installed")), false);
});

test("without npm the message says what to install", (t) => {
  const { root } = project(t);
  // Only what the script itself needs, so that the npm of this machine is out of reach.
  for (const program of ["dirname", "cksum", "uname", "cat"]) {
    executable(join(root, "few", program), `exec /usr/bin/${program} "$@"`);
  }
  const { status, stderr } = spawnSync("/bin/sh", [join(root, "scripts", "ensure-installed.sh")], {
    encoding: "utf8",
    env: { PATH: join(root, "few") },
  });
  assert.equal(status, 1);
  assert.match(stderr, /npm is not installed[\s\S]*Install npm 10/);
});

test("where the pinned Node cannot run it steps aside for a system Node that is new enough", (t) => {
  const { pinned, npm, systemNode, run } = project(t);
  npm(0, "exit 127");
  systemNode("v22.19.1");
  assert.equal(run().status, 0);
  assert.equal(existsSync(pinned), false);
});

test("where neither the pinned nor the system Node will do the message says so", (t) => {
  const { npm, systemNode, run } = project(t);
  npm(0, "exit 127");
  systemNode("v22.18.0");
  const { status, stderr } = run();
  assert.equal(status, 1);
  assert.match(stderr, /needs Node 22\.19 or newer[\s\S]*v22\.18\.0[\s\S]*Install Node 24/);
});
