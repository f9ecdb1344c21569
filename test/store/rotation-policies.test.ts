import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { VaultTamperedError } from "../../src/store/errors.ts";
import {
  getRotationPolicy,
  listRotationPolicies,
  NO_ROTATION_POLICY,
  rotationDueAt,
  setRotationPolicy,
} from "../../src/store/rotation-policies.ts";
import { editDatabase, fields, newCredential, newVault, refusedAs } from "../support/vault-fixture.ts";

const DAY_MS = 86_400_000;

describe("a rotation policy", () => {
  it("is none at first, is changed bit by bit, and is audited", async (t) => {
    const { vault } = await newVault(t);
    const { id } = vault.addCredential(newCredential("a"), fields({ api_key: "one" }), "ana");
    const set = (changes: object) => vault.write((transaction) => setRotationPolicy(transaction, "a", changes, "ana"));
    const get = () => vault.read((view) => getRotationPolicy(view, id));
    assert.deepEqual(get(), NO_ROTATION_POLICY);
    set({ maxAgeMs: 90 * DAY_MS });
    set({ steps: [10, 100], graceMs: 0 });
    const automatic = { rotator: "openai", admin: "openai-admin", settings: { project: "p1" } };
    set({ automatic });
    const expected = { maxAgeMs: 90 * DAY_MS, steps: [10, 100], stepMs: null, graceMs: 0, automatic };
    assert.deepEqual(get(), expected);
    assert.deepEqual([...vault.read(listRotationPolicies)], [[id, expected]]);
    set({ automatic: null, maxAgeMs: "none" });
    assert.deepEqual([get().automatic, get().maxAgeMs], [null, "none"]);
    const last = vault.listAudit({ limit: 1 })[0];
    assert.equal(`${last?.action} ${last?.object}`, "rotation.policy credential:a");
  });

  it("refuses an age that makes no sense, and a credential that is not there", async (t) => {
    const { vault } = await newVault(t);
    vault.addCredential(newCredential("a"), fields({ api_key: "one" }), "ana");
    for (const maxAgeMs of [0, DAY_MS - 1, 3651 * DAY_MS, Number.NaN]) {
      const set = () => vault.write((transaction) => setRotationPolicy(transaction, "a", { maxAgeMs }, "ana"));
      assert.throws(set, refusedAs("invalid", /1 to 3650 days/));
    }
    const nobody = () => vault.write((transaction) => setRotationPolicy(transaction, "b", {}, "ana"));
    assert.throws(nobody, refusedAs("not_found"));
  });

  it("is due by the age of the current version, by its own age before its provider's", async (t) => {
    const { vault } = await newVault(t);
    vault.addCredential(newCredential("a"), fields({ api_key: "one" }), "ana");
    const credential = vault.addVersion("a", fields({ api_key: "two" }), "current", "ana");
    const made = credential.versions[1]?.createdAt ?? 0;
    const due = (maxAgeMs: number | "none" | null, provider: number | null) =>
      rotationDueAt(credential, { ...NO_ROTATION_POLICY, maxAgeMs }, provider);
    assert.equal(due(5 * DAY_MS, 9 * DAY_MS), made + 5 * DAY_MS);
    assert.equal(due(null, 9 * DAY_MS), made + 9 * DAY_MS);
    assert.equal(due("none", 9 * DAY_MS), null);
    assert.equal(due(null, null), null);
    const revoked = vault.revokeVersion("a", 2, "ana");
    assert.equal(rotationDueAt(revoked, NO_ROTATION_POLICY, DAY_MS), null);
  });

  it("is refused when it was edited", async (t) => {
    const { vault, directory } = await newVault(t);
    const { id } = vault.addCredential(newCredential("a"), fields({ api_key: "one" }), "ana");
    vault.write((transaction) => setRotationPolicy(transaction, "a", { maxAgeMs: 9 * DAY_MS }, "ana"));
    editDatabase(directory, (db) => db.exec("UPDATE rotation_policies SET policy = '{}'"));
    assert.throws(() => vault.read((view) => getRotationPolicy(view, id)), VaultTamperedError);
  });
});
