import assert from "node:assert/strict";
import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openVault } from "../../src/store/vault.ts";
import { putBack } from "../support/tampering.ts";
import { copyOf, fields, fillEveryTable, newCredential, newVault, reveal } from "../support/vault-fixture.ts";

const CUTS = 24;

test("G14 durable: a write that is cut off anywhere in the log leaves the state before it or after it, never a part of it", async (t) => {
  const { vault, directory, unlocker } = await newVault(t);
  fillEveryTable(vault);
  const before = { files: copyOf(t, directory), mark: vault.mark() };
  const { id } = vault.addCredential(newCredential("late"), fields({ api_key: "late-key" }), "ana");
  const after = { files: copyOf(t, directory), mark: vault.mark() };
  vault.close();
  const [shorter, longer] = [before, after].map(({ files }) => readFileSync(join(files, "vault.db-wal")));
  assert.ok(shorter !== undefined && longer !== undefined && longer.length > shorter.length);
  assert.ok(longer.subarray(0, shorter.length).equals(shorter), "the log was begun anew: the test proves nothing");
  const work = copyOf(t, directory);
  const seen = new Set<number>();
  for (let cut = 0; cut <= CUTS; cut++) {
    putBack(after.files, work);
    rmSync(join(work, "vault.db-shm"), { force: true });
    const end: number = shorter.length + Math.round(((longer.length - shorter.length) * cut) / CUTS);
    // Cut off, and overwritten with junk from there on: what a power cut leaves of unsynced blocks.
    const log =
      cut % 2 === 0 ? longer.subarray(0, end) : Buffer.concat([longer.subarray(0, end), Buffer.alloc(4096, 0xa5)]);
    writeFileSync(join(work, "vault.db-wal"), log, { mode: 0o600 });
    // The anchor is written after the commit.
    copyFileSync(join(before.files, "audit.anchor"), join(work, "audit.anchor"));
    const again = openVault(work);
    try {
      await again.unseal([unlocker]);
      assert.equal(again.verifyAudit().ok, true);
      const done = again.listCredentials().some(({ name }) => name === "late");
      const { seq, epoch } = done ? after.mark : before.mark;
      assert.deepEqual([again.mark().seq - 1, again.mark().epoch], [seq, epoch], `cut at ${end}`);
      if (done) assert.deepEqual(reveal(again.openFields(id, 1, "test")), { api_key: "late-key" });
      seen.add(epoch);
    } finally {
      again.close();
    }
  }
  assert.equal(seen.size, 2, "the cuts lay on one side of the commit only");
});
