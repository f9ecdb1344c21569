import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Secret } from "../../src/secret.ts";
import { softRemove } from "../../src/store/credential-removal.ts";
import { listCredentials } from "../../src/store/credentials.ts";
import { HONEYTOKEN_METADATA } from "../../src/store/honeytoken.ts";
import { fingerprintFields, loadKnownValues } from "../../src/store/known-values.ts";
import { replaceRoot } from "../../src/store/replace-root.ts";
import type { Vault } from "../../src/store/vault.ts";
import { fields, newCredential, newVault } from "../support/vault-fixture.ts";

async function filled(t: TestContext) {
  const fixture = await newVault(t);
  const { vault } = fixture;
  vault.addCredential(newCredential("main"), fields({ api_key: "value-one" }), "ana");
  vault.addVersion("main", fields({ api_key: "value-two" }), "current", "ana");
  vault.addVersion("main", fields({ api_key: "value-three" }), "pending", "ana");
  vault.revokeVersion("main", 1, "ana");
  vault.addCredential(newCredential("pair"), fields({ key_id: "id", secret_key: "secret" }), "ana");
  return fixture;
}

function whose(vault: Vault, values: Record<string, string>) {
  const known = vault.read((view) => loadKnownValues(view, listCredentials(view)));
  const print = vault.read((view) => fingerprintFields(view, fields(values)));
  const found = print === null ? null : known?.find(print);
  return found ? `${found.credential} ${found.version} ${found.stage}` : null;
}

test("says whose value it is, of every version, without opening any", async (t) => {
  const { vault } = await filled(t);
  const before = vault.listAudit().length;
  assert.equal(whose(vault, { api_key: "value-one" }), "main 1 revoked");
  assert.equal(whose(vault, { api_key: "value-two" }), "main 2 current");
  assert.equal(whose(vault, { api_key: "value-three" }), "main 3 pending");
  assert.equal(whose(vault, { key_id: "id", secret_key: "secret" }), "pair 1 current");
  for (const values of [
    { api_key: "value-one " },
    { token: "value-one" },
    { secret_key: "secret", key_id: "id" },
    { key_id: "secret", secret_key: "id" },
  ]) {
    assert.equal(whose(vault, values as Record<string, string>), null, JSON.stringify(values));
  }
  assert.equal(vault.listAudit().length, before);
});

test("a removed credential is still known, and a shredded one is not", async (t) => {
  const { vault } = await filled(t);
  vault.write((transaction) => softRemove(transaction, "main", 1e9, "ana"));
  assert.equal(whose(vault, { api_key: "value-two" }), "main 2 removed");
  vault.removeCredential("main", "ana");
  assert.equal(whose(vault, { api_key: "value-two" }), null);
});

test("of equal values the one that means most is told: a honeytoken, then one in use, then a revoked one", async (t) => {
  const { vault } = await filled(t);
  vault.addCredential(newCredential("second"), fields({ api_key: "value-one" }), "ana");
  assert.equal(whose(vault, { api_key: "value-one" }), "second 1 current");
  vault.addCredential(
    newCredential("bait", { metadata: HONEYTOKEN_METADATA }),
    fields({ api_key: "value-one" }),
    "ana",
  );
  assert.equal(whose(vault, { api_key: "value-one" }), "bait 1 current");
  const known = vault.read((view) => loadKnownValues(view, listCredentials(view)));
  const print = vault.read((view) => fingerprintFields(view, fields({ api_key: "value-one" }))) ?? "";
  assert.equal(known?.find(print)?.honeytoken, true);
  vault.write((transaction) => softRemove(transaction, "bait", 1e9, "ana"));
  vault.write((transaction) => softRemove(transaction, "second", 1e9, "ana"));
  vault.removeCredential("main", "ana");
  const left = vault.read((view) => loadKnownValues(view, listCredentials(view)))?.find(print);
  assert.deepEqual([left?.stage, left?.honeytoken], ["removed", false], "a bait that was taken away traps nobody");
});

test("lists every set of fields once, the shortest first", async (t) => {
  const { vault } = await filled(t);
  const known = vault.read((view) => loadKnownValues(view, listCredentials(view)));
  assert.deepEqual(known?.layouts, [["api_key"], ["key_id", "secret_key"]]);
  assert.equal(known?.size, 4);
});

test("knows nothing while the vault is sealed", async (t) => {
  const { vault } = await filled(t);
  vault.seal();
  assert.equal(
    vault.read((view) => loadKnownValues(view, listCredentials(view))),
    null,
  );
  assert.equal(
    vault.read((view) => fingerprintFields(view, fields({ api_key: "value-one" }))),
    null,
  );
});

test("a new root key gives every value another fingerprint, by which it is still known", async (t) => {
  const { vault, unlocker } = await filled(t);
  const print = (): string | null => vault.read((view) => fingerprintFields(view, fields({ api_key: "value-one" })));
  const before = print();
  const announce = async (): Promise<void> => {};
  await replaceRoot(vault, { unlockers: [unlocker], drop: [], actor: "ana", announce });
  assert.notEqual(print(), before);
  assert.equal(whose(vault, { api_key: "value-one" }), "main 1 revoked");
  assert.equal(whose(vault, { api_key: "value-two" }), "main 2 current");
});

test("the fields stay the caller's to wipe", async (t) => {
  const { vault } = await filled(t);
  const value = Secret.copyOf(Buffer.from("value-one"));
  vault.read((view) => fingerprintFields(view, new Map([["api_key", value]])));
  assert.equal(value.wiped, false);
  assert.equal(value.length, 9);
});
