import assert from "node:assert/strict";
import { copyFileSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import type SQLite from "better-sqlite3";
import { VaultTamperedError } from "../../src/store/errors.ts";
import { openVault, type Vault } from "../../src/store/vault.ts";
import { copyOf, editDatabase, fill, newVault, type VaultFixture } from "../support/vault-fixture.ts";

/** A vault with a few entries; `seen` tells a running process apart from a fresh one on the attacked files. */
async function audited(t: TestContext): Promise<VaultFixture> {
  const fixture = await newVault(t);
  fill(fixture.vault);
  return fixture;
}

function note(vault: Vault, object: string): void {
  vault.audit({ actor: "ana", action: "policy.reload", object, detail: { ok: true, rules: 3 } });
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

  it("detects an older copy of vault.db, and takes it only on an operator's word", async (t) => {
    const fixture = await audited(t);
    const { vault, directory, unlocker, reopen } = fixture;
    vault.close();
    const old = copyOf(t, directory);
    const later = reopen();
    await later.unseal([unlocker]);
    later.revokeClientTokens("app", "ana");
    later.close();
    for (const suffix of ["-wal", "-shm"]) rmSync(join(directory, `vault.db${suffix}`), { force: true });
    copyFileSync(join(old, "vault.db"), join(directory, "vault.db"));
    const restored = reopen();
    await assert.rejects(
      restored.unseal([unlocker]),
      /entries \d+ to \d+ are missing: .* older copy of vault\.db was restored/,
    );
    assert.equal(restored.sealed, true);
    await restored.unseal([unlocker], { acceptRollback: "ana" });
    assert.equal(restored.verifyAudit().ok, true);
    assert.deepEqual(
      restored.listAudit({ limit: 2 }).map((entry) => entry.action),
      ["vault.accept-rollback", "vault.unseal"],
    );
    await reopen().unseal([unlocker]);
  });

  it("detects a copy that went another way since the anchor was written", async (t) => {
    const { vault, directory, unlocker, options } = await audited(t);
    vault.close();
    const fork = copyOf(t, directory);
    for (const [place, times] of [
      [directory, 3],
      [fork, 5],
    ] as const) {
      const handle = openVault(place, options);
      await handle.unseal([unlocker]);
      for (let i = 0; i < times; i++) note(handle, `${place}:${i}`);
      handle.close();
    }
    copyFileSync(join(fork, "vault.db"), join(directory, "vault.db"));
    const handle = openVault(directory, options);
    t.after(() => handle.close());
    await assert.rejects(handle.unseal([unlocker]), /went another way/);
  });

  it("detects a missing, edited or foreign anchor", async (t) => {
    const { vault, directory, unlocker, reopen } = await audited(t);
    const anchor = join(directory, "audit.anchor");
    const good = readFileSync(anchor, "utf8");
    const foreign = readFileSync(join((await audited(t)).directory, "audit.anchor"), "utf8");
    const edited = good.replace(/"seq":\d+/, '"seq":1');
    for (const text of [null, "", "{}", edited, foreign]) {
      if (text === null) rmSync(anchor);
      else writeFileSync(anchor, text);
      assert.equal(vault.verifyAudit().ok, false);
      await assert.rejects(reopen().unseal([unlocker]), VaultTamperedError);
    }
    writeFileSync(anchor, good);
    assert.equal(vault.verifyAudit().ok, true);
  });

  it("does not call a crash between commit and anchor tampering", async (t) => {
    const { vault, directory, unlocker, reopen } = await audited(t);
    const anchor = join(directory, "audit.anchor");
    const before = readFileSync(anchor);
    note(vault, "policy:3");
    vault.close();
    writeFileSync(anchor, before);
    const temporary = `${anchor}.999999.tmp`;
    writeFileSync(temporary, "half");
    utimesSync(temporary, 1, 1);
    const again = reopen();
    await again.unseal([unlocker]);
    assert.equal(again.verifyAudit().ok, true);
    assert.throws(() => readFileSync(temporary), /ENOENT/);
  });
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
