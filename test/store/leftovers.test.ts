import assert from "node:assert/strict";
import { mkdirSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { discard, removeKeyLeftovers, removeLeftovers } from "../../src/store/leftovers.ts";
import { tempDir } from "../support/temp-dir.ts";

const OURS = [
  "audit.anchor.4711.tmp",
  "root.key.0123abcd.tmp",
  "vault.db.0123abcd.new",
  "vault.db.0123abcd.new-journal",
  "vault.db.0123abcd.new-wal",
  "vault.db.0123abcd.new-shm",
];
const OTHERS = ["audit.anchor", "root.key", "vault.db", "vault.db-wal", "notes.tmp", "root.key.tmp", "vault.db.new"];
const NOW_MS = 10_000_000;

function fill(directory: string, ageMs: number): void {
  for (const name of [...OURS, ...OTHERS]) {
    const seconds = (NOW_MS - ageMs) / 1000;
    writeFileSync(join(directory, name), "x");
    utimesSync(join(directory, name), seconds, seconds);
  }
}

describe("leftovers", () => {
  it("removes the temporary files of a dead process and nothing else", (t) => {
    const directory = tempDir(t);
    fill(directory, 61_000);
    removeLeftovers(directory, NOW_MS);
    assert.deepEqual(readdirSync(directory).sort(), [...OTHERS].sort());
  });

  it("leaves files alone that somebody may still be writing", (t) => {
    const directory = tempDir(t);
    fill(directory, 59_000);
    removeLeftovers(directory, NOW_MS);
    assert.equal(readdirSync(directory).length, OURS.length + OTHERS.length);
  });

  it("removes beside a key file only what was to become that file", (t) => {
    const directory = tempDir(t);
    fill(directory, 61_000);
    removeKeyLeftovers(join(directory, "root.key"), NOW_MS);
    const left = readdirSync(directory);
    assert.equal(left.length, OURS.length + OTHERS.length - 1);
    assert.equal(left.includes("root.key.0123abcd.tmp"), false);
  });

  it("takes what cannot be listed or removed as it is", (t) => {
    const directory = tempDir(t);
    mkdirSync(join(directory, "vault.db.0123abcd.new"));
    utimesSync(join(directory, "vault.db.0123abcd.new"), 1, 1);
    removeLeftovers(directory, NOW_MS);
    removeLeftovers(join(directory, "missing"), NOW_MS);
    discard(join(directory, "missing"));
    assert.deepEqual(readdirSync(directory), ["vault.db.0123abcd.new"]);
  });
});
