import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { restore, shredDue, softRemove } from "../../src/store/credential-removal.ts";
import { getRotation, putRotation } from "../../src/store/rotations.ts";
import type { Vault } from "../../src/store/vault.ts";
import { editDatabase, fields, newCredential, newVault, refusedAs, reveal } from "../support/vault-fixture.ts";

const DAY_MS = 86_400_000;

function names(vault: Vault): string[] {
  return vault.listCredentials().map(({ name }) => name);
}

function remove(vault: Vault, name: string, keepMs = 30 * DAY_MS): void {
  vault.write((transaction) => softRemove(transaction, name, keepMs, "ana"));
}

describe("a removed credential", () => {
  it("cannot be found, opened, changed or made again, and keeps its name", async (t) => {
    const { vault } = await newVault(t);
    const owner = { kind: "user" as const, id: "u7" };
    const { id } = vault.addCredential(newCredential("a", { owner }), fields({ api_key: "one" }), "ana");
    vault.addCredential(newCredential("b"), fields({ api_key: "two" }), "ana");
    remove(vault, "a");
    assert.deepEqual(names(vault), ["b"]);
    assert.deepEqual(vault.findOwned("fmp", "u7"), []);
    assert.throws(() => vault.openFields(id, 1, "test"), refusedAs("not_found"));
    for (const change of [
      () => vault.getCredential("a"),
      () => vault.setState("a", "enabled", "ana"),
      () => vault.promote("a", 1, "ana"),
      () => vault.revokeVersion("a", 1, "ana"),
      () => vault.addVersion("a", fields({ api_key: "x" }), "current", "ana"),
      () => remove(vault, "a"),
    ]) {
      assert.throws(change, refusedAs("not_found"));
    }
    assert.throws(
      () => vault.addCredential(newCredential("a"), fields({ api_key: "x" }), "ana"),
      refusedAs("conflict", /was removed and can still be restored/),
    );
    assert.deepEqual(
      vault.listRemoved().map(({ credential, removedAt, shredAt }) => [credential.name, shredAt - removedAt]),
      [["a", 30 * DAY_MS]],
    );
    assert.equal(vault.verifyAudit().ok, true);
  });

  it("comes back as it was, with its versions and its rotation", async (t) => {
    const { vault, reopen, unlocker } = await newVault(t);
    const { id } = vault.addCredential(newCredential("a"), fields({ api_key: "one" }), "ana");
    const rotation = { phase: "done", from: null, to: 1, steps: [100] } as never;
    vault.write((transaction) => {
      putRotation(transaction, id, { ...(rotation as object), automatic: null } as never);
      transaction.note({ actor: "ana", action: "rotation.begin", object: "credential:a", detail: {} });
    });
    const before = vault.getCredential("a");
    remove(vault, "a");
    const other = reopen();
    await other.unseal([unlocker]);
    other.write((transaction) => restore(transaction, "a", "ben"));
    assert.deepEqual(vault.getCredential("a"), before);
    assert.deepEqual(reveal(vault.openFields(id, 1, "test")), { api_key: "one" });
    assert.equal(vault.read((view) => getRotation(view, id))?.phase, "done");
    assert.deepEqual(vault.listRemoved(), []);
    assert.throws(
      () => vault.write((transaction) => restore(transaction, "a", "ben")),
      refusedAs("not_found", /--removed/),
    );
  });

  it("is shredded when its time has come, not before, and then its name is free and its ciphertext gone", async (t) => {
    const { vault, directory } = await newVault(t);
    const { id } = vault.addCredential(newCredential("a"), fields({ api_key: "one" }), "ana");
    let sealed: Buffer = Buffer.alloc(0);
    editDatabase(directory, (db) => {
      sealed = (db.prepare("SELECT sealed FROM versions WHERE credential = ?").get(id) as { sealed: Buffer }).sealed;
    });
    const inFiles = (): boolean =>
      ["vault.db", "vault.db-wal"].some((file) => readFileSync(join(directory, file)).includes(sealed.subarray(0, 48)));
    remove(vault, "a", DAY_MS);
    const { shredAt } = vault.listRemoved()[0] ?? { shredAt: 0 };
    assert.deepEqual(shredDue(vault, shredAt - 1, "sidekey"), []);
    assert.ok(inFiles());
    assert.deepEqual(shredDue(vault, shredAt, "sidekey"), ["a"]);
    assert.ok(!inFiles(), "the ciphertext is still in the files");
    assert.deepEqual(vault.listRemoved(), []);
    assert.deepEqual(shredDue(vault, shredAt, "sidekey"), []);
    assert.equal(vault.listAudit({ limit: 1 })[0]?.action, "credential.shred");
    assert.notEqual(vault.addCredential(newCredential("a"), fields({ api_key: "two" }), "ana").id, id);
    assert.equal(vault.verifyAudit().ok, true);
  });

  it("can be shredded at once, removed before or not", async (t) => {
    const { vault } = await newVault(t);
    for (const removedBefore of [true, false]) {
      vault.addCredential(newCredential("a"), fields({ api_key: "one" }), "ana");
      if (removedBefore) remove(vault, "a");
      vault.removeCredential("a", "ana");
      assert.deepEqual([...names(vault), ...vault.listRemoved()], []);
    }
    assert.throws(() => vault.removeCredential("a", "ana"), refusedAs("not_found"));
  });

  it("stays removed against somebody who deletes the row or moves the date", async (t) => {
    const { vault, directory } = await newVault(t);
    vault.addCredential(newCredential("a"), fields({ api_key: "one" }), "ana");
    remove(vault, "a");
    editDatabase(directory, (db) => db.exec("DELETE FROM removals"));
    assert.throws(() => vault.listCredentials(), /rows were deleted/);
  });

  it("is not kept for longer than ten years", async (t) => {
    const { vault } = await newVault(t);
    vault.addCredential(newCredential("a"), fields({ api_key: "one" }), "ana");
    for (const keepMs of [-1, 3651 * DAY_MS, Number.NaN]) {
      assert.throws(() => remove(vault, "a", keepMs), refusedAs("invalid"));
    }
    assert.deepEqual(names(vault), ["a"]);
  });
});
