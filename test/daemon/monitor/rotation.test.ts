import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { type ProbeResult, Rotations } from "../../../src/daemon/monitor/rotation.ts";
import type { Outcome } from "../../../src/daemon/pipeline/exchange.ts";
import { watchVault } from "../../../src/daemon/vault-view.ts";
import type { Provider } from "../../../src/providers/schema.ts";
import { softRemove } from "../../../src/store/credential-removal.ts";
import { setRotationPolicy } from "../../../src/store/rotation-policies.ts";
import type { Vault } from "../../../src/store/vault.ts";
import { fields, START_MS } from "../../support/vault-fixture.ts";

import { PACE, rotationScene } from "./rotation-scene.ts";

const DAY_MS = 86_400_000;
const OK = Array.from({ length: 30 }, () => 200);

describe("the rotation engine", () => {
  it("tries the new version, moves on in time, and revokes the old one when nothing uses it", async (t) => {
    const s = await rotationScene(t);
    s.begin();
    await s.after(0);
    assert.equal(s.stages(), "ramping: current pending");
    assert.deepEqual(s.probed, [2]);
    await s.after(999);
    assert.equal(s.stages(), "ramping: current pending");
    await s.after(1);
    assert.equal(s.stages(), "grace: previous current");
    s.users = 2;
    await s.after(5_000);
    await s.after(60_000);
    assert.equal(s.stages(), "grace: previous current");
    assert.match(s.rotation()?.problem ?? "", /waits until nothing uses version 1/);
    s.users = 0;
    await s.after(1);
    assert.equal(s.stages(), "done: revoked current");
    assert.deepEqual(
      s.alerts.filter((alert) => !alert.startsWith("clear")),
      [],
    );
    const actors = s.vault.listAudit().filter(({ action }) => action === "rotation.finish");
    assert.equal(actors[0]?.actor, "sidekey");
  });

  it("goes on in every phase in a new process", async (t) => {
    const s = await rotationScene(t);
    s.answers.set(2, ["unknown", "valid"]);
    s.begin();
    const seen: string[] = [];
    for (const ms of [0, 10_000, 1_000, 5_000]) {
      await s.after(ms);
      seen.push(s.stages());
      s.restart();
    }
    assert.deepEqual(seen, [
      "testing: current pending",
      "ramping: current pending",
      "grace: previous current",
      "done: revoked current",
    ]);
  });

  it("repeats a probe that says nothing, and one that breaks, and not before its time", async (t) => {
    const s = await rotationScene(t);
    s.answers.set(2, ["unknown", "limited", new Error("no network"), "plan"]);
    s.begin();
    await s.after(0);
    assert.equal(s.rotation()?.problem, "not tested yet: it said unknown");
    await s.after(9_999);
    assert.equal(s.probed.length, 1);
    await s.after(1);
    await s.after(20_000);
    assert.equal(`${s.failures}`, "Error: no network");
    assert.equal(s.stages(), "testing: current pending");
    await s.after(40_000);
    assert.equal(s.stages(), "ramping: current pending");
    assert.equal(s.probed.length, 4);
  });

  it("does not begin a second probe while one is under way, nor use the answer of one after it was closed", async (t) => {
    const s = await rotationScene(t);
    const { promise, resolve } = Promise.withResolvers<ProbeResult>();
    let probes = 0;
    s.begin();
    s.rotations.close();
    const slow = new Rotations({
      vault: s.vault,
      view: watched(t, s.vault),
      provider: () => undefined,
      prober: {
        probe: () => {
          probes += 1;
          return promise;
        },
      },
      alerts: { raise: () => {}, clear: () => {} },
      uses: () => 0,
      settleMs: () => 0,
      now: () => START_MS,
      setTimer: () => () => {},
      onFailure: assert.ifError,
    });
    slow.tick();
    slow.tick();
    assert.equal(probes, 1);
    slow.close();
    resolve({ meaning: "valid", status: 200, detail: "" });
    await new Promise((done) => setImmediate(done));
    assert.equal(s.stages(), "testing: current pending");
  });

  it("rolls back a new version that the provider does not know, with an alert, and no client ever used it", async (t) => {
    const s = await rotationScene(t);
    s.answers.set(2, ["invalid"]);
    s.begin();
    await s.after(0);
    assert.equal(s.stages(), "failed: current pending");
    assert.equal(s.alerts.length, 2);
    assert.match(
      s.alerts[1] ?? "",
      /^critical rotation_failed credential:a .*version 2 is not valid: it said invalid\. Version 1 serves/,
    );
  });

  it("takes a probe that is forbidden to both versions for good, and to the new one alone for bad", async (t) => {
    for (const [old, expected] of [
      ["forbidden", "ramping: current pending"],
      ["valid", "failed: current pending"],
    ] as const) {
      const s = await rotationScene(t);
      s.answers.set(2, ["forbidden"]).set(1, [old]);
      s.begin();
      await s.after(0);
      assert.equal(s.stages(), expected);
    }
  });

  it("rolls back when clients of the new version are refused and those of the old one are not", async (t) => {
    for (const phase of ["ramping", "grace"]) {
      const s = await rotationScene(t);
      s.begin({ validate: false });
      await s.after(0);
      s.traffic(1, OK);
      if (phase === "grace") await s.after(1_000);
      s.traffic(2, [401, 200, 403]);
      await s.after(0);
      assert.match(s.stages(), new RegExp(`^${phase}`), "two refusals are not enough");
      s.traffic(2, [401]);
      await s.after(0);
      assert.equal(s.stages(), "failed: current pending");
      assert.match(s.alerts.at(-1) ?? "", /refused 3 of its 4 requests/);
    }
  });

  it("goes on when both versions are refused alike, and when other things fail", async (t) => {
    const s = await rotationScene(t);
    s.begin({ validate: false });
    await s.after(0);
    s.traffic(1, [...OK, ...OK.map(() => 403)]);
    s.traffic(2, [...OK, ...OK.map(() => 403)]);
    s.traffic(2, [500, 429, 404, 500, 500]);
    for (let n = 0; n < 9; n++) {
      s.rotations.outcome({ credential: "a", version: 2, status: 401, outcome: "not_allowed" } as Outcome);
    }
    await s.after(1_000);
    assert.equal(s.stages(), "grace: previous current");
  });

  it("counts refusals of one step only for that step", async (t) => {
    const s = await rotationScene(t);
    s.begin({ validate: false, pace: { ...PACE, steps: [10, 50, 100] } });
    await s.after(0);
    s.traffic(2, [401, 401]);
    await s.after(1_000);
    s.traffic(2, [401]);
    await s.after(0);
    assert.equal(`${s.rotation()?.step} ${s.stages()}`, "1 ramping: current pending");
  });

  it("rolls back when it is told that the provider refuses the new version, and not for another one", async (t) => {
    const s = await rotationScene(t);
    s.begin({ validate: false });
    s.rotations.rejected(s.id, 1, "401");
    s.rotations.rejected("nobody", 2, "401");
    assert.equal(s.stages(), "ramping: current pending");
    s.rotations.rejected(s.id, 2, "401");
    assert.equal(s.stages(), "failed: current pending");
  });

  it("without a prober, or for a provider without a probe, begins with the first step", async (t) => {
    for (const options of [{ prober: false }, { provider: { probe: null } as Provider }] as const) {
      const s = await rotationScene(t, options);
      s.begin();
      await s.after(0);
      assert.equal(s.stages(), "ramping: current pending");
      assert.deepEqual(s.probed, []);
    }
  });

  it("keeps the old version for exchanges that still wait for a limit", async (t) => {
    const s = await rotationScene(t);
    s.settleMs = 9_000;
    s.begin({ validate: false, pace: { ...PACE, steps: [100], graceMs: 0 } });
    await s.after(8_999);
    assert.equal(s.stages(), "grace: previous current");
    await s.after(1);
    assert.equal(s.stages(), "done: revoked current");
  });

  it("pauses when the vault cannot be written, tells of it once, and goes on later", async (t) => {
    const s = await rotationScene(t);
    s.begin({ validate: false });
    const write = s.vault.write;
    s.vault.write = () => {
      throw new Error("disk full");
    };
    await s.after(1_000);
    await s.after(1_000);
    assert.equal(s.failures.length, 1);
    s.vault.write = write;
    await s.after(1_000);
    assert.equal(s.stages(), "ramping: current pending");
    await s.after(28_000);
    assert.equal(s.stages(), "grace: previous current");
  });

  it("shreds removed credentials when their time has come", async (t) => {
    const s = await rotationScene(t);
    s.vault.write((transaction) => softRemove(transaction, "a", DAY_MS, "ana"));
    await s.after(DAY_MS - 1);
    assert.equal(s.vault.listRemoved().length, 1);
    await s.after(60_001);
    assert.equal(s.vault.listRemoved().length, 0);
    assert.equal(s.vault.listAudit({ limit: 1 })[0]?.actor, "sidekey");
  });

  it("announces a rotation that is due, once at each notice, and forgets it when the key is new", async (t) => {
    const s = await rotationScene(t);
    s.vault.write((transaction) => setRotationPolicy(transaction, "a", { maxAgeMs: 90 * DAY_MS }, "ana"));
    const told: string[] = [];
    for (let day = 0; day <= 92; day++) {
      await s.after(DAY_MS);
      told.push(...s.alerts.splice(0).map((alert) => `${day + 1}: ${alert.split(" ").slice(0, 3).join(" ")}`));
    }
    assert.deepEqual(told, [
      "60: info rotation_due credential:a",
      "76: info rotation_due credential:a",
      "83: warning rotation_due credential:a",
      "89: warning rotation_due credential:a",
      "90: critical rotation_due credential:a",
    ]);
    s.vault.addVersion("a", fields({ api_key: "new" }), "current", "ana");
    await s.after(60_000);
    assert.deepEqual(s.alerts, ["clear rotation_due credential:a"]);
  });

  it("does nothing while the vault is sealed", async (t) => {
    const s = await rotationScene(t);
    s.begin({ validate: false });
    s.vault.seal();
    await s.after(99_000);
    assert.deepEqual(s.failures, []);
  });
});

function watched(t: TestContext, vault: Vault) {
  const view = watchVault(vault, () => {}, assert.ifError);
  t.after(() => view.close());
  return view;
}
