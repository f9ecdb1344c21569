import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import SQLite from "better-sqlite3";
import {
  assertSqliteVersion,
  DatabaseError,
  guard,
  openUsageDatabase,
  openVaultDatabase,
} from "../../src/store/database.ts";
import { tempDir } from "../support/temp-dir.ts";

function fails(code: string, words: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof DatabaseError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, words);
    return true;
  };
}

describe("database", () => {
  it("creates the vault with mode 0600, its logs included, and safe settings", (t) => {
    const directory = tempDir(t);
    const db = openVaultDatabase(join(directory, "vault.db"), { create: true });
    t.after(() => db.close());
    const settings = ["journal_mode", "synchronous", "secure_delete", "foreign_keys", "trusted_schema", "temp_store"];
    assert.deepEqual(
      settings.map((name) => db.pragma(name, { simple: true })),
      ["wal", 2, 1, 1, 0, 2],
    );
    for (const name of readdirSync(directory)) assert.equal(statSync(join(directory, name)).mode & 0o777, 0o600, name);
    assert.ok(existsSync(join(directory, "vault.db-wal")));
  });

  it("opens usage.db with its own migrations and lighter flushing", (t) => {
    const path = join(tempDir(t), "usage.db");
    openUsageDatabase(path, ["CREATE TABLE one (x)"]).close();
    const db = openUsageDatabase(path, ["CREATE TABLE one (x)", "CREATE TABLE two (x)"]);
    t.after(() => db.close());
    assert.equal(db.pragma("synchronous", { simple: true }), 1);
    assert.deepEqual(db.prepare("SELECT name FROM sqlite_schema").pluck().all(), ["one", "two"]);
  });

  it("does not make a vault where none is", (t) => {
    const path = join(tempDir(t), "vault.db");
    assert.throws(() => openVaultDatabase(path), fails("missing", /vault\.db: does not exist/));
    assert.equal(existsSync(path), false);
  });

  it("refuses a schema that a newer version wrote", (t) => {
    const path = join(tempDir(t), "vault.db");
    const db = openVaultDatabase(path, { create: true });
    db.pragma("user_version = 99");
    db.close();
    assert.throws(() => openVaultDatabase(path), fails("too_new", /schema 99 .* upgrade sidekey/));
  });

  it("names the file and the next step when it is damaged", (t) => {
    const directory = tempDir(t);
    const garbage = join(directory, "garbage.db");
    writeFileSync(garbage, Buffer.alloc(8192, "not a database "), { mode: 0o600 });
    assert.throws(() => openVaultDatabase(garbage), fails("corrupt", /garbage\.db: is damaged; restore/));
    const empty = join(directory, "empty.db");
    writeFileSync(empty, "", { mode: 0o600 });
    assert.throws(() => openVaultDatabase(empty), fails("corrupt", /empty\.db: this is not a sidekey vault/));
    const short = join(directory, "short.db");
    openVaultDatabase(short, { create: true }).close();
    truncateSync(short, 8192);
    assert.throws(() => openVaultDatabase(short), fails("corrupt", /short\.db: is damaged/));
  });

  it("refuses another program's database and the usage database in the vault's place", (t) => {
    const directory = tempDir(t);
    const foreign = join(directory, "foreign.db");
    const db = new SQLite(foreign);
    db.exec("CREATE TABLE t (x)");
    db.close();
    chmodSync(foreign, 0o600);
    assert.throws(() => openVaultDatabase(foreign, { create: true }), fails("corrupt", /not a sidekey vault/));
    const usage = join(directory, "usage.db");
    openUsageDatabase(usage, ["CREATE TABLE one (x)"]).close();
    assert.throws(() => openVaultDatabase(usage), fails("corrupt", /not a sidekey vault/));
  });

  it("refuses a planted trigger, view or table", (t) => {
    const path = join(tempDir(t), "vault.db");
    openVaultDatabase(path, { create: true }).close();
    const db = new SQLite(path);
    db.exec("CREATE TRIGGER spy AFTER INSERT ON versions BEGIN DELETE FROM audit; END");
    db.close();
    assert.throws(() => openVaultDatabase(path), fails("corrupt", /"trigger spy" is not what sidekey wrote/));
  });

  it("refuses files and directories that other users can reach, naming the chmod", (t) => {
    const directory = tempDir(t);
    const path = join(directory, "vault.db");
    openVaultDatabase(path, { create: true }).close();
    chmodSync(path, 0o640);
    assert.throws(() => openVaultDatabase(path), fails("permissions", /mode 640 .* run: chmod 600 .*vault\.db/));
    chmodSync(path, 0o600);
    chmodSync(directory, 0o755);
    assert.throws(() => openVaultDatabase(path), fails("permissions", /mode 755 .* run: chmod 700 /));
    chmodSync(directory, 0o700);
  });

  it("does not follow a link in the vault's place", (t) => {
    const directory = tempDir(t);
    const path = join(directory, "vault.db");
    openVaultDatabase(path, { create: true }).close();
    symlinkSync(path, join(directory, "link.db"));
    mkdirSync(join(directory, "folder.db"));
    assert.throws(() => openVaultDatabase(join(directory, "link.db")), fails("permissions", /not a regular file/));
    assert.throws(() => openVaultDatabase(join(directory, "folder.db")), fails("permissions", /not a regular file/));
  });

  it("refuses a SQLite with the WAL-reset bug", () => {
    assert.throws(() => assertSqliteVersion("3.51.2", "vault.db"), fails("sqlite_too_old", /3\.51\.2 may corrupt/));
    for (const good of ["3.51.3", "3.54.1", "3.100.0", "4.0.0"]) assertSqliteVersion(good, "vault.db");
  });

  it("says so when another process keeps the lock", (t) => {
    const path = join(tempDir(t), "vault.db");
    const holder = openVaultDatabase(path, { create: true });
    const other = new SQLite(path, { timeout: 1 });
    t.after(() => {
      holder.close();
      other.close();
    });
    holder.exec("BEGIN IMMEDIATE");
    assert.throws(() => guard(path, () => other.exec("BEGIN IMMEDIATE")), fails("busy", /another process/));
  });
});
