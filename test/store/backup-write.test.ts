import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Secret } from "../../src/secret.ts";
import type { AuditNote } from "../../src/store/audit.ts";
import { BackupError } from "../../src/store/backup-error.ts";
import type { ByteSink } from "../../src/store/backup-file.ts";
import { CHUNK_BYTES } from "../../src/store/backup-format.ts";
import { openBackup, openBackupRoot, readContents } from "../../src/store/backup-read.ts";
import { configFiles } from "../../src/store/backup-snapshot.ts";
import { randomBytes } from "../../src/store/crypto.ts";
import { DatabaseError, fileError, openUsageDatabase } from "../../src/store/database.ts";
import { VaultSealedError } from "../../src/store/errors.ts";
import type { VaultView } from "../../src/store/ledger.ts";
import { USAGE_MIGRATIONS } from "../../src/store/usage-schema.ts";
import { openVault, type Vault } from "../../src/store/vault.ts";
import { wrapRootKey } from "../../src/store/wrappers.ts";
import { allValues, backedUp, backUp, restore } from "../support/backup-fixture.ts";
import { findCanary, makeCanary } from "../support/canary.ts";
import { tempDir } from "../support/temp-dir.ts";
import { FAST_PASSPHRASE, fields, fill, newCredential, newVault } from "../support/vault-fixture.ts";

const WRITER = join(import.meta.dirname, "../support/vault-writer.ts");
const ROUNDS = 5;

/** Nothing that was being made is left. */
function assertClean(...directories: readonly string[]): void {
  for (const directory of directories) {
    assert.deepEqual(
      readdirSync(directory).filter((name) => name.endsWith(".half")),
      [],
    );
  }
}

function sizeOfUsage(directory: string, bytes: number): void {
  const path = join(directory, "usage.db");
  const db = openUsageDatabase(path, USAGE_MIGRATIONS);
  db.prepare("INSERT INTO limit_state (key, state) VALUES ('big', hex(randomblob(?)))").run(bytes / 2);
  db.close();
}

describe("making a backup", () => {
  it("holds every value and an audit that still verifies, opens with the vault's own key, and is private", async (t) => {
    const { vault, unlocker, path, place, summary, directory, options } = await backedUp(t);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(path).size, summary.bytes);
    assert.deepEqual(
      summary.wrappers,
      vault.listWrappers().map(({ id, kind }) => ({ id, kind })),
    );
    const newest = vault.listAudit({ limit: 1 })[0];
    assert.deepEqual(summary.audit, { seq: newest?.seq, hash: newest?.hash });
    assert.equal(newest?.action, "backup.create");
    await restore(path, join(place, "data"), [unlocker]);
    const again = openVault(join(place, "data"), options);
    await again.unseal([unlocker]);
    assert.deepEqual(allValues(again), allValues(vault));
    assert.deepEqual(again.listClientTokens(), vault.listClientTokens());
    assert.equal(again.verifyAudit().ok, true);
    again.close();
    assertClean(directory, place);
  });

  it(`gives a whole vault in each of ${ROUNDS} rounds while another process and this one keep writing`, async (t) => {
    const fixture = await newVault(t);
    const { vault, directory, unlocker } = fixture;
    const place = tempDir(t);
    const writer = spawn(process.execPath, [WRITER, directory, "w", "100000"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    t.after(() => writer.kill("SIGKILL"));
    await new Promise<void>((resolve) => writer.stdout.once("data", () => resolve()));
    writer.stdout.resume();
    let written = 0;
    const own = setInterval(() => {
      const name = `own-${written++}`;
      vault.addCredential(newCredential(name), fields({ api_key: `value of ${name}` }), "ana");
    }, 20);
    for (let round = 0; round < ROUNDS; round++) await backUp(fixture, join(place, `${round}.backup`));
    clearInterval(own);
    writer.kill("SIGKILL");
    const counts: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const { check } = await restore(join(place, `${round}.backup`), join(place, `data-${round}`), [unlocker]);
      assert.equal(check.opened, check.versions);
      counts.push(check.versions);
    }
    assert.ok((counts.at(-1) ?? 0) > (counts[0] ?? 0), `nothing was written meanwhile: ${counts}`);
  });

  it("keeps no key readable in the backup, nor in a temporary copy, nor in a restored directory", async (t) => {
    const fixture = await newVault(t);
    const { vault, directory, unlocker, options } = fixture;
    const canaries = [makeCanary(), makeCanary({ special: true })];
    for (const [at, canary] of canaries.entries()) {
      vault.addCredential(newCredential(`c${at}`), fields({ api_key: canary.text }), "ana");
      vault.addVersion(`c${at}`, fields({ api_key: canary.text }), "current", "ana");
    }
    vault.removeCredential("c0", "ana");
    const seen: Buffer[] = [];
    const sink: ByteSink = {
      // While it is being written, the copies are there.
      write: async (bytes) => {
        seen.push(Buffer.from(bytes), ...contentsOf(directory));
        const [work = "none"] = readdirSync(directory).filter((name) => name.endsWith(".half"));
        assert.equal(statSync(join(directory, work)).mode & 0o777, 0o700);
        for (const name of readdirSync(join(directory, work))) {
          assert.equal(statSync(join(directory, work, name)).mode & 0o777, 0o600, name);
        }
      },
      finish: async () => {},
      discard: async () => {},
    };
    await backUp(fixture, sink, { usage: true });
    assert.ok(seen.length > 4, "the temporary copies were not looked at");
    const path = join(tempDir(t), "one.backup");
    await backUp(fixture, path);
    const data = join(tempDir(t), "data");
    await restore(path, data, [unlocker]);
    const again = openVault(data, options);
    await again.unseal([unlocker]);
    again.addVersion("c1", fields({ api_key: canaries[1]?.text ?? "" }), "current", "ana");
    assert.ok(readdirSync(data).includes("vault.db-wal"));
    seen.push(readFileSync(path), ...contentsOf(data));
    again.close();
    for (const canary of canaries) assert.deepEqual(findCanary(seen, canary), []);
  });

  it("is read and written in pieces, however large the data is", async (t) => {
    const fixture = await newVault(t);
    fill(fixture.vault);
    sizeOfUsage(fixture.directory, 24 * 1024 * 1024);
    const sizes: number[] = [];
    const chunks: Buffer[] = [];
    const sink: ByteSink = {
      write: async (bytes) => {
        sizes.push(bytes.length);
        chunks.push(Buffer.from(bytes));
      },
      finish: async () => {},
      discard: async () => {},
    };
    const summary = await backUp(fixture, sink, { usage: true });
    assert.ok(summary.bytes > 20 * 1024 * 1024);
    assert.ok(Math.max(...sizes) <= CHUNK_BYTES + 17, "a write was larger than a chunk");
    assert.equal(
      sizes.reduce((sum, size) => sum + size, 0),
      summary.bytes,
    );
    const backup = await openBackup(pieces(chunks), "memory");
    const opened = await openBackupRoot(backup, [fixture.unlocker]);
    let most = 0;
    let last = 0;
    await readContents(backup, opened.root, async () => ({
      write: async (part) => {
        most = Math.max(most, part.length);
        // The source is asked for no more than the next piece before this one is taken.
        assert.ok(backup.reader.taken - last <= 2 * (CHUNK_BYTES + 17), "it reads ahead of its sink");
        last = backup.reader.taken;
      },
      finish: async () => {},
      discard: async () => {},
    }));
    opened.root.wipe();
    assert.ok(most <= CHUNK_BYTES);
  });

  it("takes usage and configuration along when asked, links followed and key files left out", async (t) => {
    const fixture = await newVault(t);
    const config = tempDir(t);
    mkdirSync(join(config, "providers"));
    writeFileSync(join(config, "policy.yaml"), "version: 1\n");
    writeFileSync(join(config, "providers", "own.yaml"), "id: own\n");
    writeFileSync(join(config, "root.key"), "not this");
    sizeOfUsage(fixture.directory, 1000);
    const path = join(tempDir(t), "one.backup");
    const summary = await backUp(fixture, path, { usage: true, extra: configFiles(config) });
    const names = summary.files.map(({ name }) => name);
    assert.deepEqual(names, [
      "vault.db",
      "audit.anchor",
      "usage.db",
      "config/policy.yaml",
      "config/providers/own.yaml",
    ]);
    const data = join(tempDir(t), "data");
    const restored = await restore(path, data, [fixture.unlocker]);
    assert.equal(restored.config, join(data, "restored-config"));
    assert.equal(readFileSync(join(data, "restored-config", "providers", "own.yaml"), "utf8"), "id: own\n");
    const usage = openUsageDatabase(join(data, "usage.db"), USAGE_MIGRATIONS);
    assert.equal(usage.prepare("SELECT count(*) FROM limit_state").pluck().get(), 1);
    usage.close();
  });
});

describe("a backup that cannot be made", () => {
  it("overwrites nothing and leaves nothing behind", async (t) => {
    const { vault, directory, options, path, place } = await backedUp(t);
    const before = readFileSync(path);
    await assert.rejects(backUp({ vault, directory, options }, path), refused("exists"));
    assert.deepEqual(readFileSync(path), before);
    await assert.rejects(backUp({ vault, directory, options }, join(place, "no", "such.backup")), {
      name: "DatabaseError",
      code: "missing",
    });
    assertClean(directory, place);
  });

  it("says that the disk is full when the target takes no more, at any point, and goes on working", async (t) => {
    const fixture = await newVault(t);
    fill(fixture.vault);
    for (const room of [0, 10, 1000, 70_000]) {
      let [left, discarded] = [room, 0];
      const sink: ByteSink = {
        write: async (bytes) => {
          left -= bytes.length;
          if (left < 0) throw fileError(Object.assign(new Error("full"), { code: "ENOSPC" }), "/mnt/one.backup");
        },
        finish: async () => assert.fail("it was finished"),
        discard: async () => void discarded++,
      };
      await assert.rejects(backUp(fixture, sink), (error) => {
        assert.ok(error instanceof DatabaseError);
        assert.equal(error.code, "full");
        assert.match(error.message, /one\.backup: the disk is full/);
        return true;
      });
      assert.equal(discarded, 1);
      assertClean(fixture.directory);
    }
    const result = fixture.vault.verifyAudit();
    assert.equal(result.ok, true);
  });

  it("is refused when the root key was replaced between the copy and its sealing", async (t) => {
    const fixture = await newVault(t);
    const { vault, directory, unlocker } = fixture;
    const root = Secret.adopt(randomBytes(32));
    const wrapper = await wrapRootKey(root, unlocker, vault.id, { cost: FAST_PASSPHRASE, now: 1 });
    const racing = {
      sealed: false,
      audit: (entry: AuditNote) => vault.audit(entry),
      read: <T>(work: (view: VaultView) => T): T => {
        vault.rotateRoot(root, [wrapper], "ana");
        return vault.read(work);
      },
    } as unknown as Vault;
    const to = join(tempDir(t), "one.backup");
    await assert.rejects(backUp({ ...fixture, vault: racing }, to), refused("conflict"));
    assertClean(directory);
    await backUp(fixture, to);
    assert.equal((await restore(to, join(tempDir(t), "data"), [unlocker])).rollback, null);
  });

  it("needs an unsealed vault, and stops when it is told to", async (t) => {
    const fixture = await newVault(t);
    const place = tempDir(t);
    const stop = new AbortController();
    stop.abort();
    const to = join(place, "one.backup");
    await assert.rejects(backUp(fixture, to, { signal: stop.signal }), refused("stopped"));
    const late = new AbortController();
    const sink: ByteSink = {
      write: async () => late.abort(),
      finish: async () => assert.fail("it was finished"),
      discard: async () => {},
    };
    await assert.rejects(backUp(fixture, sink, { signal: late.signal }), refused("stopped"));
    fixture.vault.seal();
    await assert.rejects(backUp(fixture, to), VaultSealedError);
    assertClean(place, fixture.directory);
    assert.deepEqual(readdirSync(place), []);
  });
});

function refused(code: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof BackupError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  };
}

function contentsOf(directory: string): Buffer[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name)));
}

async function* pieces(chunks: readonly Buffer[]): AsyncGenerator<Buffer> {
  for (const chunk of chunks) yield chunk;
}
