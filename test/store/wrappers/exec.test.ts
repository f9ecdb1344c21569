import assert from "node:assert/strict";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { randomBytes } from "../../../src/store/crypto.ts";
import type { UnlockProblemCode } from "../../../src/store/errors.ts";
import type { ExecUnlocker } from "../../../src/store/wrappers/exec.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { newVault, sealedBecause, type VaultFixture } from "../../support/vault-fixture.ts";

const KEY = randomBytes(32);

/** A shell script as the program; `$KEY` in it is a file with 32 raw bytes. */
function program(t: TestContext, script: string, mode = 0o700): ExecUnlocker {
  const directory = tempDir(t);
  const [path, key] = [join(directory, "give-key"), join(directory, "key")];
  writeFileSync(key, KEY);
  writeFileSync(path, `#!/bin/sh\nKEY='${key}'\n${script}\n`);
  chmodSync(path, mode);
  return { kind: "exec", argv: [path], environment: { PATH: "/usr/bin:/bin", MARK: "passed" } };
}

async function opened(t: TestContext): Promise<VaultFixture> {
  const fixture = await newVault(t);
  await fixture.vault.addWrapper(program(t, 'cat "$KEY"'), [fixture.unlocker], "ana");
  return fixture;
}

async function refusal(
  fixture: VaultFixture,
  exec: ExecUnlocker,
  code: UnlockProblemCode,
  words: RegExp,
): Promise<void> {
  await assert.rejects(fixture.reopen().unseal([exec]), (error: Error) => {
    assert.ok(sealedBecause(code)(error));
    assert.match(error.message, words);
    assert.doesNotMatch(error.message, /canary/);
    return true;
  });
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!condition()) {
    assert.ok(Date.now() < deadline, "it did not happen within 5 s");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A zombie that nobody has waited for yet has ended too.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

describe("exec wrapper", () => {
  it("opens the vault with a key as raw bytes, as base64, and as base64 with a newline", async (t) => {
    const { reopen } = await opened(t);
    for (const script of ['cat "$KEY"', 'base64 "$KEY"', 'base64 "$KEY" | tr -d "\\n"']) {
      const exec = program(t, script);
      assert.deepEqual(await reopen().unseal([exec]), { by: `exec ${exec.argv[0]}` });
    }
  });

  it("gives the program its arguments as they are, the environment it was told, and nothing else", async (t) => {
    const { reopen } = await opened(t);
    const odd = "$(touch canary); 'quoted' *";
    const check = `[ "$1" = "$EXPECTED" ] && [ "$MARK" = passed ] && [ -z "$HOME$NODE_OPTIONS" ] && cat "$KEY"`;
    const exec = program(t, check);
    const environment = { ...exec.environment, EXPECTED: odd };
    await reopen().unseal([{ ...exec, argv: [exec.argv[0], odd], environment }]);
    await assert.rejects(
      reopen().unseal([{ ...exec, argv: [exec.argv[0], "other"], environment }]),
      sealedBecause("denied"),
    );
  });

  it("says what is wrong with the program, without repeating anything that it printed", async (t) => {
    const fixture = await opened(t);
    const canary = (script: string) => program(t, `echo canary-on-stderr >&2; ${script}`);
    await refusal(fixture, canary("exit 7"), "denied", /failed \(exit code 7\); run it by hand/);
    await refusal(fixture, canary("kill -9 $$"), "denied", /failed \(SIGKILL\)/);
    await refusal(fixture, canary("echo canary-junk"), "malformed", /printed 12 bytes; it has to print the key/);
    await refusal(fixture, canary("true"), "malformed", /printed 0 bytes/);
    await refusal(fixture, canary("yes canary"), "malformed", /printed more than 45 bytes/);
    await refusal(fixture, canary(`head -c 33 /dev/zero`), "malformed", /printed 33 bytes/);
    await refusal(fixture, canary("head -c 32 /dev/zero"), "wrong_key", /the key of another vault/);
    const { argv, ...rest } = program(t, "true");
    await refusal(fixture, { ...rest, argv: [`${argv[0]}-absent`] }, "missing", /does not exist; install it/);
    await refusal(fixture, { ...rest, argv: ["give-key"] }, "malformed", /is not an absolute path/);
    const isRoot = process.geteuid?.() === 0;
    const locked = program(t, "true", 0o600);
    await refusal(fixture, locked, "permissions", isRoot ? /cannot be run/ : /cannot be run \(EACCES\)/);
  });

  it("kills a program that hangs, with what it started, and tries the next way", async (t) => {
    const { unlocker, reopen } = await opened(t);
    const pids = join(tempDir(t), "pids");
    const hanging = program(t, `sleep 600 & echo "$! $$" > '${pids}.new'; mv '${pids}.new' '${pids}'; wait`);
    const { by } = await reopen().unseal([{ ...hanging, timeoutMs: 1000 }, unlocker]);
    assert.match(by, /^file /);
    await until(() => existsSync(pids));
    const started = readFileSync(pids, "utf8").trim().split(" ").map(Number);
    await until(() => !started.some(isAlive));
  });

  it("does not wait for what a program leaves behind in the background longer than its deadline", async (t) => {
    const fixture = await opened(t);
    const daemonising = program(t, 'sleep 600 & cat "$KEY"');
    await refusal(fixture, { ...daemonising, timeoutMs: 500 }, "timeout", /did not (?:finish|answer)/);
  });
});
