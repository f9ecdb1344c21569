import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { beginDue } from "../../../src/daemon/monitor/automation.ts";
import { setRotationPolicy } from "../../../src/store/rotation-policies.ts";
import { getRotation, putRotation } from "../../../src/store/rotations.ts";
import { fields, newCredential, newVault, START_MS } from "../../support/vault-fixture.ts";

const DAY_MS = 86_400_000;
const AUTOMATIC = { rotator: "openai", admin: "admin", settings: { project: "proj_abc" } };

async function scene(t: Parameters<typeof newVault>[0]) {
  const clock = { now: START_MS };
  const { vault } = await newVault(t, { now: () => clock.now });
  for (const name of ["old", "by-hand", "young"]) {
    vault.addCredential(newCredential(name), fields({ api_key: name }), "ana");
  }
  vault.write((tx) => {
    setRotationPolicy(tx, "old", { maxAgeMs: 30 * DAY_MS, automatic: AUTOMATIC }, "ana");
    setRotationPolicy(tx, "by-hand", { maxAgeMs: 30 * DAY_MS }, "ana");
    setRotationPolicy(tx, "young", { maxAgeMs: 90 * DAY_MS, automatic: AUTOMATIC, steps: [50, 100] }, "ana");
  });
  const failures: unknown[] = [];
  let written = 0;
  const look = () =>
    beginDue({
      provider: () => undefined,
      vault,
      now: () => clock.now,
      onWrite: () => written++,
      onFailure: (error) => failures.push(error),
    });
  const phase = (name: string) => vault.read((view) => getRotation(view, vault.getCredential(name).id))?.phase ?? null;
  return { clock, vault, look, phase, failures, written: () => written };
}

describe("rotations that are due", () => {
  test("begin at the greatest age, only where sidekey makes the keys, and once", async (t) => {
    const { clock, look, phase, failures, written } = await scene(t);
    clock.now = START_MS + 30 * DAY_MS - 1;
    look();
    assert.deepEqual(["old", "by-hand", "young"].map(phase), [null, null, null]);
    clock.now += 1;
    look();
    look();
    assert.deepEqual(["old", "by-hand", "young"].map(phase), ["creating", null, null]);
    assert.equal(written(), 1);
    assert.deepEqual(failures, []);
  });

  test("do not begin again by themselves on the day of a failure", async (t) => {
    const { clock, vault, look, phase } = await scene(t);
    clock.now = START_MS + 31 * DAY_MS;
    look();
    const { id } = vault.getCredential("old");
    const begun = vault.read((view) => getRotation(view, id));
    assert.ok(begun);
    vault.write((tx) => {
      putRotation(tx, id, { ...begun, phase: "failed", since: clock.now });
      tx.note({ actor: "test", action: "rotation.fail", object: "credential:old", detail: {} });
    });
    clock.now += DAY_MS - 1;
    look();
    assert.equal(phase("old"), "failed");
    clock.now += 1;
    look();
    assert.equal(phase("old"), "creating");
  });

  test("leave disabled credentials alone", async (t) => {
    const { clock, vault, look, phase } = await scene(t);
    vault.setState("old", "disabled", "ana");
    clock.now = START_MS + 31 * DAY_MS;
    look();
    assert.equal(phase("old"), null);
  });
});
