import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Secret } from "../../src/secret.ts";
import { destroyCategory, rotateCategory } from "../../src/store/categories.ts";
import { randomBytes } from "../../src/store/crypto.ts";
import { RootRotatedError, VaultSealedError, VaultTamperedError } from "../../src/store/errors.ts";
import type { Vault } from "../../src/store/vault.ts";
import { type Unlocker, wrapRootKey } from "../../src/store/wrappers.ts";
import { editDatabase, FAST_PASSPHRASE, fields, fill, newVault, passphrase, reveal } from "../support/vault-fixture.ts";

function newRoot(): Secret {
  return Secret.adopt(randomBytes(32));
}

async function wrapped(root: Secret, vault: Vault, ...unlockers: Unlocker[]) {
  const options = { cost: FAST_PASSPHRASE, now: 1 };
  return await Promise.all(unlockers.map((unlocker) => wrapRootKey(root, unlocker, vault.id, options)));
}

async function rotate(vault: Vault, ...unlockers: Unlocker[]): Promise<Secret> {
  const root = newRoot();
  vault.rotateRoot(root, await wrapped(root, vault, ...unlockers), "ana");
  return root;
}

/** Everything that a vault tells, secrets included. */
function contents(vault: Vault) {
  const credentials = vault.listCredentials();
  const values = credentials.flatMap(({ id, name, versions }) =>
    versions
      .filter(({ stage }) => stage !== "revoked")
      .map(({ number }) => [name, number, reveal(vault.openFields(id, number, "test"))]),
  );
  const withoutFingerprints = credentials.map((one) => ({
    ...one,
    versions: one.versions.map(({ fingerprint: _, ...version }) => version),
  }));
  const blob = vault.openSealed("ca", "test")?.use((bytes) => bytes.toString());
  return { withoutFingerprints, values, blob, tokens: vault.listClientTokens() };
}

describe("root rotation", () => {
  it("keeps every credential, token, blob and audit entry, several times over", async (t) => {
    const { vault, unlocker, reopen } = await newVault(t);
    fill(vault);
    const before = contents(vault);
    for (let round = 0; round < 3; round++) {
      (await rotate(vault, unlocker, passphrase("correct horse"))).wipe();
      assert.deepEqual(contents(vault), before);
    }
    const result = vault.verifyAudit();
    assert.equal(result.ok, true, JSON.stringify(result));
    const again = reopen();
    await again.unseal([passphrase("correct horse")]);
    assert.deepEqual(contents(again), before);
    assert.equal(again.verifyAudit().ok, true);
    again.addVersion("fmp-main", fields({ api_key: "three" }), "current", "ana");
    assert.equal(vault.getCredential("fmp-main").versions.length, 3);
  });

  it("gives equal values equal fingerprints under the new key, and other ones than before", async (t) => {
    const { vault, unlocker } = await newVault(t);
    fill(vault);
    const before = vault.getCredential("fmp-main").versions[0]?.fingerprint;
    (await rotate(vault, unlocker)).wipe();
    vault.addVersion("fmp-main", fields({ api_key: "fmp-key-one" }), "pending", "ana");
    const [first, , third] = vault.getCredential("fmp-main").versions;
    assert.notEqual(first?.fingerprint, before);
    assert.equal(third?.fingerprint, first?.fingerprint);
  });

  it("shuts out the old root key and every wrapper that was not wrapped anew", async (t) => {
    const { vault, unlocker, reopen } = await newVault(t);
    await vault.addWrapper(passphrase("correct horse"), [unlocker], "ana");
    const { root: old } = await vault.openRoot([unlocker]);
    (await rotate(vault, unlocker)).wipe();
    await assert.rejects(reopen().unseal([passphrase("correct horse")]), VaultSealedError);
    await assert.rejects(async () => await reopen().unsealWith(old, "an old copy"), VaultTamperedError);
    old.wipe();
  });

  it("goes on in another process without a pause when that was told, and asks it to unseal again when not", async (t) => {
    const { vault, unlocker, reopen } = await newVault(t);
    fill(vault);
    const [told, untold] = [reopen(), reopen()];
    for (const handle of [told, untold]) await handle.unseal([unlocker]);
    const root = newRoot();
    told.expectRoot(root);
    const before = contents(told);
    vault.rotateRoot(root, await wrapped(root, vault, unlocker), "ana");
    root.wipe();
    assert.deepEqual(contents(told), before);
    told.addClientToken("app", {}, "bob");
    assert.equal(told.verifyAudit().ok, true);
    assert.throws(() => untold.listCredentials(), RootRotatedError);
    await untold.unseal([unlocker]);
    assert.equal(untold.listCredentials().length, 3);
  });

  it("an announced root key that never comes changes nothing", async (t) => {
    const { vault, unlocker } = await newVault(t);
    fill(vault);
    const root = newRoot();
    vault.expectRoot(root);
    vault.addClientToken("app", {}, "ana");
    (await rotate(vault, unlocker)).wipe();
    vault.addClientToken("app", {}, "ana");
    assert.equal(vault.verifyAudit().ok, true);
    root.wipe();
  });

  it("works with retired and destroyed categories, and never brings back what was destroyed", async (t) => {
    const { vault, unlocker } = await newVault(t);
    fill(vault);
    vault.write((transaction) => rotateCategory(transaction, "trading", "ana"));
    vault.write((transaction) => destroyCategory(transaction, "market-data", "ana"));
    (await rotate(vault, unlocker)).wipe();
    const { id } = vault.getCredential("alpaca-7");
    assert.deepEqual(reveal(vault.openFields(id, 1, "test")), { key_id: "PK1", secret_key: "s1" });
    assert.throws(() => vault.openFields(vault.getCredential("fmp-main").id, 1, "test"), /was destroyed/);
    assert.equal(vault.verifyAudit().ok, true);
  });

  it("an anchor of the old root key still counts, and an edit of the past is still found", async (t) => {
    const { vault, unlocker, directory, reopen } = await newVault(t);
    fill(vault);
    copyFileSync(join(directory, "audit.anchor"), join(directory, "saved"));
    (await rotate(vault, unlocker)).wipe();
    // As after a crash between the commit and the writing of the anchor.
    copyFileSync(join(directory, "saved"), join(directory, "audit.anchor"));
    const again = reopen();
    await again.unseal([unlocker]);
    assert.equal(again.verifyAudit().ok, true);
    editDatabase(directory, (db) => db.exec("UPDATE audit SET actor = 'eve' WHERE seq = 3"));
    const result = again.verifyAudit();
    assert.deepEqual([result.ok, "firstBadSeq" in result ? result.firstBadSeq : null], [false, 3]);
  });

  it("refuses a rotation without a wrapper, and changes nothing", async (t) => {
    const { vault, unlocker, reopen } = await newVault(t);
    fill(vault);
    const root = newRoot();
    assert.throws(() => vault.rotateRoot(root, [], "ana"), /without a wrapper nothing would open the vault/);
    root.wipe();
    await reopen().unseal([unlocker]);
    assert.equal(vault.verifyAudit().ok, true);
  });

  it("a row planted with the old root key afterwards is refused", async (t) => {
    const { vault, unlocker, directory } = await newVault(t);
    fill(vault);
    let planted: unknown[] = [];
    editDatabase(directory, (db) => {
      planted = db.prepare("SELECT * FROM client_tokens").raw().all() as unknown[];
    });
    (await rotate(vault, unlocker)).wipe();
    editDatabase(directory, (db) => {
      const row = planted[0] as unknown[];
      db.prepare("DELETE FROM client_tokens WHERE id = ?").run(row[0]);
      db.prepare(`INSERT INTO client_tokens VALUES (${row.map(() => "?").join(",")})`).run(...row);
    });
    assert.throws(() => vault.listClientTokens(), VaultTamperedError);
  });
});
