import assert from "node:assert/strict";
import { chmodSync, chownSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileProblems } from "../../src/daemon/file-modes.ts";
import { tempDir } from "../support/temp-dir.ts";

const DATA = ["vault.db", "vault.db-wal", "usage.db", "audit.anchor"];

function place(t: TestContext) {
  const root = tempDir(t);
  const at = (name: string): string => join(root, name);
  for (const name of ["data", "config", "config/providers"]) mkdirSync(at(name), { mode: 0o700 });
  const files = [
    ...DATA.map((name) => `data/${name}`),
    "config/daemon.yaml",
    "config/policy.yaml",
    "config/prices.yaml",
    "config/providers/fmp.yaml",
  ];
  for (const name of files) writeFileSync(at(name), "", { mode: 0o600 });
  const config = {
    dataDir: at("data"),
    file: at("config/daemon.yaml"),
    policyFile: at("config/policy.yaml"),
    pricesFile: at("config/prices.yaml"),
    providersDir: at("config/providers"),
  };
  return { at, problems: () => fileProblems(config).map(({ severity, message }) => `${severity} ${message}`) };
}

test("private data and configuration that only its owner changes are fine, linked configuration too", (t) => {
  const { at, problems } = place(t);
  assert.deepEqual(problems(), []);
  chmodSync(at("config/policy.yaml"), 0o644);
  renameSync(at("config/policy.yaml"), at("config/real.yaml"));
  symlinkSync(at("config/real.yaml"), at("config/policy.yaml"));
  assert.deepEqual(problems(), []);
});

test("each file of the data directory that others can read, or that is a link, is refused by name", (t) => {
  for (const name of DATA) {
    const { at, problems } = place(t);
    chmodSync(at(`data/${name}`), 0o640);
    assert.match(problems().join(), new RegExp(`^refuse .*/data/${name}: mode 640 .*chmod 600`));
    chmodSync(at(`data/${name}`), 0o600);
    renameSync(at(`data/${name}`), at("elsewhere"));
    symlinkSync(at("elsewhere"), at(`data/${name}`));
    assert.match(problems().join(), new RegExp(`^refuse .*/data/${name} is not a regular file`));
  }
  const { at, problems } = place(t);
  chmodSync(at("data"), 0o750);
  assert.match(problems().join(), /^refuse .*\/data: mode 750 .*chmod 700/);
});

test("configuration that every user can change is refused, another user's is warned about", (t) => {
  for (const name of ["daemon.yaml", "policy.yaml", "prices.yaml", "providers", "providers/fmp.yaml"]) {
    const { at, problems } = place(t);
    chmodSync(at(`config/${name}`), name === "providers" ? 0o707 : 0o606);
    assert.match(problems().join(), new RegExp(`^refuse .*/config/${name} can be changed by every user.*chmod o-w`));
  }
  if (process.getuid?.() !== 0) return;
  const { at, problems } = place(t);
  chownSync(at("config/policy.yaml"), 12_345, 12_345);
  assert.match(problems().join(), /^warn .*policy\.yaml belongs to user 12345/);
  chownSync(at("data/audit.anchor"), 12_345, 12_345);
  assert.match(problems().join("\n"), /^refuse .*audit\.anchor: belongs to user 12345/m);
});
