import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { readPolicyFile } from "../../src/daemon/policy-file.ts";
import { tempDir } from "../support/temp-dir.ts";

test("a policy is read as it is, also behind the links of a mounted config map", (t) => {
  const dir = tempDir(t);
  mkdirSync(join(dir, "..data-1"));
  writeFileSync(join(dir, "..data-1", "policy.yaml"), "version: 1 # \u00e9\n");
  symlinkSync("..data-1", join(dir, "..data"));
  symlinkSync("..data/policy.yaml", join(dir, "policy.yaml"));
  assert.equal(readPolicyFile(join(dir, "policy.yaml")), "version: 1 # \u00e9\n");
});

test("what is missing, no file, too large or open to everybody is refused with the next step", (t) => {
  const file = join(tempDir(t), "policy.yaml");
  assert.throws(() => readPolicyFile(file), /policy\.yaml cannot be read \(ENOENT\); check `policy` in daemon\.yaml/);
  mkdirSync(file);
  assert.throws(() => readPolicyFile(file), /is not a regular file/);
  const large = join(tempDir(t), "policy.yaml");
  writeFileSync(large, Buffer.alloc(1024 * 1024 + 1, "#"));
  assert.throws(() => readPolicyFile(large), /is larger than 1 MiB/);
  writeFileSync(large, Buffer.alloc(1024 * 1024, "#"));
  assert.equal(readPolicyFile(large).length, 1024 * 1024);
  chmodSync(large, 0o666);
  assert.throws(() => readPolicyFile(large), /can be changed by every user of this machine; run: chmod o-w /);
});

test("a FIFO in the policy's place is refused instead of waited for", (t) => {
  const fifo = join(tempDir(t), "policy.yaml");
  assert.equal(spawnSync("mkfifo", [fifo]).status, 0);
  assert.throws(() => readPolicyFile(fifo), /is not a regular file/);
});
