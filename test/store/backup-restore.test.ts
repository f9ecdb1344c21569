import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { describe, it } from "node:test";
import { BackupError } from "../../src/store/backup-error.ts";
import { DatabaseError, openUsageDatabase } from "../../src/store/database.ts";
import { VaultTamperedError } from "../../src/store/errors.ts";
import { USAGE_MIGRATIONS } from "../../src/store/usage-schema.ts";
import { openVault } from "../../src/store/vault.ts";
import { allValues, backedUp, backUp, restore } from "../support/backup-fixture.ts";
import { requires } from "../support/requirement.ts";
import { tempDir } from "../support/temp-dir.ts";
import { fields, fill, newVault } from "../support/vault-fixture.ts";

const RESTORER = join(import.meta.dirname, "../support/backup-restorer.ts");

function refused(code: string, words = /./): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof BackupError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, words);
    return true;
  };
}

/** Every file below, by its content: what must not have changed. */
function snapshotOf(directory: string): Record<string, string> {
  const names = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    names.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path.slice(directory.length), readFileSync(path, "base64")];
    }),
  );
}

function keptBeside(directory: string): string[] {
  return readdirSync(dirname(directory)).filter((name) => name.startsWith(`${basename(directory)}.before-restore-`));
}

describe("restoring into an empty place", () => {
  it("makes the directory, notes the restore in the audit, and the vault opens as ever", async (t) => {
    const { vault, path, unlocker, place, options } = await backedUp(t);
    const data = join(place, "new", "data");
    const restored = await restore(path, data, [unlocker]);
    assert.deepEqual([restored.kept, restored.rollback, restored.config], [null, null, null]);
    assert.equal(statSync(data).mode & 0o777, 0o700);
    assert.deepEqual(readdirSync(data).sort(), ["audit.anchor", "vault.db"]);
    for (const name of readdirSync(data)) assert.equal(statSync(join(data, name)).mode & 0o777, 0o600);
    const again = openVault(data, options);
    await again.unseal([unlocker]);
    const actions = again.listAudit().map(({ action }) => action);
    assert.deepEqual(actions.slice(-4), ["backup.create", "vault.unseal", "backup.restore", "vault.unseal"]);
    assert.deepEqual(allValues(again), allValues(vault));
    again.close();
  });

  it("accepts a directory that holds nothing but the key file, and an empty one", async (t) => {
    const { path, unlocker, directory, place } = await backedUp(t);
    const data = join(place, "data");
    mkdirSync(data, { mode: 0o700 });
    copyFileSync(join(directory, "root.key"), join(data, "root.key"));
    assert.equal((await restore(path, data, [unlocker])).kept, null);
    assert.deepEqual(readdirSync(data).sort(), ["audit.anchor", "root.key", "vault.db"]);
  });

  it("leaves no trace of a restore that was refused", async (t) => {
    const { path, unlocker, place } = await backedUp(t);
    const data = join(place, "data");
    const broken = join(place, "broken.backup");
    const bytes = readFileSync(path);
    bytes[bytes.length - 100] = (bytes[bytes.length - 100] ?? 0) ^ 1;
    writeFileSync(broken, bytes);
    await assert.rejects(restore(broken, data, [unlocker]), refused("damaged"));
    assert.ok(!existsSync(data));
    await assert.rejects(restore(join(place, "nowhere"), data, [unlocker]), refused("unreadable", /does not exist/));
  });
});

describe("restoring over a vault", () => {
  it("is refused without being told to replace it, and for another vault's backup", async (t) => {
    const one = await backedUp(t);
    const other = await backedUp(t);
    one.vault.close();
    const before = snapshotOf(one.directory);
    await assert.rejects(restore(one.path, one.directory, [one.unlocker]), refused("exists", /holds a vault/));
    const foreign = restore(other.path, one.directory, [other.unlocker], { replace: true });
    await assert.rejects(foreign, refused("foreign", /holds vault/));
    assert.deepEqual(snapshotOf(one.directory), before);
    assert.deepEqual(keptBeside(one.directory), []);
  });

  it("keeps what was there, with its key, and goes on with everything else in the directory", async (t) => {
    const { vault, path, unlocker, directory, options } = await backedUp(t);
    t.after(() => execFileSync("rm", ["-rf", ...keptBeside(directory).map((name) => join(dirname(directory), name))]));
    vault.close();
    writeFileSync(join(directory, "ca.pem"), "kept");
    const usage = openUsageDatabase(join(directory, "usage.db"), USAGE_MIGRATIONS);
    usage.close();
    const { kept } = await restore(path, directory, [unlocker], { replace: true });
    assert.ok(kept);
    assert.deepEqual(readdirSync(kept).sort(), ["audit.anchor", "root.key", "vault.db"]);
    assert.notEqual(statSync(join(kept, "vault.db")).ino, statSync(join(directory, "vault.db")).ino);
    for (const name of ["ca.pem", "usage.db", "root.key"]) assert.ok(existsSync(join(directory, name)), name);
    const old = openVault(kept, options);
    await old.unseal([{ kind: "file", path: join(kept, "root.key") }]);
    assert.equal(old.verifyAudit().ok, true);
    old.close();
    const again = openVault(directory, options);
    await again.unseal([unlocker]);
    assert.equal(again.verifyAudit().ok, true);
    again.close();
  });

  it("is refused while a daemon answers or another process has the vault open, and changes nothing", async (t) => {
    const { path, unlocker, directory, vault } = await backedUp(t);
    const busy = async (): Promise<void> => {
      throw new Error("a daemon serves it");
    };
    await assert.rejects(restore(path, directory, [unlocker], { replace: true, assertIdle: busy }), /daemon serves/);
    let asked = 0;
    const later = async (): Promise<void> => {
      if (++asked === 2) throw new Error("a daemon serves it");
    };
    await assert.rejects(restore(path, directory, [unlocker], { replace: true, assertIdle: later }), /daemon serves/);
    await assert.rejects(restore(path, directory, [unlocker], { replace: true }), refused("in_use", /another process/));
    assert.deepEqual(keptBeside(directory), []);
    assert.equal(vault.verifyAudit().ok, true);
    assert.ok(!readdirSync(directory).some((name) => name.endsWith(".half")));
  });

  it("takes the place of a vault that is damaged, or gone but for its anchor", async (t) => {
    const { path, unlocker, directory, vault, options } = await backedUp(t);
    t.after(() => execFileSync("rm", ["-rf", ...keptBeside(directory).map((name) => join(dirname(directory), name))]));
    vault.close();
    for (const ruin of ["garbage", "gone"]) {
      if (ruin === "garbage") writeFileSync(join(directory, "vault.db"), "no database", { mode: 0o600 });
      else execFileSync("rm", [join(directory, "vault.db")]);
      const { rollback } = await restore(path, directory, [unlocker], { replace: ruin === "garbage" });
      if (ruin === "garbage") assert.equal(rollback, null);
      const again = openVault(directory, options);
      if (rollback === null) await again.unseal([unlocker]);
      else await assert.rejects(again.unseal([unlocker]), VaultTamperedError);
      again.close();
    }
  });
});

describe("G9 chained: restoring an older state", () => {
  it("keeps the newer anchor, so that the vault starts sealed as rolled back until somebody answers for it", async (t) => {
    const { vault, path, unlocker, directory, options } = await backedUp(t);
    t.after(() => execFileSync("rm", ["-rf", ...keptBeside(directory).map((name) => join(dirname(directory), name))]));
    vault.addVersion("fmp-main", fields({ api_key: "newer" }), "current", "ana");
    vault.close();
    const anchor = readFileSync(join(directory, "audit.anchor"), "utf8");
    const { rollback } = await restore(path, directory, [unlocker], { replace: true });
    assert.match(rollback ?? "", /which the backup does not have/);
    assert.equal(readFileSync(join(directory, "audit.anchor"), "utf8"), anchor);
    const again = openVault(directory, options);
    await assert.rejects(again.unseal([unlocker]), VaultTamperedError);
    assert.equal(again.sealed, true);
    await again.unseal([unlocker], { acceptRollback: "ana" });
    again.close();
  });

  it("holds it against a given anchor too, and against the anchor of a lost vault", async (t) => {
    const { vault, path, unlocker, directory, place, options } = await backedUp(t);
    vault.addVersion("fmp-main", fields({ api_key: "newer" }), "current", "ana");
    const anchor = join(place, "kept.anchor");
    copyFileSync(join(directory, "audit.anchor"), anchor);
    const [given, found] = [join(place, "a"), join(place, "b")];
    mkdirSync(found, { mode: 0o700 });
    copyFileSync(anchor, join(found, "audit.anchor"));
    for (const [data, extra] of [
      [given, { anchor }],
      [found, {}],
    ] as const) {
      const { rollback } = await restore(path, data, [unlocker], extra);
      assert.match(rollback ?? "", /which the backup does not have/);
      assert.deepEqual(readFileSync(join(data, "audit.anchor")), readFileSync(anchor));
      const again = openVault(data, options);
      await assert.rejects(again.unseal([unlocker]), VaultTamperedError);
      again.close();
    }
    const other = await newVault(t);
    const foreign = join(other.directory, "audit.anchor");
    await assert.rejects(
      restore(path, join(place, "c"), [unlocker], { anchor: foreign }),
      refused("foreign", /anchor/),
    );
    const missing = join(place, "no.anchor");
    await assert.rejects(restore(path, join(place, "c"), [unlocker], { anchor: missing }), refused("unreadable"));
    assert.ok(!existsSync(join(place, "c")));
  });

  it("is no roll-back when nothing happened since, or when the anchor is older than the backup", async (t) => {
    const { path, unlocker, place, directory } = await backedUp(t);
    const anchor = join(directory, "audit.anchor");
    assert.equal((await restore(path, join(place, "a"), [unlocker], { anchor })).rollback, null);
  });
});

describe("a restore that does not come to its end", () => {
  it("changes nothing when the disk is full, and works once there is room", async (t) => {
    let mounted = "";
    // Registered first, because a mounted directory cannot be removed.
    t.after(() => spawnSync("umount", ["-l", mounted]));
    mounted = tempDir(t);
    const mount = (): boolean =>
      spawnSync("mount", ["-t", "tmpfs", "-o", "size=400k,mode=700", "tmpfs", mounted]).status === 0;
    if (!(await requires(t, "mounting a small file system", mount))) return;
    const fixture = await newVault(t);
    fill(fixture.vault);
    const path = join(tempDir(t), "one.backup");
    await backUp(fixture, path);
    const filler = join(mounted, "filler");
    for (const room of [4, 40, 84, 104]) {
      writeFileSync(filler, Buffer.alloc((400 - room) * 1024));
      await assert.rejects(restore(path, mounted, [fixture.unlocker]), (error) => {
        assert.ok(error instanceof DatabaseError, String(error));
        assert.equal(error.code, "full");
        assert.match(error.message, /disk is full/);
        return true;
      });
      assert.deepEqual(readdirSync(mounted), ["filler"], `${room} KiB`);
    }
    writeFileSync(filler, Buffer.alloc(360 * 1024));
    const small = join(mounted, "small.backup");
    await assert.rejects(backUp(fixture, small), /small\.backup: the disk is full/);
    assert.deepEqual(readdirSync(mounted), ["filler"]);
    writeFileSync(filler, "");
    await restore(path, mounted, [fixture.unlocker]);
    assert.ok(existsSync(join(mounted, "vault.db")));

    // The copy that a backup is made from does not fit beside the data.
    const vault = openVault(mounted, fixture.options);
    t.after(() => vault.close());
    await vault.unseal([fixture.unlocker]);
    const out = join(tempDir(t), "two.backup");
    writeFileSync(filler, Buffer.alloc(200 * 1024));
    await assert.rejects(backUp({ ...fixture, vault, directory: mounted }, out), {
      name: "DatabaseError",
      code: "full",
    });
    assert.deepEqual(
      [readdirSync(mounted).filter((name) => name.endsWith(".half")), readdirSync(dirname(out))],
      [[], []],
    );
    writeFileSync(filler, "");
    assert.equal(vault.verifyAudit().ok, true);
    await backUp({ ...fixture, vault, directory: mounted }, out);
  });

  it("forgets what an unfinished one had linked, and never what a finished one has kept", async (t) => {
    const { vault, path, unlocker, directory } = await backedUp(t);
    t.after(() => execFileSync("rm", ["-rf", ...keptBeside(directory).map((name) => join(dirname(directory), name))]));
    vault.close();
    const unfinished = `${directory}.before-restore-1`;
    mkdirSync(unfinished);
    for (const name of ["vault.db", "audit.anchor"]) linkSync(join(directory, name), join(unfinished, name));
    const { kept } = await restore(path, directory, [unlocker], { replace: true });
    assert.deepEqual(keptBeside(directory), [basename(kept ?? "")]);
    const again = await restore(path, directory, [unlocker], { replace: true });
    assert.deepEqual(keptBeside(directory).sort(), [basename(kept ?? ""), basename(again.kept ?? "")].sort());
  });

  it("keeps the old files inside a data directory that is a mount of its own", async (t) => {
    let mounted = "";
    t.after(() => spawnSync("umount", ["-l", mounted]));
    mounted = tempDir(t);
    const mount = (): boolean =>
      spawnSync("mount", ["-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", mounted]).status === 0;
    if (!(await requires(t, "mounting a small file system", mount))) return;
    const { path, unlocker, options } = await backedUp(t);
    await restore(path, mounted, [unlocker]);
    const { kept } = await restore(path, mounted, [unlocker], { replace: true });
    assert.equal(dirname(kept ?? ""), mounted);
    assert.deepEqual(readdirSync(kept ?? "").sort(), ["audit.anchor", "vault.db"]);
    assert.deepEqual(keptBeside(mounted), []);
    const again = openVault(mounted, options);
    await assert.rejects(again.unseal([unlocker]), VaultTamperedError, "the entries of the first restore are lost");
    again.close();
  });

  it("leaves the old vault or the new one after kill -9 at any moment, and the next run tidies up", async (t) => {
    const { vault, path, unlocker, directory, options } = await backedUp(t);
    t.after(() => execFileSync("rm", ["-rf", ...keptBeside(directory).map((name) => join(dirname(directory), name))]));
    vault.close();
    let killed = 0;
    for (let delay = 0; delay < 8; delay++) {
      const child = spawn(process.execPath, [RESTORER, path, directory], { stdio: ["ignore", "pipe", "inherit"] });
      // From the beginning: on an idle machine it may be over before it is killed.
      const ended = new Promise((resolve) => child.once("close", (_, by) => resolve(by)));
      await new Promise<void>((resolve) => child.stdout.once("data", () => resolve()));
      await new Promise((resolve) => setTimeout(resolve, delay * 6));
      child.kill("SIGKILL");
      if ((await ended) === "SIGKILL") killed++;
      const again = openVault(directory, options);
      await again.unseal([unlocker], { acceptRollback: "ana" });
      assert.equal(again.verifyAudit().ok, true);
      assert.equal(Object.keys(allValues(again)).length, 5);
      again.close();
    }
    assert.ok(killed > 0, "every restore was over before it was killed");
    await restore(path, directory, [unlocker], { replace: true });
    assert.ok(!readdirSync(directory).some((name) => name.endsWith(".half")));
    const live = statSync(join(directory, "vault.db")).ino;
    for (const name of keptBeside(directory)) {
      assert.notEqual(statSync(join(dirname(directory), name, "vault.db")).ino, live);
    }
  });
});
