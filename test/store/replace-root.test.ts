import assert from "node:assert/strict";
import { test } from "node:test";
import { VaultSealedError } from "../../src/store/errors.ts";
import { replaceRoot } from "../../src/store/replace-root.ts";
import type { Vault } from "../../src/store/vault.ts";
import type { Unlocker } from "../../src/store/wrappers.ts";
import { newVault, passphrase, refusedAs } from "../support/vault-fixture.ts";

function replace(vault: Vault, unlockers: readonly Unlocker[], drop: readonly string[] = []): Promise<string[]> {
  return replaceRoot(vault, {
    unlockers,
    drop,
    actor: "ana",
    announce: async () => {},
  });
}

test("every wrapper keeps its id and opens the new root key", async (t) => {
  const { vault, unlocker, reopen } = await newVault(t);
  await vault.addWrapper(passphrase("correct horse"), [unlocker], "ana");
  const ids = vault.listWrappers().map(({ id }) => id);
  assert.deepEqual((await replace(vault, [passphrase("correct horse"), unlocker])).sort(), ["file", "passphrase"]);
  assert.deepEqual(
    vault.listWrappers().map(({ id }) => id),
    ids,
  );
  for (const one of [unlocker, passphrase("correct horse")]) {
    const again = reopen();
    await again.unseal([one]);
    assert.equal(again.verifyAudit().ok, true);
  }
});

test("a wrapper that nothing given opens is named and nothing is changed, unless it is given up", async (t) => {
  const { vault, unlocker, reopen } = await newVault(t);
  const { id } = await vault.addWrapper(passphrase("correct horse"), [unlocker], "ana");
  const entries = vault.listAudit().length;
  const refused = refusedAs("refused", new RegExp(`${id} \\(passphrase\\) could not be opened`));
  await assert.rejects(replace(vault, [unlocker]), refused);
  await assert.rejects(replace(vault, [unlocker, passphrase("wrong horse")]), refused);
  await assert.rejects(replace(vault, [unlocker], ["beef"]), refusedAs("not_found", /no wrapper beef/));
  assert.equal(vault.listAudit().length, entries);
  assert.deepEqual(await replace(vault, [unlocker], [id]), ["file"]);
  await assert.rejects(reopen().unseal([passphrase("correct horse")]), VaultSealedError);
  await assert.rejects(replace(vault, [unlocker], [vault.listWrappers()[0]?.id ?? ""]), /without a wrapper/);
});

test("the daemon is told before the new root key is in place, and when it cannot be told nothing is changed", async (t) => {
  const { vault, unlocker, reopen } = await newVault(t);
  const options = { unlockers: [unlocker], drop: [], actor: "ana" };
  const told = reopen();
  await told.unseal([unlocker]);
  await replaceRoot(vault, {
    ...options,
    announce: async (root) => {
      assert.equal(vault.listAudit().at(-1)?.action === "vault.rotate-root", false);
      told.expectRoot(root);
    },
  });
  assert.equal(told.verifyAudit().ok, true);
  const failing = async (): Promise<void> => {
    throw new Error("no answer");
  };
  const entries = vault.listAudit().length;
  await assert.rejects(replaceRoot(vault, { ...options, announce: failing }), /no answer/);
  assert.equal(vault.listAudit().length, entries);
});
