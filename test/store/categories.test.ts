import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  destroyCategory,
  FIRST_CATEGORIES,
  listCategories,
  openCategory,
  rotateCategory,
  setCategoryState,
} from "../../src/store/categories.ts";
import { openVaultDatabase } from "../../src/store/database.ts";
import { VaultTamperedError } from "../../src/store/errors.ts";
import { openKeyring } from "../../src/store/keyring.ts";
import { getRows, putRow, type Row } from "../../src/store/rows.ts";
import { fields, newCredential, newVault, refusedAs, reveal } from "../support/vault-fixture.ts";

describe("categories", () => {
  it("each have a key pair of their own from the start, and none is used once disabled", async (t) => {
    const { vault, directory, unlocker } = await newVault(t);
    vault.close();
    const db = openVaultDatabase(`${directory}/vault.db`);
    t.after(() => db.close());
    const { keys } = await openKeyring(db, [unlocker]);
    const pairs = FIRST_CATEGORIES.map((name) => openCategory(db, keys, name, 1));
    const halves = pairs.flatMap(({ publicKey, privateKey }) => [
      publicKey,
      privateKey.use((bytes) => Buffer.from(bytes)),
    ]);
    assert.equal(new Set(halves.map((half) => half.toString("hex"))).size, 2 * FIRST_CATEGORIES.length);
    assert.throws(() => openCategory(db, keys, "trading", 2), VaultTamperedError);
    assert.throws(() => openCategory(db, keys, "unknown", 1), VaultTamperedError);
    const [trading] = getRows<Row>(db, keys, "categories", { name: "trading" });
    putRow(db, keys, "categories", { ...trading, state: "disabled" });
    assert.throws(
      () => openCategory(db, keys, "trading", 1),
      refusedAs("refused", /trading is sealed; unseal it with/),
    );
  });

  it("can be sealed alone: nothing of it opens and nothing is added until it is unsealed, the others go on", async (t) => {
    const { vault } = await newVault(t);
    const trading = { provider: "alpaca", category: "trading" };
    const data = vault.addCredential(newCredential("data"), fields({ api_key: "d" }), "ana");
    const trade = vault.addCredential(newCredential("trade", trading), fields({ api_key: "t" }), "ana");
    vault.write((transaction) => setCategoryState(transaction, "trading", "disabled", "ana"));
    assert.throws(() => vault.openFields(trade.id, 1, "test"), refusedAs("refused", /category trading is sealed/));
    const more = newCredential("more", trading);
    assert.throws(() => vault.addCredential(more, fields({ api_key: "m" }), "ana"), refusedAs("refused", /sealed/));
    const rotate = () => vault.write((transaction) => rotateCategory(transaction, "trading", "ana"));
    assert.throws(rotate, refusedAs("refused", /sealed/));
    assert.deepEqual(reveal(vault.openFields(data.id, 1, "test")), { api_key: "d" });
    vault.write((transaction) => setCategoryState(transaction, "trading", "enabled", "ana"));
    assert.deepEqual(reveal(vault.openFields(trade.id, 1, "test")), { api_key: "t" });
  });

  it("seal new values to a new key pair after a rotation, while those of before still open", async (t) => {
    const { vault } = await newVault(t);
    const before = vault.addCredential(newCredential("before"), fields({ api_key: "b" }), "ana");
    assert.equal(
      vault.write((transaction) => rotateCategory(transaction, "market-data", "ana")),
      2,
    );
    const after = vault.addCredential(newCredential("after"), fields({ api_key: "a" }), "ana");
    assert.deepEqual(reveal(vault.openFields(before.id, 1, "test")), { api_key: "b" });
    assert.deepEqual(reveal(vault.openFields(after.id, 1, "test")), { api_key: "a" });
    const shown = vault.read(listCategories).find(({ name }) => name === "market-data");
    assert.deepEqual([shown?.generation, shown?.retired], [2, [1]]);
    assert.equal(vault.verifyAudit().ok, true);
  });

  it("once destroyed open nothing for ever, and begin anew only for new values", async (t) => {
    const { vault, reopen, unlocker } = await newVault(t);
    const lost = vault.addCredential(newCredential("lost"), fields({ api_key: "l" }), "ana");
    vault.write((transaction) => rotateCategory(transaction, "market-data", "ana"));
    const newer = vault.addCredential(newCredential("newer"), fields({ api_key: "n" }), "ana");
    vault.write((transaction) => destroyCategory(transaction, "market-data", "ana"));
    for (const { id } of [lost, newer]) {
      assert.throws(() => vault.openFields(id, 1, "test"), refusedAs("refused", /market-data was destroyed/));
    }
    const unseal = () => vault.write((transaction) => setCategoryState(transaction, "market-data", "enabled", "ana"));
    assert.throws(unseal, refusedAs("refused", /was destroyed/));
    vault.write((transaction) => rotateCategory(transaction, "market-data", "ana"));
    const fresh = vault.addCredential(newCredential("fresh"), fields({ api_key: "f" }), "ana");
    const again = reopen();
    await again.unseal([unlocker]);
    assert.deepEqual(reveal(again.openFields(fresh.id, 1, "test")), { api_key: "f" });
    for (const { id } of [lost, newer]) {
      assert.throws(() => again.openFields(id, 1, "test"), refusedAs("refused", /generation \d was destroyed/));
    }
    assert.equal(again.verifyAudit().ok, true);
  });
});
