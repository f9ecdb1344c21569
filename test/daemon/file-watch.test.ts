import assert from "node:assert/strict";
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { watchFiles } from "../../src/daemon/file-watch.ts";
import { tempDir } from "../support/temp-dir.ts";

interface Watched {
  file: string;
  directory: string;
  changes: () => number;
  close: () => void;
}

function watched(t: TestContext, settleMs = 20): Watched {
  const root = tempDir(t);
  const [file, directory] = [join(root, "policy.yaml"), join(root, "providers")];
  mkdirSync(directory);
  writeFileSync(file, "one");
  writeFileSync(join(directory, "a.yaml"), "a");
  let changes = 0;
  const watch = watchFiles({ file, directory, onChange: () => void changes++, pollMs: 15, settleMs });
  t.after(() => watch.close());
  return { file, directory, changes: () => changes, close: () => watch.close() };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until(condition: () => boolean): Promise<void> {
  for (let n = 0; n < 400 && !condition(); n++) await pause(5);
  assert.ok(condition(), "nothing was noticed");
}

test("a changed, replaced, added and removed file are each noticed once", async (t) => {
  const { file, directory, changes } = watched(t);
  writeFileSync(file, "two");
  await until(() => changes() === 1);
  writeFileSync(`${file}.new`, "six");
  renameSync(`${file}.new`, file);
  await until(() => changes() === 2);
  writeFileSync(join(directory, "b.yaml"), "b");
  await until(() => changes() === 3);
  rmSync(join(directory, "b.yaml"));
  await until(() => changes() === 4);
  await pause(60);
  assert.equal(changes(), 4);
});

test("a config map that is swapped behind its link is noticed", async (t) => {
  const { file, changes } = watched(t);
  rmSync(file);
  writeFileSync(`${file}-1`, "one");
  writeFileSync(`${file}-2`, "two");
  symlinkSync(`${file}-1`, file);
  await until(() => changes() === 1);
  symlinkSync(`${file}-2`, `${file}.link`);
  renameSync(`${file}.link`, file);
  await until(() => changes() === 2);
});

test("a file that is still being written is left alone until it is quiet", async (t) => {
  const { file, changes } = watched(t, 500);
  for (let n = 0; n < 10; n++) {
    writeFileSync(file, "x".repeat(n + 10));
    await pause(10);
    assert.equal(changes(), 0);
  }
  await until(() => changes() === 1);
});

test("other files in the same folders are nobody's business, and close ends it all", async (t) => {
  const { file, directory, changes, close } = watched(t);
  writeFileSync(`${file}.swp`, "x");
  writeFileSync(join(directory, "README"), "x");
  await pause(80);
  assert.equal(changes(), 0);
  close();
  writeFileSync(file, "changed");
  await pause(80);
  assert.equal(changes(), 0);
});
