import assert from "node:assert/strict";
import { mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { DatabaseError, openVaultDatabase } from "../../src/store/database.ts";
import { openVault } from "../../src/store/vault.ts";
import { fields, fill, newCredential, newVault, reveal } from "../support/vault-fixture.ts";

describe("ledger", () => {
  it("shows a change of another process, and no other, through dataVersion", async (t) => {
    const { vault, reopen, unlocker } = await newVault(t);
    const other = reopen();
    await other.unseal([unlocker]);
    const { id } = vault.addCredential(newCredential("a"), fields({ k: "v" }), "ana");
    const before = other.dataVersion();
    assert.equal(other.dataVersion(), before);
    assert.equal(other.listCredentials().length, 1);
    vault.setState("a", "disabled", "ana");
    const after = other.dataVersion();
    assert.notEqual(after, before);
    assert.equal(other.getCredential("a").state, "disabled");
    other.setState("a", "enabled", "ana");
    assert.notEqual(other.dataVersion(), after);
    const own = other.dataVersion();
    other.openFields(id, 1, "test");
    assert.equal(other.dataVersion(), own, "opening a secret changes no row");
  });

  it("changes nothing when the disk is full, and goes on once there is room", async (t) => {
    const { vault, directory, unlocker, options } = await newVault(t);
    fill(vault);
    vault.close();
    let limit = (pages: number): void => void pages;
    const openDatabase = (path: string) => {
      const db = openVaultDatabase(path);
      limit = (pages) => void db.pragma(`max_page_count = ${pages}`);
      return db;
    };
    const full = openVault(directory, { ...options, openDatabase });
    t.after(() => full.close());
    await full.unseal([unlocker]);
    limit(1);
    const added = { api_key: "x".repeat(60_000) };
    const isFull = (error: unknown) =>
      error instanceof DatabaseError && error.code === "full" && /nothing was changed/.test(error.message);
    assert.throws(() => full.addCredential(newCredential("big"), fields(added), "ana"), isFull);
    assert.equal(full.listCredentials().length, 3);
    assert.equal(full.verifyAudit().ok, true);
    limit(1_000_000);
    full.addCredential(newCredential("big"), fields(added), "ana");
    assert.equal(full.verifyAudit().ok, true);
  });

  it("opens no secret when the audit entry cannot be written", async (t) => {
    const { vault, directory, unlocker, options } = await newVault(t);
    fill(vault);
    const { id } = vault.getCredential("fmp-main");
    vault.close();
    let freeze = (on: boolean): void => void on;
    const openDatabase = (path: string) => {
      const db = openVaultDatabase(path);
      freeze = (on) => void db.pragma(`query_only = ${on ? "ON" : "OFF"}`);
      return db;
    };
    const blocked = openVault(directory, { ...options, openDatabase });
    t.after(() => blocked.close());
    await blocked.unseal([unlocker]);
    freeze(true);
    assert.throws(
      () => blocked.openFields(id, 2, "test"),
      (error) => error instanceof DatabaseError && error.code === "read_only",
    );
    assert.throws(() => blocked.openSealed("ca", "test"), DatabaseError);
    freeze(false);
    assert.deepEqual(reveal(blocked.openFields(id, 2, "test")), { api_key: "fmp-key-two" });
  });

  it("lets no change run further ahead of an anchor that cannot be written", async (t) => {
    const { vault, directory } = await newVault(t);
    const anchor = `${join(directory, "audit.anchor")}.${process.pid}.tmp`;
    mkdirSync(anchor);
    vault.addClientToken("app", {}, "ana");
    assert.throws(() => vault.addClientToken("app", {}, "ana"), DatabaseError);
    assert.equal(vault.listClientTokens().length, 1);
    rmdirSync(anchor);
    vault.addClientToken("app", {}, "ana");
    assert.equal(vault.verifyAudit().ok, true);
  });
});
