import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { VaultTamperedError } from "../../src/store/errors.ts";
import { getRotation, isUnderWay, listRotations, putRotation, type Rotation } from "../../src/store/rotations.ts";
import { editDatabase, fields, newCredential, newVault, START_MS } from "../support/vault-fixture.ts";

const ROTATION: Rotation = {
  phase: "ramping",
  from: 1,
  to: 2,
  steps: [5, 100],
  step: 0,
  stepMs: 60_000,
  graceMs: 3_600_000,
  startedAt: START_MS,
  since: START_MS,
  startedBy: "ana",
  attempts: 0,
  nextTryAt: null,
  problem: null,
  automatic: {
    rotator: "openai",
    admin: "openai-admin",
    token: "t",
    oldKey: "k1",
    newKey: null,
    prepared: true,
    memo: null,
    asked: 1,
    revokedAt: null,
    settings: { p: "1" },
  },
};

const said = { actor: "ana", action: "rotation.start", object: "credential:fmp-main", detail: {} };

describe("the state of a rotation", () => {
  it("is read back as it was stored, also through another handle", async (t) => {
    const { vault, reopen, unlocker } = await newVault(t);
    const { id } = vault.addCredential(newCredential("fmp-main"), fields({ api_key: "one" }), "ana");
    assert.equal(
      vault.read((view) => getRotation(view, id)),
      null,
    );
    vault.write((transaction) => {
      putRotation(transaction, id, ROTATION);
      transaction.note(said);
    });
    const other = reopen();
    await other.unseal([unlocker]);
    assert.deepEqual(
      other.read((view) => getRotation(view, id)),
      ROTATION,
    );
    assert.deepEqual([...other.read(listRotations)], [[id, ROTATION]]);
    assert.equal(isUnderWay(ROTATION), true);
    assert.equal(isUnderWay({ ...ROTATION, phase: "done" }), false);
    assert.equal(isUnderWay(null), false);
  });

  it("is refused when it was edited", async (t) => {
    const { vault, directory } = await newVault(t);
    const { id } = vault.addCredential(newCredential("fmp-main"), fields({ api_key: "one" }), "ana");
    vault.write((transaction) => {
      putRotation(transaction, id, ROTATION);
      transaction.note(said);
    });
    editDatabase(directory, (db) => db.exec("UPDATE rotations SET state = replace(state, '\"to\":2', '\"to\":1')"));
    assert.throws(() => vault.read((view) => getRotation(view, id)), VaultTamperedError);
  });
});
