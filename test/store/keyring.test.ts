import assert from "node:assert/strict";
import { existsSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { createVault } from "../../src/store/create-vault.ts";
import { randomBytes } from "../../src/store/crypto.ts";
import { VaultError, VaultSealedError, VaultTamperedError } from "../../src/store/errors.ts";
import type { Unlocker } from "../../src/store/wrappers.ts";
import { tempDir } from "../support/temp-dir.ts";
import { editDatabase, newVault, passphrase, sealedBecause } from "../support/vault-fixture.ts";

describe("keyring", () => {
  it("unseals with the key file, and says which unlocker fitted", async (t) => {
    const { reopen, unlocker } = await newVault(t);
    const again = reopen();
    assert.equal(again.sealed, true);
    const { by } = await again.unseal([passphrase("nobody set one"), unlocker]);
    assert.match(by, /^file .*root\.key$/);
    assert.equal(again.sealed, false);
  });

  it("adds a second way to unseal, which then works alone, and removes the first", async (t) => {
    const { vault, unlocker, reopen } = await newVault(t);
    await assert.rejects(vault.addWrapper(passphrase("correct horse"), [], "ana"), sealedBecause());
    await vault.addWrapper(passphrase("correct horse"), [unlocker], "ana");
    const [file] = vault.listWrappers().filter((wrapper) => wrapper.kind === "file");
    vault.removeWrapper(file?.id ?? "", "ana");
    const again = reopen();
    await assert.rejects(again.unseal([unlocker]), sealedBecause("no_wrapper"));
    await again.unseal([passphrase("correct horse")]);
    assert.equal(again.verifyAudit().ok, true);
    const refused = (error: unknown) => error instanceof VaultError && error.code === "refused";
    assert.throws(() => again.removeWrapper(again.listWrappers()[0]?.id ?? "", "ana"), refused);
  });

  it("refuses every edit of a wrapper stanza or of the header made without the root key", async (t) => {
    const { vault, directory, unlocker, reopen } = await newVault(t);
    await vault.addWrapper(passphrase("correct horse"), [unlocker], "ana");
    const edits = [
      "UPDATE wrappers SET params = replace(params, '\"passes\":1', '\"passes\":2')",
      "UPDATE wrappers SET params = params || ' ' WHERE kind = 'passphrase'",
      "UPDATE wrappers SET created_at = created_at + 1 WHERE kind = 'file'",
      "UPDATE wrappers SET wrapped = zeroblob(72) WHERE kind = 'passphrase'",
      "UPDATE wrappers SET id = 'ffff' WHERE kind = 'passphrase'",
      "DELETE FROM wrappers WHERE kind = 'passphrase'",
      "INSERT INTO wrappers SELECT 'planted', kind, params, wrapped, created_at FROM wrappers WHERE kind = 'file'",
      "UPDATE vault SET epoch = epoch - 1",
      "UPDATE vault SET created_at = 0",
      "UPDATE vault SET vault = 'ffffffffffffffffffffffffffffffff'",
      "UPDATE vault SET format = 2",
      "DELETE FROM vault",
    ];
    for (const sql of edits) {
      const saved = snapshot(directory);
      editDatabase(directory, (db) => db.exec(sql));
      await assert.rejects(
        async () => await reopen().unseal([unlocker]),
        (error) => error instanceof VaultTamperedError || error instanceof VaultSealedError,
        sql,
      );
      restore(directory, saved);
    }
    await reopen().unseal([unlocker]);
  });

  it("wipes the root key's subkeys when it is sealed", async (t) => {
    const { vault } = await newVault(t);
    vault.seal();
    assert.throws(() => vault.loadTokenTable(), VaultSealedError);
    assert.throws(() => vault.openSealed("ca", "test"), VaultSealedError);
    assert.throws(() => vault.openFields(randomBytes(8).toString("hex"), 1, "test"), VaultSealedError);
    assert.throws(() => vault.audit({ actor: "a", action: "b", object: "c", detail: {} }), VaultSealedError);
  });

  it("never overwrites a vault, a key file, or a log that lost its vault", async (t) => {
    const { directory, unlocker, vault } = await newVault(t);
    const exists = (error: unknown) => error instanceof VaultError && error.code === "exists";
    await assert.rejects(createVault(directory, unlocker), exists);
    vault.close();
    renameSync(join(directory, "vault.db"), join(directory, "moved.db"));
    writeFileSync(join(directory, "vault.db-wal"), "old log", { mode: 0o600 });
    await assert.rejects(createVault(directory, unlocker), exists);
    assert.equal(existsSync(join(directory, "vault.db")), false);
  });

  it("gives one vault to two processes that create it at once", async (t) => {
    const directory = join(tempDir(t), "data");
    const unlocker: Unlocker = { kind: "file", path: join(directory, "root.key") };
    const results = await Promise.allSettled([createVault(directory, unlocker), createVault(directory, unlocker)]);
    const made = results.filter((result) => result.status === "fulfilled").map((result) => result.value);
    t.after(() => {
      for (const vault of made) vault.close();
    });
    assert.equal(made.length, 1);
    assert.equal(made[0]?.verifyAudit().ok, true);
    assert.deepEqual(
      readdirSync(directory).filter((name) => /new|tmp/.test(name)),
      [],
    );
  });
});

type Tables = { wrappers: Record<string, unknown>[]; vault: Record<string, unknown>[] };

function snapshot(directory: string): Tables {
  const tables: Tables = { wrappers: [], vault: [] };
  editDatabase(directory, (db) => {
    tables.wrappers = db.prepare("SELECT * FROM wrappers").all() as Record<string, unknown>[];
    tables.vault = db.prepare("SELECT * FROM vault").all() as Record<string, unknown>[];
  });
  return tables;
}

function restore(directory: string, tables: Tables): void {
  editDatabase(directory, (db) => {
    for (const [table, rows] of Object.entries(tables)) {
      db.exec(`DELETE FROM ${table}`);
      for (const row of rows) {
        const names = Object.keys(row);
        db.prepare(`INSERT INTO ${table} VALUES (${names.map((name) => `@${name}`).join(", ")})`).run(row);
      }
    }
  });
}
