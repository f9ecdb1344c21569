import assert from "node:assert/strict";
import { renameSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { VaultGate } from "../../src/daemon/vault-gate.ts";
import { Secret } from "../../src/secret.ts";
import { randomBytes } from "../../src/store/crypto.ts";
import { VaultTamperedError } from "../../src/store/errors.ts";
import { replaceRoot } from "../../src/store/replace-root.ts";
import type { Unlocker } from "../../src/store/wrappers.ts";
import { newVault, note, passphrase } from "../support/vault-fixture.ts";

async function gateOver(t: TestContext, extra: readonly Unlocker[] = []) {
  const fixture = await newVault(t);
  const events: string[] = [];
  const vault = fixture.reopen();
  const gate = new VaultGate({
    vault,
    unlockers: [...extra, fixture.unlocker],
    onChange: () => events.push(vault.sealed ? "sealed" : "open"),
    onProblem: (problem) => events.push(problem),
  });
  t.after(() => gate.close());
  return { ...fixture, gate, handle: vault, events };
}

function keyPath({ unlocker }: { unlocker: Unlocker }): string {
  assert.ok(unlocker.kind === "file");
  return unlocker.path;
}

/** Until the promises behind a fired timer have settled. */
async function settled(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!condition() && performance.now() < deadline) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(condition());
}

test("a vault that opens is open, and one whose key is out of reach says why and opens by itself once it is back", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const scene = await gateOver(t);
  const path = keyPath(scene);
  renameSync(path, `${path}.away`);
  await scene.gate.open();
  assert.equal(scene.gate.sealed, true);
  assert.match(scene.gate.problem ?? "", /root\.key does not exist/);
  t.mock.timers.tick(5_000);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(scene.events.length, 1, "the same reason is told once");
  renameSync(`${path}.away`, path);
  t.mock.timers.tick(10_000);
  await settled(() => !scene.gate.sealed);
  assert.deepEqual([scene.gate.problem, scene.events.at(-1)], [null, "open"]);
});

test("nobody is asked again for a passphrase by itself", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let asked = 0;
  const wrong = passphrase("never set");
  assert.ok(wrong.kind === "passphrase");
  const counting: Unlocker = {
    kind: "passphrase",
    read: () => {
      asked++;
      return wrong.read();
    },
  };
  const scene = await gateOver(t, [counting]);
  await scene.vault.addWrapper(passphrase("correct horse"), [scene.unlocker], "ana");
  const path = keyPath(scene);
  renameSync(path, `${path}.away`);
  await scene.gate.open();
  t.mock.timers.tick(600_000);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([asked, scene.gate.sealed], [1, true]);
});

test("sealed by an operator it stays sealed until the root key is handed over, and a foreign one is refused", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const scene = await gateOver(t);
  await scene.gate.open();
  scene.gate.seal();
  assert.match(scene.gate.problem ?? "", /an operator sealed it/);
  t.mock.timers.tick(600_000);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(scene.gate.sealed, true);
  const foreign = Secret.adopt(randomBytes(32));
  await assert.rejects(scene.gate.unsealWith(foreign), VaultTamperedError);
  assert.equal(scene.gate.sealed, true);
  const { root } = await scene.vault.openRoot([scene.unlocker]);
  await scene.gate.unsealWith(root);
  root.wipe();
  assert.equal(scene.gate.sealed, false);
  note(scene.handle, "policy:after");
  assert.deepEqual(scene.events, ["open", "sealed", "open"]);
});

test("a root key that was replaced without a word is found out, and the vault opens again with its unlockers", async (t) => {
  const scene = await gateOver(t);
  await scene.gate.open();
  await replaceRoot(scene.vault, {
    unlockers: [scene.unlocker],
    drop: [],
    actor: "ana",
    announce: async () => {},
  });
  let failure: unknown = null;
  try {
    scene.handle.listCredentials();
  } catch (error) {
    failure = error;
  }
  assert.equal(scene.gate.noticed(new Error("something else")), false);
  assert.equal(scene.gate.noticed(failure), true);
  await settled(() => !scene.gate.sealed);
  assert.deepEqual(scene.events, ["open", "sealed", "open"]);
});
