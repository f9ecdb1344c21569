import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { createVault } from "../../src/store/create-vault.ts";
import { testOnlyHeap } from "../../src/store/crypto.ts";
import { VaultError } from "../../src/store/errors.ts";
import { openVault } from "../../src/store/vault.ts";
import { findCanary, makeCanary } from "../support/canary.ts";
import { tempDir } from "../support/temp-dir.ts";
import { fields, newCredential, newVault, secret } from "../support/vault-fixture.ts";

describe("vault", () => {
  it("is made unsealed, in a directory of its own with mode 0700, and opened sealed", async (t) => {
    const directory = join(tempDir(t), "deep", "data");
    const vault = await createVault(directory, { kind: "file", path: join(directory, "root.key") });
    t.after(() => vault.close());
    assert.equal(vault.sealed, false);
    assert.match(vault.id, /^[0-9a-f]{32}$/);
    assert.equal(statSync(directory).mode & 0o777, 0o700);
    const again = openVault(directory);
    t.after(() => again.close());
    assert.deepEqual([again.sealed, again.id], [true, vault.id]);
  });

  it("says how to make one where there is none", (t) => {
    const missing = (error: unknown) =>
      error instanceof VaultError && error.code === "missing" && /sidekey init/.test(error.message);
    assert.throws(() => openVault(tempDir(t)), missing);
  });

  it("leaves no opened key, and no plaintext on the way in, in libsodium's memory (G2)", async (t) => {
    const { vault } = await newVault(t);
    for (const length of [0, 1, 17, 40]) {
      const canary = makeCanary();
      const value = canary.text + "x".repeat(length);
      const { id } = vault.addCredential(newCredential(`c${length}`), fields({ api_key: value }), "ana");
      for (const opened of vault.openFields(id, 1, "test").values()) opened.wipe();
      vault.putSealed("ca", secret(value), "ana");
      vault.openSealed("ca", "test")?.wipe();
      assert.deepEqual(findCanary([testOnlyHeap()], canary), [], `length ${value.length}`);
    }
  });

  it("keeps neither the key file's key nor anything unwrapped with it in libsodium's memory", async (t) => {
    const { vault, directory, unlocker } = await newVault(t);
    vault.seal();
    await vault.unseal([unlocker]);
    const key = Buffer.from(readFileSync(join(directory, "root.key"), "utf8").split("\n")[1] ?? "", "base64");
    for (let at = 0; at < key.length; at += 8) assert.equal(testOnlyHeap().includes(key.subarray(at, at + 8)), false);
  });

  it("opens what it has and stays usable after being sealed and unsealed many times", async (t) => {
    const { vault, unlocker } = await newVault(t);
    const { id } = vault.addCredential(newCredential("a"), fields({ k: "v" }), "ana");
    for (let i = 0; i < 5; i++) {
      vault.seal();
      assert.throws(() => vault.openFields(id, 1, "test"), /unseal it first/);
      await vault.unseal([unlocker]);
      vault.openFields(id, 1, "test").get("k")?.wipe();
    }
    assert.equal(vault.verifyAudit().ok, true);
  });
});
