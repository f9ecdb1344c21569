import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { VaultTamperedError } from "../../src/store/errors.ts";
import { eachRow, getRows, type Row, rowMac, storedRowMac } from "../../src/store/rows.ts";
import { cellsOf, flip, prepared, tablesOf } from "../support/tampering.ts";
import { editDatabase, fields, fill, newCredential, newVault } from "../support/vault-fixture.ts";

describe("G8 bound", () => {
  it("finds a changed bit in every column of every row", async (t) => {
    const { directory, attack } = await prepared(t);
    for (const [table, rows] of tablesOf(directory)) assert.ok(rows > 0, `${table} has no row to change`);
    assert.equal(await attack(() => undefined), null);
    // The audit's rows are alike; audit.test.ts has the attacks on the chain.
    const cells = cellsOf(directory).filter(({ table, row }) => table !== "audit" || row % 8 === 0);
    for (const cell of cells) {
      const found = await attack((db) => flip(db, cell, 0));
      assert.notEqual(found, null, `${cell.table}[${cell.row}].${cell.column} was changed and nobody noticed`);
    }
  });

  it("finds a changed bit at any byte of any column of any row (property)", async (t) => {
    const { directory, attack } = await prepared(t);
    const cells = cellsOf(directory);
    const anyCell = fc.constantFrom(...cells);
    const property = fc.asyncProperty(anyCell, fc.nat(4096), async (cell, at) => {
      return (await attack((db) => flip(db, cell, at))) !== null;
    });
    await fc.assert(property, { numRuns: 60 });
  });

  const swaps: Record<string, string> = {
    "two credentials' values":
      "CREATE TEMP TABLE v AS SELECT * FROM versions WHERE stage = 'current'; UPDATE versions SET (sealed, sealed_key) = (SELECT sealed, sealed_key FROM v WHERE v.credential <> versions.credential LIMIT 1) WHERE stage = 'current'",
    "one ciphertext into another row":
      "UPDATE versions SET sealed = (SELECT sealed FROM versions WHERE stage = 'previous'), sealed_key = (SELECT sealed_key FROM versions WHERE stage = 'previous') WHERE stage = 'current'",
    "two version numbers": "UPDATE versions SET number = 9 WHERE number = 2",
    "the stage of an old version": "UPDATE versions SET stage = 'pending' WHERE stage = 'previous'",
    "the provider": "UPDATE credentials SET provider = 'alpaca' WHERE name = 'fmp-main'",
    "the allowed hosts": "UPDATE credentials SET hosts = '[\"evil.example\"]' WHERE name = 'fmp-main'",
    "the category": "UPDATE credentials SET category = 'trading' WHERE name = 'fmp-main'",
    "the owner": "UPDATE credentials SET owner_id = 'user-8' WHERE owner_kind = 'user'",
    "the name": "UPDATE credentials SET name = 'fmp-2' WHERE name = 'fmp-main'",
    "two categories' keys":
      "UPDATE categories SET public_key = (SELECT public_key FROM categories WHERE name = 'trading'), private_key = (SELECT private_key FROM categories WHERE name = 'trading') WHERE name = 'market-data'",
    "a revoked token back to life": "UPDATE client_tokens SET revoked_at = NULL",
    "a token's client": "UPDATE client_tokens SET client = 'admin'",
    "a planted token":
      "INSERT INTO client_tokens SELECT 'aaaaaaaaaa', client, label, digest, created_at, expires_at, revoked_at, mac FROM client_tokens LIMIT 1",
    "a planted version":
      "INSERT INTO versions SELECT credential, 7, 'pending', generation, fingerprint, sealed_key, sealed, created_at, mac FROM versions WHERE stage = 'previous'",
    "a planted credential":
      "INSERT INTO credentials SELECT 'ff', 'other', provider, environment, category, owner_kind, owner_id, hosts, fields, state, expires_at, metadata, created_at, mac FROM credentials WHERE name = 'fmp-main'",
    "a deleted token": "DELETE FROM client_tokens WHERE revoked_at IS NOT NULL",
    "a deleted version": "DELETE FROM versions WHERE stage = 'previous'",
    "a deleted credential": "DELETE FROM credentials WHERE name = 'fmp-spare'",
    "every credential deleted": "DELETE FROM versions; DELETE FROM credentials",
  };

  for (const [what, sql] of Object.entries(swaps)) {
    it(`refuses or reports: ${what}`, async (t) => {
      const { attack } = await prepared(t);
      let changed = 0;
      const found = await attack((db) => {
        const before = db.prepare("SELECT total_changes()").pluck().get() as number;
        db.exec(sql);
        changed = (db.prepare("SELECT total_changes()").pluck().get() as number) - before;
      });
      assert.ok(changed > 0, "the attack did nothing");
      assert.notEqual(found, null);
    });
  }

  it("notices a row put back to its older, genuinely MACed content", async (t) => {
    const { vault, directory, unlocker, reopen } = await newVault(t);
    const { id } = vault.addClientToken("app", {}, "ana");
    let old: unknown;
    editDatabase(directory, (db) => {
      old = db.prepare("SELECT mac FROM client_tokens").pluck().get();
    });
    vault.revokeClientTokens(id, "ana");
    editDatabase(directory, (db) => db.prepare("UPDATE client_tokens SET revoked_at = NULL, mac = ?").run(old));
    assert.throws(() => vault.loadTokenTable(), /put back to an older content/);
    await assert.rejects(reopen().unseal([unlocker]), VaultTamperedError);
  });
});

describe("stored rows", () => {
  it("have the same MAC whichever way its text is made", async (t) => {
    const { vault } = await newVault(t);
    fill(vault);
    vault.addCredential(
      newCredential("odd", { metadata: { note: 'quote " and \u2028 and \n and \u00e9' } }),
      fields({ api_key: "value" }),
      "ana",
    );
    vault.read(({ db, keys }) => {
      assert.ok(keys);
      for (const table of ["categories", "credentials", "versions", "client_tokens", "sealed_blobs"] as const) {
        const rows: Row[] = [...eachRow<Row>(db, keys, table)];
        assert.ok(rows.length > 0, table);
        assert.deepEqual(rows, getRows<Row>(db, keys, table));
        for (const row of rows) {
          assert.deepEqual(storedRowMac(keys, table, row), rowMac(keys, table, row));
          assert.deepEqual(row.mac, rowMac(keys, table, row));
        }
      }
    });
  });

  it("are refused one by one when they were edited", async (t) => {
    const { vault, directory } = await newVault(t);
    fill(vault);
    editDatabase(directory, (db) => void db.exec("UPDATE versions SET stage = 'pending' WHERE number = 2"));
    vault.read(({ db, keys }) => {
      assert.throws(() => [...eachRow(db, keys, "versions")], VaultTamperedError);
      assert.equal([...eachRow(db, null, "versions")].length, 4);
    });
  });
});
