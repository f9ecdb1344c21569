import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { halfMadeName, removeHalfMade, sweepHalfMade } from "../../src/store/half-made.ts";
import { tempDir } from "../support/temp-dir.ts";

test("what a dead process left half-made goes, what a living one builds stays", (t) => {
  const place = tempDir(t);
  const dead = spawnSync(process.execPath, ["-e", "0"]).pid;
  const parent = process.ppid;
  const ours = halfMadeName(join(place, "ours"));
  writeFileSync(ours, "");
  mkdirSync(join(place, `.work.${dead}-0a1b2c3d.half`));
  writeFileSync(join(place, `.work.${dead}-0a1b2c3d.half`, "vault.db"), "x");
  writeFileSync(join(place, `one.backup.${dead}-00000000.half`), "x");
  writeFileSync(join(place, `one.backup.${parent}-00000000.half`), "x");
  // Our own number, but not made by this run: an earlier one had the same.
  writeFileSync(join(place, `old.${process.pid}-00000000.half`), "x");
  for (const name of ["one.backup", "half", `x.${dead}.half`, `x.${dead}-00000000.half.txt`]) {
    writeFileSync(join(place, name), "x");
  }
  sweepHalfMade(place);
  assert.deepEqual(
    readdirSync(place).sort(),
    [
      "half",
      "one.backup",
      `one.backup.${parent}-00000000.half`,
      ours.slice(place.length + 1),
      `x.${dead}-00000000.half.txt`,
      `x.${dead}.half`,
    ].sort(),
  );
  removeHalfMade(ours);
  assert.ok(!readdirSync(place).some((name) => name.startsWith("ours")));
  sweepHalfMade(join(place, "missing"));
});
