import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { listCategories, rotateCategory, setCategoryState } from "../../src/store/categories.ts";
import { countToRewrap, needsRewrap, rewrapSome } from "../../src/store/rewrap.ts";
import type { Vault } from "../../src/store/vault.ts";
import { editDatabase, fields, newCredential, newVault, refusedAs, reveal } from "../support/vault-fixture.ts";

function retired(vault: Vault): readonly number[] {
  return vault.read(listCategories).find(({ name }) => name === "market-data")?.retired ?? [];
}

function rotate(vault: Vault): void {
  vault.write((transaction) => rotateCategory(transaction, "market-data", "ana"));
}

async function withCredentials(t: Parameters<typeof newVault>[0], count: number) {
  const fixture = await newVault(t);
  const ids = Array.from({ length: count }, (_, at) => {
    const added = newCredential(`c${at}`);
    return fixture.vault.addCredential(added, fields({ api_key: `value ${at}` }), "ana").id;
  });
  return { ...fixture, ids };
}

describe("wrapping data keys anew", () => {
  it("goes on in steps, by any process, and drops the old key pair at the end", async (t) => {
    const { vault, ids, reopen, unlocker, directory } = await withCredentials(t, 7);
    rotate(vault);
    rotate(vault);
    assert.equal(vault.read(countToRewrap), 7);
    const steps = [vault.write((transaction) => rewrapSome(transaction, 3, "ana"))];
    assert.deepEqual(retired(vault), [1, 2]);
    const other = reopen();
    await other.unseal([unlocker]);
    while (steps.at(-1)?.more) steps.push(other.write((transaction) => rewrapSome(transaction, 3, "bob")));
    assert.deepEqual(
      steps.map(({ rewrapped }) => rewrapped),
      [3, 3, 1],
    );
    assert.deepEqual([retired(vault), vault.read(needsRewrap)], [[], false]);
    for (const [at, id] of ids.entries()) {
      assert.deepEqual(reveal(vault.openFields(id, 1, "test")), { api_key: `value ${at}` });
    }
    editDatabase(directory, (db) => {
      assert.deepEqual(db.prepare("SELECT DISTINCT generation FROM versions").pluck().all(), [3]);
      assert.equal(db.prepare("SELECT count(*) FROM category_generations").pluck().get(), 0);
    });
  });

  it("leaves revoked versions behind, so that nothing can open them afterwards", async (t) => {
    const { vault, ids, directory } = await withCredentials(t, 1);
    vault.addVersion("c0", fields({ api_key: "two" }), "current", "ana");
    vault.revokeVersion("c0", 1, "ana");
    rotate(vault);
    const { rewrapped, more } = vault.write((transaction) => rewrapSome(transaction, 10, "ana"));
    assert.deepEqual([rewrapped, more], [1, false]);
    assert.deepEqual(reveal(vault.openFields(ids[0] ?? "", 2, "test")), { api_key: "two" });
    assert.throws(() => vault.openFields(ids[0] ?? "", 1, "test"), refusedAs("refused", /revoked/));
    editDatabase(directory, (db) => {
      const generations = db.prepare("SELECT generation FROM versions ORDER BY number").pluck().all();
      assert.deepEqual(generations, [1, 2]);
    });
  });

  it("waits while the category is sealed", async (t) => {
    const { vault } = await withCredentials(t, 1);
    rotate(vault);
    vault.write((transaction) => setCategoryState(transaction, "market-data", "disabled", "ana"));
    assert.equal(vault.read(needsRewrap), false);
    vault.write((transaction) => setCategoryState(transaction, "market-data", "enabled", "ana"));
    assert.equal(vault.read(needsRewrap), true);
  });
});
