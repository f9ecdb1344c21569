import assert from "node:assert/strict";
import { test } from "node:test";
import { startRewrapping } from "../../../src/daemon/monitor/rewrap.ts";
import { rotateCategory } from "../../../src/store/categories.ts";
import { countToRewrap, needsRewrap } from "../../../src/store/rewrap.ts";
import { fields, newCredential, newVault } from "../../support/vault-fixture.ts";

test("a rotation that a command left unfinished is finished step by step, and waits while the vault is sealed", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { vault, unlocker } = await newVault(t);
  for (let at = 0; at < 120; at++) {
    vault.addCredential(newCredential(`c${at}`), fields({ api_key: `value ${at}` }), "ana");
  }
  vault.write((transaction) => rotateCategory(transaction, "market-data", "ana"));
  const failures: unknown[] = [];
  const work = startRewrapping(vault, (error) => failures.push(error));
  t.after(() => work.close());
  vault.seal();
  t.mock.timers.tick(10_000);
  await vault.unseal([unlocker]);
  assert.equal(vault.read(countToRewrap), 120);
  t.mock.timers.tick(10_000);
  assert.equal(vault.read(countToRewrap), 70, "one step");
  t.mock.timers.tick(50);
  t.mock.timers.tick(50);
  assert.deepEqual([vault.read(needsRewrap), failures], [false, []]);
});
