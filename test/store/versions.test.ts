import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import type SQLite from "better-sqlite3";
import { openVaultDatabase } from "../../src/store/database.ts";
import { VaultTamperedError } from "../../src/store/errors.ts";
import { type Keyring, openKeyring } from "../../src/store/keyring.ts";
import type { Vault } from "../../src/store/vault.ts";
import { openVersion, type VersionBinding } from "../../src/store/versions.ts";
import type { Unlocker } from "../../src/store/wrappers.ts";
import { tempDir } from "../support/temp-dir.ts";
import { fields, newCredential, newVault, refusedAs, reveal } from "../support/vault-fixture.ts";

function stages(vault: Vault, name: string): string[] {
  return vault.getCredential(name).versions.map((version) => version.stage);
}

describe("versions", () => {
  it("keep the old version as previous when a new one becomes current, and can go back", async (t) => {
    const { vault } = await newVault(t);
    const { id } = vault.addCredential(newCredential("a"), fields({ api_key: "one" }), "ana");
    vault.addVersion("a", fields({ api_key: "two" }), "pending", "ana");
    assert.deepEqual(stages(vault, "a"), ["current", "pending"]);
    vault.promote("a", 2, "ana");
    assert.deepEqual(stages(vault, "a"), ["previous", "current"]);
    vault.addVersion("a", fields({ api_key: "three" }), "current", "ana");
    assert.deepEqual(stages(vault, "a"), ["previous", "previous", "current"]);
    vault.promote("a", 1, "ana");
    assert.deepEqual(stages(vault, "a"), ["current", "previous", "previous"]);
    for (const [number, value] of [
      [1, "one"],
      [2, "two"],
      [3, "three"],
    ] as const) {
      assert.deepEqual(reveal(vault.openFields(id, number, "test")), { api_key: value });
    }
  });

  it("never use a revoked version again, but keep its row", async (t) => {
    const { vault } = await newVault(t);
    const { id } = vault.addCredential(newCredential("a"), fields({ api_key: "one" }), "ana");
    vault.revokeVersion("a", 1, "ana");
    assert.deepEqual(stages(vault, "a"), ["revoked"]);
    assert.throws(() => vault.openFields(id, 1, "test"), refusedAs("refused", /revoked/));
    assert.throws(() => vault.promote("a", 1, "ana"), refusedAs("refused", /revoked/));
    vault.addVersion("a", fields({ api_key: "two" }), "current", "ana");
    assert.deepEqual(stages(vault, "a"), ["revoked", "current"]);
  });

  it("binds the ciphertext itself, below the row MAC, to credential, version, category, provider and hosts", async (t) => {
    const { vault, directory, unlocker } = await newVault(t);
    const { id } = vault.addCredential(newCredential("a"), fields({ api_key: "one" }), "ana");
    vault.close();
    const { db, keys, close } = await rawAccess(t, directory, unlocker);
    const binding: VersionBinding = {
      credential: id,
      category: "market-data",
      provider: "fmp",
      hosts: ["financialmodelingprep.com"],
    };
    assert.deepEqual(reveal(openVersion(db, keys, binding, 1)), { api_key: "one" });
    const others: Partial<VersionBinding>[] = [
      { category: "trading" },
      { provider: "alpaca" },
      { hosts: ["evil.example"] },
      { hosts: [] },
      { hosts: ["financialmodelingprep.com", "evil.example"] },
    ];
    for (const other of others)
      assert.throws(() => openVersion(db, keys, { ...binding, ...other }, 1), VaultTamperedError);
    close();
  });
});

async function rawAccess(
  t: TestContext,
  directory: string,
  unlocker: Unlocker,
): Promise<{ db: SQLite.Database; keys: Keyring; close: () => void }> {
  const copy = tempDir(t);
  copyFileSync(join(directory, "vault.db"), join(copy, "vault.db"));
  const db = openVaultDatabase(join(copy, "vault.db"));
  const { keys } = await openKeyring(db, [unlocker]);
  return { db, keys, close: () => db.close() };
}
