import assert from "node:assert/strict";
import { test } from "node:test";
import { beginAutomaticRotation } from "../../src/store/automatic-start.ts";
import { beginRotation, rotateAtOnce } from "../../src/store/credential-rotation.ts";
import { HONEYTOKEN_METADATA, isHoneytoken } from "../../src/store/honeytoken.ts";
import { setRotationPolicy } from "../../src/store/rotation-policies.ts";
import { editDatabase, fields, newCredential, newVault, refusedAs } from "../support/vault-fixture.ts";

const PACE = { steps: [100], stepMs: 0, graceMs: 0 };

test("a honeytoken is never opened, whatever for, and the attempt leaves no audit entry of an opening", async (t) => {
  const { vault } = await newVault(t);
  const bait = vault.addCredential(
    newCredential("bait", { metadata: HONEYTOKEN_METADATA }),
    fields({ api_key: "bait-value" }),
    "ana",
  );
  assert.equal(isHoneytoken(bait), true);
  for (const purpose of ["inject", "probe", "refresh", "rotation"]) {
    assert.throws(
      () => vault.openFields(bait.id, 1, purpose),
      refusedAs("refused", /is a honeytoken, which is never opened/),
    );
  }
  assert.ok(!vault.listAudit().some(({ action }) => action === "secret.open"));
});

test("a honeytoken is never rotated, by hand or by itself, at once or in steps", async (t) => {
  const { vault } = await newVault(t);
  vault.addCredential(newCredential("bait", { metadata: HONEYTOKEN_METADATA }), fields({ api_key: "one" }), "ana");
  const never = refusedAs("refused", /is a honeytoken, which is never rotated/);
  const fresh = fields({ api_key: "two" });
  const policy = { rotator: "openai", admin: null, settings: {} };
  assert.throws(
    () => vault.write((tx) => beginRotation(tx, "bait", { pace: PACE, validate: false, fields: fresh }, "ana")),
    never,
  );
  assert.throws(() => vault.write((tx) => rotateAtOnce(tx, "bait", fresh, "ana")), never);
  assert.throws(() => vault.write((tx) => beginAutomaticRotation(tx, "bait", { policy, pace: PACE }, "ana")), never);
  assert.throws(() => vault.write((tx) => setRotationPolicy(tx, "bait", { automatic: policy }, "ana")), never);
  assert.equal(vault.getCredential("bait").versions.length, 1);
});

test("the mark of a honeytoken cannot be taken off on the disk", async (t) => {
  const { vault, directory, unlocker, reopen } = await newVault(t);
  vault.addCredential(newCredential("bait", { metadata: HONEYTOKEN_METADATA }), fields({ api_key: "one" }), "ana");
  vault.close();
  editDatabase(directory, (db) => db.exec("UPDATE credentials SET metadata = '{}'"));
  const again = reopen();
  await assert.rejects(async () => {
    await again.unseal([unlocker]);
    again.listCredentials();
  }, /credentials|nothing was opened/);
});

test("other metadata makes no honeytoken", () => {
  for (const metadata of [{}, { honeytoken: "false" }, { honeytoken: "" }, { plan: "true" }]) {
    assert.equal(isHoneytoken({ metadata }), false);
  }
});
