import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { VaultTamperedError } from "../../src/store/errors.ts";
import { editDatabase, newVault, secret } from "../support/vault-fixture.ts";

describe("sealed blobs", () => {
  it("come back after a restart, are replaced as a whole, and are null when never stored", async (t) => {
    const { vault, reopen, unlocker } = await newVault(t);
    assert.equal(vault.openSealed("ca", "start"), null);
    vault.putSealed("ca", secret("first"), "ana");
    vault.putSealed("ca", secret("second"), "ana");
    vault.close();
    const again = reopen();
    await again.unseal([unlocker]);
    assert.equal(
      again.openSealed("ca", "start")?.use((bytes) => bytes.toString()),
      "second",
    );
    assert.deepEqual(
      again.listAudit({ limit: 1 }).map(({ action, object }) => [action, object]),
      [["blob.open", "blob:ca"]],
    );
  });

  it("do not open under another name", async (t) => {
    const { vault, directory } = await newVault(t);
    vault.putSealed("ca", secret("one"), "ana");
    vault.putSealed("cb", secret("two"), "ana");
    editDatabase(directory, (db) => {
      const swap = db.prepare(
        "UPDATE sealed_blobs SET sealed = (SELECT sealed FROM sealed_blobs WHERE name = 'ca') WHERE name = 'cb'",
      );
      swap.run();
    });
    assert.throws(() => vault.openSealed("cb", "start"), VaultTamperedError);
  });
});
