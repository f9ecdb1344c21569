import assert from "node:assert/strict";
import { copyFileSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { type Anchor, anchorProblem, parseAnchor } from "../../src/store/audit-anchor.ts";
import { canonicalBytes } from "../../src/store/canonical.ts";
import { mac, randomBytes } from "../../src/store/crypto.ts";
import { openVaultDatabase } from "../../src/store/database.ts";
import { VaultTamperedError } from "../../src/store/errors.ts";
import { openKeyring } from "../../src/store/keyring.ts";
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

  it("counts every change of a row in the header's epoch, and records it with the digest of all rows", async (t) => {
    const { vault, directory } = await newVault(t);
    const recorded = () => JSON.parse(readFileSync(join(directory, "audit.anchor"), "utf8")) as Record<string, unknown>;
    const [first, start] = [vault.mark(), recorded()];
    assert.deepEqual([start.seq, start.epoch, start.digest], [first.seq, first.epoch, first.digest?.toString("hex")]);
    note(vault, "policy:2");
    assert.deepEqual([vault.mark().epoch, vault.mark().digest], [first.epoch, first.digest], "an entry changes no row");
    vault.addClientToken("app", {}, "ana");
    vault.revokeClientTokens("app", "ana");
    const [last, end] = [vault.mark(), recorded()];
    assert.equal(last.epoch, first.epoch + 2);
    assert.notDeepEqual(last.digest, first.digest);
    assert.deepEqual([end.seq, end.epoch, end.digest], [last.seq, last.epoch, last.digest?.toString("hex")]);
  });

  it("tells an older header from a newer one even where the chain agrees, and reads anchors without an epoch", async (t) => {
    const { vault, directory, unlocker } = await audited(t);
    const mark = vault.mark();
    vault.close();
    const db = openVaultDatabase(join(directory, "vault.db"));
    t.after(() => db.close());
    const { keys } = await openKeyring(db, [unlocker]);
    const problem = (anchor: Partial<Anchor>) => anchorProblem(db, keys, mark, { ...mark, ...anchor });
    assert.equal(problem({}), null);
    assert.equal(problem({ epoch: mark.epoch - 1, digest: randomBytes(32) }), null, "an older anchor is a crash");
    for (const anchor of [{ epoch: mark.epoch + 1 }, { digest: randomBytes(32) }]) {
      const found = problem(anchor);
      assert.deepEqual([found?.kind, found?.firstBadSeq], ["rollback", mark.seq]);
      assert.match(found?.problem ?? "", /an older header was put back/);
    }
    assert.equal(problem({ epoch: null, digest: null }), null);
    const old = { format: 1, hash: mark.hash.toString("hex"), seq: mark.seq, vault: keys.vault };
    const value = mac(keys.audit, canonicalBytes({ anchor: old })).toString("hex");
    const read = parseAnchor(JSON.stringify({ ...old, mac: value }), keys);
    assert.deepEqual(read, { seq: mark.seq, hash: mark.hash, epoch: null, digest: null });
  });
});
