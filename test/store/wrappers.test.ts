import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { createVault } from "../../src/store/create-vault.ts";
import { wrapperWarnings } from "../../src/store/wrappers.ts";
import { tempDir } from "../support/temp-dir.ts";
import { editDatabase, FAST_PASSPHRASE, passphrase, sealedBecause } from "../support/vault-fixture.ts";

describe("passphrase wrapper", () => {
  it("unseals with a passphrase and refuses a wrong one", async (t) => {
    const directory = join(tempDir(t), "data");
    const vault = await createVault(directory, passphrase("correct horse"), { cost: FAST_PASSPHRASE });
    t.after(() => vault.close());
    vault.seal();
    await assert.rejects(vault.unseal([passphrase("correct horsf")]), sealedBecause("wrong_passphrase"));
    assert.equal(vault.sealed, true);
    assert.deepEqual(await vault.unseal([passphrase("correct horse")]), { by: "passphrase" });
  });

  it("refuses a passphrase that is too short before anything is made", async (t) => {
    const directory = join(tempDir(t), "data");
    await assert.rejects(createVault(directory, passphrase("short"), { cost: FAST_PASSPHRASE }), /less than 8 bytes/);
    assert.deepEqual(readdirSync(directory), []);
  });

  it("does not let a stanza ask for an absurd amount of memory", async (t) => {
    const directory = join(tempDir(t), "data");
    const vault = await createVault(directory, passphrase("correct horse"), { cost: FAST_PASSPHRASE });
    t.after(() => vault.close());
    vault.seal();
    editDatabase(directory, (db) => db.exec("UPDATE wrappers SET params = replace(params, '8192', '999999999999')"));
    await assert.rejects(vault.unseal([passphrase("correct horse")]), sealedBecause("malformed"));
  });
});

describe("warnings about the ways to open a vault", () => {
  const of = (...kinds: string[]) => wrapperWarnings(kinds.map((kind) => ({ kind })));

  it("warns loudly when only remote wrappers open it", () => {
    for (const kind of ["aws-kms", "vault-transit", "exec"]) {
      assert.match(of(kind).join(), new RegExp(`only one remote wrapper \\(${kind}\\) can open this vault: without`));
    }
    assert.match(of("aws-kms", "exec").join(), /only remote wrappers \(aws-kms, exec\)/);
    assert.match(of("systemd").join(), /may be bound to this machine/);
  });

  it("is content with a way that needs nobody else", () => {
    for (const kind of ["file", "passphrase", "shares"]) {
      assert.deepEqual(of(kind), []);
      assert.deepEqual(of("aws-kms", kind), []);
    }
  });
});
