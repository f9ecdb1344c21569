import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { createRoot } from "../../src/daemon/ingress/certificate-authority.ts";
import { LeafSource } from "../../src/daemon/leaf-source.ts";
import { Secret } from "../../src/secret.ts";
import type { Vault } from "../../src/store/vault.ts";
import { newVault } from "../support/vault-fixture.ts";

const DAY_MS = 24 * 3_600_000;

async function sourceOver(t: TestContext, withRoot = true) {
  const { vault } = await newVault(t);
  if (withRoot) await storeRoot(vault);
  const clock = { nowMs: Date.now() };
  const failures: unknown[] = [];
  const source = new LeafSource(
    vault,
    () => clock.nowMs,
    (error) => failures.push(error),
  );
  return { vault, source, clock, failures };
}

async function storeRoot(vault: Vault): Promise<void> {
  const root = await createRoot(Date.now());
  vault.putSealed("ca-root-certificate", Secret.copyOf(Buffer.from(root.certificatePem, "ascii")), "test");
  vault.putSealed("ca-root", root.privateKey, "test");
}

test("leafs exist for the policy's names and for no other; addresses are left out", async (t) => {
  const { source, failures } = await sourceOver(t);
  await source.follow(new Set(["api.p.test", "data.p.test", "127.0.0.1", "::1"]));
  assert.ok(await source.leafFor("api.p.test"));
  assert.ok(await source.leafFor("data.p.test"));
  for (const host of ["evil.test", "127.0.0.1", "::1", "sub.api.p.test", ""])
    assert.equal(await source.leafFor(host), null);
  assert.deepEqual([source.minted, failures], [2, []]);
});

test("a leaf that is asked for while the policy is taken over waits for it", async (t) => {
  const { source } = await sourceOver(t);
  const following = source.follow(new Set(["api.p.test"]));
  assert.ok(await source.leafFor("api.p.test"));
  await following;
});

test("the same hosts keep their intermediate for a day; new hosts get a new one, and old hosts are forgotten", async (t) => {
  const { source, clock, vault } = await sourceOver(t);
  const opened = (): number => vault.listAudit().filter(({ object }) => object.includes("ca-root")).length;
  await source.follow(new Set(["api.p.test"]));
  const [leaf, once] = [await source.leafFor("api.p.test"), opened()];
  await source.follow(new Set(["api.p.test"]));
  assert.deepEqual([(await source.leafFor("api.p.test")) === leaf, opened()], [true, once]);
  clock.nowMs += DAY_MS;
  await source.follow(new Set(["api.p.test"]));
  assert.notEqual(await source.leafFor("api.p.test"), leaf);
  await source.follow(new Set(["data.p.test"]));
  assert.equal(await source.leafFor("api.p.test"), null);
  assert.ok(await source.leafFor("data.p.test"));
  await source.follow(new Set());
  assert.equal(await source.leafFor("data.p.test"), null);
});

test("changes that come together are taken over one after the other; the last one counts", async (t) => {
  const { source } = await sourceOver(t);
  void source.follow(new Set(["api.p.test"]));
  void source.follow(new Set(["data.p.test"]));
  await source.follow(new Set(["last.p.test"]));
  assert.deepEqual([await source.leafFor("api.p.test"), (await source.leafFor("last.p.test")) !== null], [null, true]);
});

test("a missing root is reported, not thrown; while the vault is sealed what was there before stays", async (t) => {
  const { source, failures } = await sourceOver(t, false);
  await source.follow(new Set(["api.p.test"]));
  assert.match(String(failures[0]), /sidekey init/);
  assert.equal(await source.leafFor("api.p.test"), null);
  const other = await sourceOver(t);
  await other.source.follow(new Set(["api.p.test"]));
  other.vault.seal();
  await other.source.follow(new Set(["data.p.test"]));
  assert.equal(other.failures.length, 0);
  assert.ok(await other.source.leafFor("api.p.test"));
});
