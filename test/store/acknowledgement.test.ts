import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { VaultTamperedError } from "../../src/store/errors.ts";
import { openVault, type Vault } from "../../src/store/vault.ts";
import { copyOf, editDatabase, fill, newVault, note } from "../support/vault-fixture.ts";

/** A data directory whose vault.db is older than its anchor. */
async function rolledBack(t: TestContext) {
  const fixture = await newVault(t);
  fill(fixture.vault);
  fixture.vault.close();
  const { directory, unlocker, reopen, options } = fixture;
  const old = copyOf(t, directory);
  const later = reopen();
  await later.unseal([unlocker]);
  later.revokeClientTokens("app", "ana");
  const newer = later.mark();
  later.close();
  for (const suffix of ["-wal", "-shm"]) rmSync(join(directory, `vault.db${suffix}`), { force: true });
  copyFileSync(join(old, "vault.db"), join(directory, "vault.db"));
  const opened = (): Vault => openVault(directory, options);
  return { ...fixture, newer, opened };
}

function files(directory: string): string[] {
  const folder = join(directory, "acknowledgements");
  return readdirSync(folder).map((name) => join(folder, name));
}

describe("signed acknowledgement of a roll-back", () => {
  it("shows both ends before anything changes, then leaves a signed entry and a signed file", async (t) => {
    const { directory, unlocker, reopen, newer } = await rolledBack(t);
    const vault = reopen();
    const before = readFileSync(join(directory, "audit.anchor"));
    const found = await vault.examine([unlocker]);
    assert.equal(vault.sealed, true);
    assert.deepEqual(readFileSync(join(directory, "audit.anchor")), before);
    assert.ok(typeof found.anchor !== "string");
    assert.deepEqual([found.anchor.seq, found.anchor.epoch], [newer.seq, newer.epoch]);
    assert.deepEqual([found.problem?.kind, found.problem?.firstBadSeq], ["rollback", found.mark.seq + 1]);
    await vault.unseal([unlocker], { acceptRollback: "ana", reason: "disk lost" });
    const [entry] = vault.listAudit({ limit: 2 });
    assert.equal(entry?.action, "vault.accept-rollback");
    assert.equal(entry.actor, "ana");
    const { detail } = entry;
    assert.deepEqual(
      [detail.reason, detail.database_seq, detail.database_epoch, detail.anchor_seq, detail.anchor_epoch],
      ["disk lost", found.mark.seq, found.mark.epoch, newer.seq, newer.epoch],
    );
    const [file = "", ...others] = files(directory);
    assert.deepEqual(others, []);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal((JSON.parse(readFileSync(file, "utf8")) as { signature: string }).signature, detail.signature);
    assert.equal(vault.verifyAudit().ok, true);
    vault.close();
    const again = reopen();
    await again.unseal([unlocker]);
    assert.equal(again.verifyAudit().ok, true);
  });

  it("names an acknowledgement file with a changed bit, and one that another vault signed", async (t) => {
    const { directory, unlocker, reopen } = await rolledBack(t);
    const vault = reopen();
    await vault.unseal([unlocker], { acceptRollback: "ana" });
    const [file = ""] = files(directory);
    const good = readFileSync(file);
    for (let at = 0; at < good.length - 1; at += 7) {
      const bad = Buffer.from(good);
      bad[at] = (bad[at] ?? 0) ^ 1;
      writeFileSync(file, bad);
      const result = vault.verifyAudit();
      assert.ok(!result.ok && /acknowledgements\/.* was edited/.test(result.problem), `byte ${at}`);
    }
    writeFileSync(file, good);
    assert.equal(vault.verifyAudit().ok, true);
    const other = await rolledBack(t);
    await other.reopen().unseal([other.unlocker], { acceptRollback: "eve" });
    writeFileSync(file, readFileSync(files(other.directory)[0] ?? ""));
    assert.equal(vault.verifyAudit().ok, false);
  });

  it("is not to be had for a database that is broken in itself", async (t) => {
    const edits = {
      "an edited row": "UPDATE credentials SET provider = 'alpaca' WHERE name = 'fmp-main'",
      "a deleted row": "DELETE FROM client_tokens",
      "an edited entry": "UPDATE audit SET actor = 'nobody' WHERE seq = 3",
    };
    for (const [what, sql] of Object.entries(edits)) {
      const { directory, unlocker, opened } = await rolledBack(t);
      editDatabase(directory, (db) => db.exec(sql));
      const vault = opened();
      await assert.rejects(
        vault.unseal([unlocker], { acceptRollback: "ana" }),
        (error) => error instanceof VaultTamperedError && error.kind !== "rollback",
        what,
      );
      assert.equal(vault.sealed, true);
      vault.close();
      assert.throws(() => files(directory), /ENOENT/, what);
    }
  });

  it("is not needed, and not recorded, when nothing is wrong", async (t) => {
    const { vault, directory, unlocker, reopen } = await newVault(t);
    note(vault, "policy:2");
    vault.close();
    const again = reopen();
    assert.equal((await again.examine([unlocker])).problem, null);
    await again.unseal([unlocker], { acceptRollback: "ana" });
    assert.deepEqual(
      again.listAudit({ limit: 2 }).map(({ action }) => action),
      ["policy.reload", "vault.unseal"],
    );
    assert.throws(() => files(directory), /ENOENT/);
  });

  it("says so when the file cannot be written; the entry is there by then", async (t) => {
    const { directory, unlocker, reopen } = await rolledBack(t);
    writeFileSync(join(directory, "acknowledgements"), "in the way");
    await assert.rejects(reopen().unseal([unlocker], { acceptRollback: "ana" }), /acknowledgements/);
    rmSync(join(directory, "acknowledgements"));
    mkdirSync(join(directory, "acknowledgements"));
    const again = reopen();
    await again.unseal([unlocker]);
    assert.equal(again.listAudit().filter(({ action }) => action === "vault.accept-rollback").length, 1);
    assert.equal(again.verifyAudit().ok, true);
  });
});
