import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type Config, loadConfig } from "../../src/daemon/config.ts";
import { tempDir } from "../support/temp-dir.ts";

function project(t: TestContext, yaml: string): string {
  const root = tempDir(t);
  mkdirSync(join(root, "config"));
  writeFileSync(join(root, "config", "daemon.yaml"), yaml);
  return root;
}

function load(root: string): Config {
  return loadConfig({ env: {}, cwd: root });
}

test("backups are scheduled only when daemon.yaml says so, with sane defaults", (t) => {
  assert.equal(load(project(t, "version: 1\n")).backup, undefined);
  const root = project(t, "version: 1\nbackup: {}\n");
  const { backup } = load(root);
  assert.deepEqual(
    { to: backup?.to, everyMs: backup?.everyMs, keep: backup?.keep, with: backup?.with },
    { to: join(root, "backups"), everyMs: 86_400_000, keep: 14, with: [] },
  );
  const set = load(
    project(t, "version: 1\nbackup: { to: /mnt/b, every: 6h, keep: 3, with: [usage, config] }\n"),
  ).backup;
  assert.deepEqual([set?.to, set?.everyMs, set?.keep, set?.with], ["/mnt/b", 21_600_000, 3, ["usage", "config"]]);
  for (const wrong of ["keep: 0", "every: 1s", "with: [keys]", "where: /mnt"]) {
    const root = project(t, `version: 1\nbackup: { ${wrong} }\n`);
    assert.throws(() => load(root), /daemon\.yaml:2 backup\./, wrong);
  }
});
