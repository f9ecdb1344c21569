import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fields, fill, newCredential, newVault, refusedAs, reveal, START_MS } from "../support/vault-fixture.ts";

describe("credentials", () => {
  it("come back as stored, after a restart too, in several fields and with any bytes", async (t) => {
    const { vault, reopen, unlocker } = await newVault(t);
    const values = { key_id: "PK-1", secret_key: 's\u0000\u00ff\n"§' };
    const added = vault.addCredential(newCredential("alpaca-main", { metadata: { desk: "a" } }), fields(values), "ana");
    assert.deepEqual(reveal(vault.openFields(added.id, 1, "test")), values);
    vault.close();
    const again = reopen();
    await again.unseal([unlocker]);
    assert.deepEqual(again.getCredential("alpaca-main"), added);
    assert.deepEqual(again.listCredentials(), [added]);
    assert.deepEqual(reveal(again.openFields(added.id, 1, "test")), values);
    assert.deepEqual(added.fields, ["key_id", "secret_key"]);
    assert.ok(added.createdAt > START_MS);
  });

  it("can be listed while sealed, and opened not", async (t) => {
    const { vault } = await newVault(t);
    fill(vault);
    vault.seal();
    assert.deepEqual(
      vault.listCredentials().map((credential) => credential.name),
      ["alpaca-7", "fmp-main", "fmp-spare"],
    );
    assert.throws(() => vault.openFields(vault.getCredential("fmp-main").id, 1, "test"), /sealed/);
  });

  it("do not open while disabled", async (t) => {
    const { vault } = await newVault(t);
    const { id } = vault.addCredential(newCredential("a"), fields({ api_key: "one" }), "ana");
    assert.equal(vault.setState("a", "disabled", "ana").state, "disabled");
    assert.throws(() => vault.openFields(id, 1, "test"), refusedAs("refused", /disabled/));
    vault.setState("a", "enabled", "ana");
    assert.deepEqual(reveal(vault.openFields(id, 1, "test")), { api_key: "one" });
  });

  it("are gone after removal, and a new one of the same name is another one", async (t) => {
    const { vault } = await newVault(t);
    const { id } = vault.addCredential(newCredential("a"), fields({ api_key: "one" }), "ana");
    vault.removeCredential("a", "ana");
    assert.throws(() => vault.getCredential("a"), refusedAs("not_found", /credential list/));
    assert.throws(() => vault.openFields(id, 1, "test"), refusedAs("not_found"));
    assert.notEqual(vault.addCredential(newCredential("a"), fields({ api_key: "two" }), "ana").id, id);
    assert.equal(vault.verifyAudit().ok, true);
  });

  it("show equal values by equal fingerprints, without showing the value", async (t) => {
    const { vault } = await newVault(t);
    const print = (name: string, value: string) =>
      vault.addCredential(newCredential(name), fields({ api_key: value }), "ana").versions[0]?.fingerprint ?? "";
    const first = print("a", "same");
    assert.match(first, /^[0-9a-f]{12}$/);
    assert.equal(print("b", "same"), first);
    assert.notEqual(print("c", "other"), first);
    const elsewhere = (await newVault(t)).vault.addCredential(newCredential("a"), fields({ api_key: "same" }), "ana");
    assert.notEqual(elsewhere.versions[0]?.fingerprint, first);
  });

  it("are found by provider and owning user", async (t) => {
    const { vault } = await newVault(t);
    fill(vault);
    assert.deepEqual(
      vault.findOwned("alpaca", "user-7").map((credential) => credential.name),
      ["alpaca-7"],
    );
    assert.deepEqual(vault.findOwned("alpaca", "user-8"), []);
    assert.deepEqual(vault.findOwned("fmp", "user-7"), []);
  });

  it("bring a new category with them", async (t) => {
    const { vault } = await newVault(t);
    const { id } = vault.addCredential(newCredential("a", { category: "crypto-data" }), fields({ k: "v" }), "ana");
    assert.deepEqual(reveal(vault.openFields(id, 1, "test")), { k: "v" });
    assert.equal(vault.listAudit().filter((entry) => entry.action === "category.add").length, 1);
  });

  it("are refused when malformed, and nothing is stored", async (t) => {
    const { vault } = await newVault(t);
    vault.addCredential(newCredential("taken"), fields({ k: "v" }), "ana");
    const before = vault.listAudit().length;
    const add = (extra: object, values: Record<string, string> = { k: "v" }) =>
      vault.addCredential(newCredential("a", extra), fields(values), "ana");
    assert.throws(() => add({ name: "taken" }), refusedAs("conflict", /"taken" exists/));
    assert.throws(() => add({ name: "Bad Name" }), refusedAs("invalid"));
    assert.throws(() => add({ category: "No!" }), refusedAs("invalid", /category/));
    assert.throws(() => add({ hosts: [] }), refusedAs("invalid", /hosts/));
    assert.throws(() => add({ hosts: ["API.example"] }), refusedAs("invalid", /API\.example/));
    assert.throws(() => add({ owner: { kind: "user", id: "" } }), refusedAs("invalid"));
    assert.throws(() => add({}, {}), refusedAs("invalid", /at least one field/));
    assert.throws(() => add({}, { k: "" }), refusedAs("invalid", /empty/));
    assert.throws(() => add({}, { k: "x".repeat(65_537) }), refusedAs("invalid", /64 KiB/));
    assert.throws(
      () => vault.addVersion("taken", fields({ other: "v" }), "current", "ana"),
      refusedAs("invalid", /fields k/),
    );
    assert.deepEqual([vault.listCredentials().length, vault.listAudit().length], [1, before]);
  });

  it("leave one audit entry per change and per opening, with actor, object and purpose", async (t) => {
    const { vault } = await newVault(t, { actor: "daemon" });
    const { id } = vault.addCredential(newCredential("a"), fields({ api_key: "one" }), "ana");
    vault.openFields(id, 1, "route fmp");
    vault.removeCredential("a", "ben");
    const entries = vault.listAudit({ limit: 3 }).map(({ actor, action, object }) => `${actor} ${action} ${object}`);
    assert.deepEqual(entries, [
      "ana credential.add credential:a",
      "daemon secret.open credential:a",
      "ben credential.remove credential:a",
    ]);
    assert.deepEqual(vault.listAudit({ limit: 2 })[0]?.detail, { purpose: "route fmp", version: 1 });
  });
});
