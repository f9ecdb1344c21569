import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SubmissionError, VaultSealedError } from "../../src/store/errors.ts";
import { exportPublicKeys, parsePublicKeys } from "../../src/store/public-keys.ts";
import { getRows, putRow, type Row } from "../../src/store/rows.ts";
import { editDatabase, newVault } from "../support/vault-fixture.ts";

const refused = (words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof SubmissionError, String(error));
  assert.equal(error.code, "bad_public_keys");
  assert.match(error.message, words);
  return true;
};

describe("the public key file", () => {
  it("names the vault and each category's key once, and survives another system's line ends", async (t) => {
    const { vault } = await newVault(t);
    const text = vault.read(exportPublicKeys);
    const read = parsePublicKeys(text);
    assert.equal(read.vault, vault.id);
    assert.deepEqual([...read.keys.keys()], ["ai", "demo", "market-data", "trading"]);
    const rows = vault.read(({ db, keys }) => getRows<Row>(db, keys, "categories"));
    for (const row of rows) {
      const key = read.keys.get(String(row.name));
      assert.deepEqual([key?.vault, key?.generation, key?.publicKey], [vault.id, 1, row.public_key]);
    }
    assert.deepEqual(parsePublicKeys(` \r\n${text.replaceAll("\n", "\r\n")}\n\n`), read);
  });

  it("is refused after any change of a bit", async (t) => {
    const { vault } = await newVault(t);
    const good = Buffer.from(vault.read(exportPublicKeys));
    for (let bit = 0; bit < good.length * 8; bit++) {
      const bad = Buffer.from(good);
      bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.throws(() => parsePublicKeys(bad.toString("latin1")), refused(/./), `bit ${bit}`);
    }
  });

  it("says whether it is none, damaged or of a newer sidekey", async (t) => {
    const { vault } = await newVault(t);
    const text = vault.read(exportPublicKeys);
    assert.throws(() => parsePublicKeys(""), refused(/is no public key file/));
    assert.throws(() => parsePublicKeys(text.slice(0, -40)), refused(/is damaged/));
    assert.throws(() => parsePublicKeys(text.replace(/^key: ai.*\n/m, "")), refused(/is damaged/));
    assert.throws(() => parsePublicKeys(text.replace("format: 1", "format: 2")), refused(/has format 2.*upgrade/));
  });

  it("leaves destroyed categories out, and is not made from rows that nobody verified", async (t) => {
    const { vault, directory, reopen, unlocker } = await newVault(t);
    vault.write(({ db, keys, note }) => {
      const [row] = getRows<Row>(db, keys, "categories", { name: "demo" });
      putRow(db, keys, "categories", { ...row, state: "destroyed" });
      note({ actor: "ana", action: "category.destroy", object: "category:demo", detail: {} });
    });
    assert.deepEqual([...parsePublicKeys(vault.read(exportPublicKeys)).keys.keys()], ["ai", "market-data", "trading"]);
    const other = reopen();
    assert.throws(() => other.read(exportPublicKeys), VaultSealedError);
    vault.close();
    editDatabase(directory, (db) => db.prepare("UPDATE categories SET public_key = ?").run(Buffer.alloc(32, 9)));
    await other.unseal([unlocker]);
    assert.throws(() => other.read(exportPublicKeys), /edited or planted/);
  });
});
