import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import type SQLite from "better-sqlite3";
import { VaultTamperedError } from "../../src/store/errors.ts";
import { openVault } from "../../src/store/vault.ts";
import { copyOf, editDatabase, fill, newVault, note, type VaultFixture } from "../support/vault-fixture.ts";

/** A vault with a few entries; `seen` tells a running process apart from a fresh one on the attacked files. */
async function audited(t: TestContext): Promise<VaultFixture> {
  const fixture = await newVault(t);
  fill(fixture.vault);
  return fixture;
}

const seqShift =
  "UPDATE audit SET seq = -seq; UPDATE audit SET seq = -seq - 1 WHERE seq < -3; UPDATE audit SET seq = -seq WHERE seq < 0";

describe("G9 chained", () => {
  it("verifies an untouched chain and lists what happened, oldest first", async (t) => {
    const { vault } = await audited(t);
    note(vault, "policy:2");
    const entries = vault.listAudit();
    assert.deepEqual(
      entries.map((entry) => entry.seq),
      entries.map((_, at) => at + 1),
    );
    assert.deepEqual(entries.at(-1)?.detail, { ok: true, rules: 3 });
    assert.deepEqual(
      entries.slice(0, 2).map((entry) => entry.action),
      ["vault.create", "vault.unseal"],
    );
    const result = vault.verifyAudit();
    assert.ok(result.ok);
    assert.deepEqual(
      [result.entries, result.head],
      [entries.length, { seq: entries.length, hash: entries.at(-1)?.hash ?? "" }],
    );
    const [third] = entries.slice(2);
    assert.deepEqual(vault.listAudit({ since: third?.at ?? 0, limit: 2 }), entries.slice(-2));
  });

  const attacks: Record<string, string> = {
    "an edited actor": "UPDATE audit SET actor = 'nobody' WHERE seq = 3",
    "an edited detail": "UPDATE audit SET detail = '{}' WHERE seq = 4",
    "white space added to a detail": "UPDATE audit SET detail = detail || ' ' WHERE seq = 4",
    "an edited time": "UPDATE audit SET at = at - 1 WHERE seq = 5",
    "a foreign hash": "UPDATE audit SET hash = randomblob(32) WHERE seq = 5",
    "two entries in the other order":
      "UPDATE audit SET seq = -5 WHERE seq = 5; UPDATE audit SET seq = 5 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = -5",
    "the first entry deleted": "DELETE FROM audit WHERE seq = 1",
    "a middle entry deleted": "DELETE FROM audit WHERE seq = 4",
    "a middle entry deleted and the gap closed": `DELETE FROM audit WHERE seq = 3; ${seqShift}`,
    "the last entry deleted": "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)",
    "the last three entries deleted": "DELETE FROM audit WHERE seq > (SELECT max(seq) FROM audit) - 3",
    "all entries deleted": "DELETE FROM audit",
    "an entry planted at the end":
      "INSERT INTO audit SELECT seq + 1, at, actor, action, object, detail, state, hash, randomblob(32) FROM audit ORDER BY seq DESC LIMIT 1",
    "the last entry repeated":
      "INSERT INTO audit SELECT seq + 1, at, actor, action, object, detail, state, prev, hash FROM audit ORDER BY seq DESC LIMIT 1",
  };

  for (const [what, sql] of Object.entries(attacks)) {
    it(`detects ${what}, after a restart and while running`, async (t) => {
      const fixture = await audited(t);
      const attacked = copyOf(t, fixture.directory);
      await assertDetected(attacked, fixture, (db) => db.exec(sql));
      editDatabase(fixture.directory, (db) => db.exec(sql));
      assert.equal(
        caught(() => fixture.vault.verifyAudit()),
        true,
      );
    });
  }
});

async function assertDetected(
  directory: string,
  fixture: VaultFixture,
  edit: (db: SQLite.Database) => void,
): Promise<void> {
  editDatabase(directory, edit);
  const vault = openVault(directory, fixture.options);
  try {
    await vault.unseal([fixture.unlocker]);
    assert.equal(vault.verifyAudit().ok, false);
  } catch (error) {
    assert.ok(error instanceof VaultTamperedError, String(error));
  } finally {
    vault.close();
  }
}

function caught(verify: () => { ok: boolean }): boolean {
  return !verify().ok;
}
