import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { beginAutomaticRotation, isUndoing } from "../../src/store/automatic-start.ts";
import { putRotation, type Rotation } from "../../src/store/rotations.ts";
import type { Vault } from "../../src/store/vault.ts";
import { fields, newCredential, newVault, refusedAs } from "../support/vault-fixture.ts";

const WANTED = {
  policy: { rotator: "openai", admin: "admin", settings: { project: "proj_abc" } },
  pace: { steps: [5, 100], stepMs: 1000, graceMs: 2000 },
};

const begin = (vault: Vault): Rotation => vault.write((tx) => beginAutomaticRotation(tx, "main", WANTED, "ana"));

function put(vault: Vault, rotation: Rotation): void {
  const { id } = vault.getCredential("main");
  vault.write((tx) => {
    putRotation(tx, id, rotation);
    tx.note({ actor: "test", action: "rotation.test", object: "credential:main", detail: {} });
  });
}

describe("the beginning of an automatic rotation", () => {
  test("writes down a name that no other rotation has, and which version it replaces", async (t) => {
    const { vault } = await newVault(t);
    vault.addCredential(newCredential("main"), fields({ api_key: "one" }), "ana");
    const first = begin(vault);
    assert.deepEqual([first.phase, first.from, first.to, first.graceMs], ["creating", 1, null, 2000]);
    assert.match(first.automatic?.token ?? "", /^sidekey-main-[0-9a-f]{12}$/);
    put(vault, { ...first, phase: "failed" });
    assert.notEqual(begin(vault).automatic?.token, first.automatic?.token);
    assert.ok(vault.listAudit().some(({ action, actor }) => action === "rotation.begin-automatic" && actor === "ana"));
  });

  test("knows the id of the key in use when the last rotation made it, and only then", async (t) => {
    const { vault } = await newVault(t);
    vault.addCredential(newCredential("main"), fields({ api_key: "one" }), "ana");
    const first = begin(vault);
    const automatic = first.automatic && { ...first.automatic, newKey: "svc-1" };
    put(vault, { ...first, phase: "done", to: 1, automatic });
    assert.equal(begin(vault).automatic?.oldKey, "svc-1");
    put(vault, { ...first, phase: "done", to: 1, automatic });
    vault.addVersion("main", fields({ api_key: "two" }), "current", "ana");
    assert.equal(begin(vault).automatic?.oldKey, null);
  });

  test("is refused while another is under way, a failed one is being undone, or the credential is disabled", async (t) => {
    const { vault } = await newVault(t);
    vault.addCredential(newCredential("main"), fields({ api_key: "one" }), "ana");
    const first = begin(vault);
    assert.throws(() => begin(vault), refusedAs("conflict", /is being rotated already \(creating\)/));
    const failed: Rotation = {
      ...first,
      phase: "failed",
      automatic: first.automatic && { ...first.automatic, newKey: "k" },
    };
    put(vault, failed);
    assert.equal(isUndoing(failed), true);
    assert.throws(() => begin(vault), refusedAs("conflict", /the key k of the failed rotation is still being ended/));
    put(vault, { ...first, phase: "done" });
    vault.setState("main", "disabled", "ana");
    assert.throws(() => begin(vault), refusedAs("refused", /is disabled/));
    assert.throws(
      () => vault.write((tx) => beginAutomaticRotation(tx, "nobody", WANTED, "ana")),
      refusedAs("not_found"),
    );
  });
});
