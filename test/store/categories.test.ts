import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FIRST_CATEGORIES, openCategory } from "../../src/store/categories.ts";
import { openVaultDatabase } from "../../src/store/database.ts";
import { VaultTamperedError } from "../../src/store/errors.ts";
import { openKeyring } from "../../src/store/keyring.ts";
import { getRows, putRow, type Row } from "../../src/store/rows.ts";
import { newVault, refusedAs } from "../support/vault-fixture.ts";

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
    assert.throws(() => openCategory(db, keys, "trading", 1), refusedAs("refused", /trading is disabled/));
  });
});
