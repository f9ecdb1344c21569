import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { VaultError } from "../../src/store/errors.ts";
import { editDatabase, newVault, START_MS } from "../support/vault-fixture.ts";

const NOW = START_MS + 1000;

describe("client tokens", () => {
  it("have the announced shape and name their client", async (t) => {
    const { vault } = await newVault(t);
    const { token, id } = vault.addClientToken("app", { label: "laptop" }, "ana");
    assert.match(token, /^skc_[a-z2-7]{10}_[A-Za-z0-9_-]{43}$/);
    assert.equal(token.slice(4, 14), id);
    assert.deepEqual(vault.loadTokenTable().verify(token, NOW), { client: "app", tokenId: id });
    const [listed] = vault.listClientTokens();
    assert.deepEqual(
      [listed?.client, listed?.label, listed?.expiresAt, listed?.revokedAt],
      ["app", "laptop", null, null],
    );
  });

  it("are refused when any character differs, is missing or is added", async (t) => {
    const { vault } = await newVault(t);
    const { token } = vault.addClientToken("app", {}, "ana");
    const table = vault.loadTokenTable();
    for (let at = 0; at < token.length; at++) {
      for (const other of ["A", "b", "_", "", "é"]) {
        const edited = token.slice(0, at) + other + token.slice(at + 1);
        if (edited !== token) assert.equal(table.verify(edited, NOW), null, edited);
      }
    }
    for (const text of ["", "skc_", `${token}x`, ` ${token}`, "x".repeat(10_000)])
      assert.equal(table.verify(text, NOW), null);
  });

  it("end at their expiry, to the millisecond", async (t) => {
    const { vault } = await newVault(t);
    const { token } = vault.addClientToken("app", { expiresAt: NOW }, "ana");
    const table = vault.loadTokenTable();
    assert.notEqual(table.verify(token, NOW - 1), null);
    assert.equal(table.verify(token, NOW), null);
  });

  it("are revoked one by one or all of a client, and stay listed", async (t) => {
    const { vault } = await newVault(t);
    const [one, two, other] = ["app", "app", "batch"].map((client) => vault.addClientToken(client, {}, "ana"));
    assert.ok(one && two && other);
    const alive = () => [one, two, other].map(({ token }) => vault.loadTokenTable().verify(token, NOW) !== null);
    assert.deepEqual(vault.revokeClientTokens(one.id, "ana"), [one.id]);
    assert.deepEqual(alive(), [false, true, true]);
    assert.deepEqual(vault.revokeClientTokens("app", "ana"), [two.id]);
    assert.deepEqual(alive(), [false, false, true]);
    assert.equal(vault.listClientTokens().filter((token) => token.revokedAt !== null).length, 2);
    assert.throws(
      () => vault.revokeClientTokens("nobody", "ana"),
      (error) => error instanceof VaultError && error.code === "not_found",
    );
  });

  it("are not taken from a row that somebody planted or changed", async (t) => {
    const { vault, directory } = await newVault(t);
    vault.addClientToken("app", {}, "ana");
    editDatabase(directory, (db) => db.exec("UPDATE client_tokens SET client = 'admin'"));
    assert.throws(() => vault.loadTokenTable(), /edited or planted/);
  });

  it("are refused for a client with an impossible name", async (t) => {
    const { vault } = await newVault(t);
    for (const name of ["", "A", "a b", "-a", "a".repeat(65)])
      assert.throws(() => vault.addClientToken(name, {}, "ana"), /client "/);
  });
});
