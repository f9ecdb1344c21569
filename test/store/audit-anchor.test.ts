import assert from "node:assert/strict";
import { copyFileSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { VaultTamperedError } from "../../src/store/errors.ts";
import { openVault } from "../../src/store/vault.ts";
import { copyOf, fill, newVault, note, type VaultFixture } from "../support/vault-fixture.ts";

async function audited(t: TestContext): Promise<VaultFixture> {
  const fixture = await newVault(t);
  fill(fixture.vault);
  return fixture;
}

describe("G9 chained: the anchor", () => {
  it("detects an older copy of vault.db, and takes it only on an operator's word", async (t) => {
    const fixture = await audited(t);
    const { vault, directory, unlocker, reopen } = fixture;
    vault.close();
    const old = copyOf(t, directory);
    const later = reopen();
    await later.unseal([unlocker]);
    later.revokeClientTokens("app", "ana");
    later.close();
    for (const suffix of ["-wal", "-shm"]) rmSync(join(directory, `vault.db${suffix}`), { force: true });
    copyFileSync(join(old, "vault.db"), join(directory, "vault.db"));
    const restored = reopen();
    await assert.rejects(
      restored.unseal([unlocker]),
      /entries \d+ to \d+ are missing: .* older copy of vault\.db was restored/,
    );
    assert.equal(restored.sealed, true);
    await restored.unseal([unlocker], { acceptRollback: "ana" });
    assert.equal(restored.verifyAudit().ok, true);
    assert.deepEqual(
      restored.listAudit({ limit: 2 }).map((entry) => entry.action),
      ["vault.accept-rollback", "vault.unseal"],
    );
    await reopen().unseal([unlocker]);
  });

  it("detects a copy that went another way since the anchor was written", async (t) => {
    const { vault, directory, unlocker, options } = await audited(t);
    vault.close();
    const fork = copyOf(t, directory);
    for (const [place, times] of [
      [directory, 3],
      [fork, 5],
    ] as const) {
      const handle = openVault(place, options);
      await handle.unseal([unlocker]);
      for (let i = 0; i < times; i++) note(handle, `${place}:${i}`);
      handle.close();
    }
    copyFileSync(join(fork, "vault.db"), join(directory, "vault.db"));
    const handle = openVault(directory, options);
    t.after(() => handle.close());
    await assert.rejects(handle.unseal([unlocker]), /went another way/);
  });

  it("detects a missing, edited or foreign anchor", async (t) => {
    const { vault, directory, unlocker, reopen } = await audited(t);
    const anchor = join(directory, "audit.anchor");
    const good = readFileSync(anchor, "utf8");
    const foreign = readFileSync(join((await audited(t)).directory, "audit.anchor"), "utf8");
    const edited = good.replace(/"seq":\d+/, '"seq":1');
    for (const text of [null, "", "{}", edited, foreign]) {
      if (text === null) rmSync(anchor);
      else writeFileSync(anchor, text);
      assert.equal(vault.verifyAudit().ok, false);
      await assert.rejects(reopen().unseal([unlocker]), VaultTamperedError);
    }
    writeFileSync(anchor, good);
    assert.equal(vault.verifyAudit().ok, true);
  });

  it("does not call a crash between commit and anchor tampering", async (t) => {
    const { vault, directory, unlocker, reopen } = await audited(t);
    const anchor = join(directory, "audit.anchor");
    const before = readFileSync(anchor);
    note(vault, "policy:3");
    vault.close();
    writeFileSync(anchor, before);
    const temporary = `${anchor}.999999.tmp`;
    writeFileSync(temporary, "half");
    utimesSync(temporary, 1, 1);
    const again = reopen();
    await again.unseal([unlocker]);
    assert.equal(again.verifyAudit().ok, true);
    assert.throws(() => readFileSync(temporary), /ENOENT/);
  });
});
