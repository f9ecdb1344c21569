import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import {
  beginRotation,
  type NewRotation,
  promote,
  rollBack,
  rotateAtOnce,
  sendToRotation,
} from "../../src/store/credential-rotation.ts";
import { revokeVersion } from "../../src/store/credentials.ts";
import { VaultError } from "../../src/store/errors.ts";
import { getRotation, type Rotation } from "../../src/store/rotations.ts";
import type { Vault } from "../../src/store/vault.ts";
import { fields, newCredential, newVault, refusedAs, reveal } from "../support/vault-fixture.ts";

const PACE = { steps: [50, 100], stepMs: 0, graceMs: 0 };
const WANTED: NewRotation = { pace: PACE, validate: true };
const TIME = { kind: "time", users: 0, settleMs: 0 } as const;

interface Scene {
  readonly vault: Vault;
  readonly id: string;
  begin(wanted?: Partial<NewRotation>): Rotation;
  rotation(): Rotation | null;
  stages(): string;
  actions(): string[];
}

async function scene(t: TestContext): Promise<Scene> {
  const { vault } = await newVault(t);
  const { id } = vault.addCredential(newCredential("a"), fields({ api_key: "one" }), "ana");
  return {
    vault,
    id,
    begin: (wanted = {}) =>
      vault.write(
        (transaction) =>
          beginRotation(transaction, "a", { ...WANTED, ...wanted, fields: fields({ api_key: "two" }) }, "ana").rotation,
      ),
    rotation: () => vault.read((view) => getRotation(view, id)),
    stages: () =>
      vault
        .getCredential("a")
        .versions.map(({ stage }) => stage)
        .join(" "),
    actions: () =>
      vault
        .listAudit()
        .map(({ action }) => action)
        .filter((action) => action.startsWith("rotation.")),
  };
}

describe("a credential's rotation", () => {
  it("begins with a pending version, ends with the old one revoked, and leaves an audit entry for each step", async (t) => {
    const { vault, id, begin, rotation, stages, actions } = await scene(t);
    assert.equal(begin().phase, "testing");
    assert.equal(stages(), "current pending");
    sendToRotation(vault, id, { kind: "tested", version: 2, meaning: "valid", detail: "200" }, "sidekey");
    assert.equal(`${rotation()?.phase} ${stages()}`, "ramping current pending");
    sendToRotation(vault, id, TIME, "sidekey");
    assert.equal(`${rotation()?.phase} ${stages()}`, "grace previous current");
    sendToRotation(vault, id, TIME, "sidekey");
    assert.equal(`${rotation()?.phase} ${stages()}`, "done revoked current");
    assert.deepEqual(actions(), ["rotation.begin", "rotation.step", "rotation.promote", "rotation.finish"]);
    assert.equal(vault.verifyAudit().ok, true);
    assert.deepEqual(reveal(vault.openFields(id, 2, "test")), { api_key: "two" });
  });

  it("writes nothing for an event that changes nothing, or without a rotation", async (t) => {
    const { vault, id, begin } = await scene(t);
    const before = vault.listAudit().length;
    assert.equal(sendToRotation(vault, id, TIME, "sidekey"), null);
    assert.equal(vault.listAudit().length, before);
    begin();
    const begun = vault.listAudit().length;
    assert.equal(sendToRotation(vault, id, TIME, "sidekey"), null);
    assert.equal(vault.listAudit().length, begun);
  });

  it("is alone: a second one, another current version and a promotion past it are refused until it ends", async (t) => {
    const { vault, begin, stages } = await scene(t);
    vault.addVersion("a", fields({ api_key: "spare" }), "pending", "ana");
    begin();
    assert.throws(() => begin(), refusedAs("conflict", /is being rotated \(testing\)/));
    assert.throws(() => vault.addVersion("a", fields({ api_key: "x" }), "current", "ana"), refusedAs("conflict"));
    assert.throws(() => vault.promote("a", 2, "ana"), refusedAs("conflict"));
    assert.equal(stages(), "current pending pending");
    assert.deepEqual(vault.getCredential("a").versions.length, 3, "a refused value is not kept");
  });

  it("is refused for a disabled credential and for a pace that makes no sense, and nothing is stored", async (t) => {
    const { vault, begin } = await scene(t);
    for (const steps of [[], [5], [100, 5], [5, 5, 100], [0, 100], [5, 101], [5.5, 100]]) {
      assert.throws(() => begin({ pace: { ...PACE, steps } }), refusedAs("invalid", /end with 100/), String(steps));
    }
    assert.throws(() => begin({ pace: { ...PACE, stepMs: -1 } }), refusedAs("invalid"));
    assert.throws(() => begin({ pace: { ...PACE, graceMs: 1e12 } }), refusedAs("invalid"));
    vault.setState("a", "disabled", "ana");
    assert.throws(() => begin(), refusedAs("refused", /disabled/));
    assert.equal(vault.getCredential("a").versions.length, 1);
  });

  it("that is not to be validated begins with its first step, and with a single step is switched at once", async (t) => {
    const { begin, stages } = await scene(t);
    assert.equal(begin({ validate: false, pace: { ...PACE, steps: [100] } }).phase, "grace");
    assert.equal(stages(), "previous current");
  });

  it("can be promoted to its end and rolled back from there, by the versions' numbers too", async (t) => {
    const { vault, begin, rotation, stages } = await scene(t);
    begin();
    vault.promote("a", 2, "ana");
    assert.equal(`${rotation()?.phase} ${stages()}`, "grace previous current");
    assert.throws(() => vault.promote("a", 2, "ana"), refusedAs("refused", /while its rotation is grace/));
    vault.promote("a", 1, "ana");
    assert.equal(`${rotation()?.phase} ${stages()}`, "failed current pending");
    assert.equal(rotation()?.problem, "rolled back by ana");
    assert.throws(
      () => vault.write((transaction) => rollBack(transaction, "a", "ana")),
      refusedAs("refused", /no rotation/),
    );
    vault.promote("a", 2, "ana");
    assert.equal(stages(), "previous current", "without a rotation versions are promoted as ever");
  });

  it("rolls back in one step while it ramps", async (t) => {
    const { vault, begin, rotation, stages } = await scene(t);
    begin({ validate: false });
    vault.write((transaction) => rollBack(transaction, "a", "ana"));
    assert.equal(`${rotation()?.phase} ${stages()}`, "failed current pending");
  });

  it("follows when one of its versions is revoked", async (t) => {
    for (const [number, expected] of [
      [1, "done revoked current"],
      [2, "failed current revoked"],
    ] as const) {
      const { vault, begin, rotation, stages } = await scene(t);
      begin({ validate: false });
      vault.revokeVersion("a", number, "ana");
      assert.equal(`${rotation()?.phase} ${stages()}`, expected);
    }
  });

  it("never makes a version current that was revoked behind its back", async (t) => {
    const { vault, id, begin, rotation, stages } = await scene(t);
    begin({ validate: false });
    vault.write((transaction) => revokeVersion(transaction, "a", 2, "ana"));
    sendToRotation(vault, id, TIME, "sidekey");
    assert.equal(`${rotation()?.phase} ${stages()}`, "failed current revoked");
  });

  it("at once stores, switches and revokes in one transaction, also in the middle of another rotation", async (t) => {
    const { vault, id, begin, rotation, stages, actions } = await scene(t);
    begin({ validate: false });
    const before = vault.listAudit().length;
    const done = vault.write((transaction) => rotateAtOnce(transaction, "a", fields({ api_key: "three" }), "ana"));
    assert.deepEqual(done.revoked, [1, 2]);
    assert.equal(`${rotation()?.phase} ${stages()}`, "done revoked revoked current");
    assert.equal(rotation()?.from, 1);
    assert.deepEqual(reveal(vault.openFields(id, 3, "test")), { api_key: "three" });
    for (const number of [1, 2]) assert.throws(() => vault.openFields(id, number, "test"), refusedAs("refused"));
    assert.equal(actions().at(-1), "rotation.at-once");
    assert.ok(vault.listAudit().length > before);
    assert.throws(
      () => vault.write((transaction) => rotateAtOnce(transaction, "a", fields({ other: "x" }), "ana")),
      (error) => error instanceof VaultError && error.code === "invalid",
    );
    assert.equal(stages(), "revoked revoked current");
  });

  it("to a key that the credential has already is refused, and nothing is kept of it", async (t) => {
    const { vault, begin, stages } = await scene(t);
    vault.addVersion("a", fields({ api_key: "two" }), "pending", "ana");
    vault.revokeVersion("a", 2, "ana");
    assert.throws(() => begin(), refusedAs("refused", /the key of version 2 of "a" \(revoked\)/));
    assert.throws(
      () => vault.write((transaction) => rotateAtOnce(transaction, "a", fields({ api_key: "one" }), "ana")),
      refusedAs("refused", /the key of version 1 of "a" \(current\); make a new one/),
    );
    assert.equal(stages(), "current revoked");
  });

  it("at once leaves a pending version alone that belongs to no rotation", async (t) => {
    const { vault, stages } = await scene(t);
    vault.addVersion("a", fields({ api_key: "spare" }), "pending", "ana");
    vault.write((transaction) => rotateAtOnce(transaction, "a", fields({ api_key: "three" }), "ana"));
    assert.equal(stages(), "revoked pending current");
  });

  it("gives a credential without any version in use its first one", async (t) => {
    const { vault, begin, rotation, stages } = await scene(t);
    vault.revokeVersion("a", 1, "ana");
    assert.equal(begin({ validate: false }).phase, "done");
    assert.equal(`${rotation()?.from} ${stages()}`, "null revoked current");
  });

  it("is unknown for what does not exist", async (t) => {
    const { vault } = await scene(t);
    assert.throws(() => vault.write((transaction) => promote(transaction, "b", 1, "ana")), refusedAs("not_found"));
  });
});
