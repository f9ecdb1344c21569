import assert from "node:assert/strict";
import { copyFileSync, existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type SQLite from "better-sqlite3";
import fc from "fast-check";
import { openVault, type Vault } from "../../src/store/vault.ts";
import type { Unlocker } from "../../src/store/wrappers.ts";
import { complaint, putBack, rowsOf, tablesOf } from "../support/tampering.ts";
import {
  copyOf,
  editDatabase,
  fields,
  fillEveryTable,
  newCredential,
  newVault,
  passphrase,
  reveal,
} from "../support/vault-fixture.ts";

interface History {
  /** The data directory at each moment, oldest first; the vault was closed. */
  readonly moments: readonly string[];
  readonly unlocker: Unlocker;
  /** A directory to break. */
  readonly work: string;
}

const CHANGES: readonly ((vault: Vault, unlocker: Unlocker) => unknown)[] = [
  (vault) => vault.revokeClientTokens("app", "ana"),
  (vault) => vault.revokeVersion("fmp-main", 1, "ana"),
  (vault) => vault.addVersion("fmp-spare", fields({ api_key: "fmp-key-newer" }), "current", "ana"),
  (vault, unlocker) => vault.addWrapper(passphrase("a passphrase that goes again"), [unlocker], "ana"),
  (vault) => vault.removeWrapper(vault.listWrappers().find(({ kind }) => kind === "passphrase")?.id ?? "", "ana"),
  (vault) => vault.addCredential(newCredential("late"), fields({ api_key: "late-key" }), "ana"),
  (vault) => vault.setState("alpaca-7", "disabled", "ana"),
];

/** One vault at several moments, each genuine. */
async function history(t: TestContext): Promise<History> {
  const { vault, directory, unlocker, reopen } = await newVault(t);
  fillEveryTable(vault);
  vault.close();
  const moments = [copyOf(t, directory)];
  for (const change of CHANGES) {
    const later = reopen();
    await later.unseal([unlocker]);
    await change(later, unlocker);
    later.close();
    moments.push(copyOf(t, directory));
  }
  return { moments, unlocker, work: copyOf(t, directory) };
}

const newest = ({ moments }: History): string => moments.at(-1) ?? "";

/** Makes tables of `db` what they were in `old`. */
function putTablesBack(db: SQLite.Database, old: string, tables: readonly string[]): boolean {
  let changed = false;
  for (const table of tables) {
    let before: Record<string, unknown>[] = [];
    editDatabase(old, (from) => {
      before = rowsOf(from, table);
    });
    changed ||= JSON.stringify(rowsOf(db, table)) !== JSON.stringify(before);
    db.exec(`DELETE FROM ${table}`);
    for (const row of before) {
      const names = Object.keys(row);
      db.prepare(
        `INSERT INTO ${table} (${names.join(", ")}) VALUES (${names.map((name) => `@${name}`).join(", ")})`,
      ).run(row);
    }
  }
  return changed;
}

test("G9 chained: any tables put back to an older genuine state are found (property)", async (t) => {
  const past = await history(t);
  const tables = [...tablesOf(newest(past)).keys()];
  const anySubset = fc.subarray(tables, { minLength: 1 });
  const property = fc.asyncProperty(anySubset, fc.nat(past.moments.length - 2), async (subset, moment) => {
    putBack(newest(past), past.work);
    let changed = false;
    editDatabase(past.work, (db) => {
      changed = putTablesBack(db, past.moments[moment] ?? "", subset);
    });
    const found = await complaint(past.work, past.unlocker);
    return (found !== null) === changed;
  });
  await fc.assert(property, { numRuns: 80 });
});

test("G9 chained: every whole older vault.db is found against the newest anchor, and says from which entry on", async (t) => {
  const past = await history(t);
  for (const moment of past.moments.slice(0, -1)) {
    putBack(moment, past.work);
    copyFileSync(join(newest(past), "audit.anchor"), join(past.work, "audit.anchor"));
    const found = await complaint(past.work, past.unlocker);
    assert.match(found ?? "", /^audit: entries \d+ to \d+ are missing: .*`sidekey vault acknowledge-rollback`$/);
  }
});

test("G9 chained: a vault.db newer than its anchor is a crash, not tampering; without an anchor it is refused", async (t) => {
  const past = await history(t);
  putBack(newest(past), past.work);
  for (const moment of past.moments) {
    copyFileSync(join(moment, "audit.anchor"), join(past.work, "audit.anchor"));
    assert.equal(await complaint(past.work, past.unlocker), null);
  }
  rmSync(join(past.work, "audit.anchor"));
  assert.match((await complaint(past.work, past.unlocker)) ?? "", /audit\.anchor is missing/);
});

test("G9 chained: an older moment whole, its anchor with it, is found by a record kept elsewhere and by nothing else", async (t) => {
  const past = await history(t);
  const anchor = readFileSync(join(newest(past), "audit.anchor"), "utf8");
  for (const moment of past.moments.slice(0, -1)) {
    putBack(moment, past.work);
    assert.equal(await complaint(past.work, past.unlocker), null);
    const vault = openVault(past.work);
    t.after(() => vault.close());
    await vault.unseal([past.unlocker]);
    assert.equal(vault.compare("anchor", anchor).ok, false);
  }
});

test("G9 chained: another moment's write-ahead log, or a cut one, never shows anything but a genuine moment", async (t) => {
  const { vault, directory, unlocker } = await newVault(t);
  fillEveryTable(vault);
  const early = copyOf(t, directory);
  for (const change of CHANGES) await change(vault, unlocker);
  const late = copyOf(t, directory);
  vault.close();
  const closed = copyOf(t, directory);
  const work = copyOf(t, directory);
  const wal = (of: string): string => join(of, "vault.db-wal");
  assert.ok(existsSync(wal(early)) && existsSync(wal(late)), "the log was not there to be swapped");
  const size = readFileSync(wal(late)).length;
  const attacks: [string, () => void][] = [
    ["the early log beside the late database", () => copyFileSync(wal(early), wal(work))],
    ["no log", () => rmSync(wal(work))],
    ...[1 / 4, 1 / 2, 3 / 4, 1 - 1e-3].map((part): [string, () => void] => [
      `the first ${part} of the log`,
      () => truncateSync(wal(work), Math.floor(size * part)),
    ]),
  ];
  for (const [what, attack] of attacks) {
    putBack(late, work);
    rmSync(join(work, "vault.db-shm"), { force: true });
    attack();
    assert.notEqual(await complaint(work, unlocker), null, what);
  }
  // The log of a moment that is in the database already is either ignored or refused; both are right.
  putBack(closed, work);
  copyFileSync(wal(early), wal(work));
  const found = await complaint(work, unlocker);
  if (found !== null) assert.match(found, /are missing|went another way|since audit entry|damaged/);
});

/** Everything that can be opened, as text. */
async function contentOf(directory: string, unlocker: Unlocker): Promise<string> {
  const vault = openVault(directory);
  try {
    await vault.unseal([unlocker]);
    const credentials = vault.listCredentials();
    const opened = credentials.flatMap(({ id, name, state, versions }) =>
      versions
        .filter(({ stage }) => state === "enabled" && stage !== "revoked")
        .map(({ number }) => [name, number, reveal(vault.openFields(id, number, "test"))]),
    );
    return JSON.stringify([credentials, opened, vault.listClientTokens()]);
  } finally {
    vault.close();
  }
}

test("G9 chained: vault.db with any byte changed or cut anywhere is refused, or is still the same vault (property)", async (t) => {
  const past = await history(t);
  const { work, unlocker } = past;
  putBack(newest(past), work);
  const good = await contentOf(work, unlocker);
  const bytes = readFileSync(join(newest(past), "vault.db"));
  const anyDamage = fc.record({ at: fc.nat(bytes.length - 1), bit: fc.nat(7), cut: fc.nat(9).map((n) => n === 0) });
  const property = fc.asyncProperty(anyDamage, async ({ at, bit, cut }) => {
    putBack(newest(past), work);
    const bad = Buffer.from(cut ? bytes.subarray(0, at) : bytes);
    if (!cut) bad[at] = (bad[at] ?? 0) ^ (1 << bit);
    writeFileSync(join(work, "vault.db"), bad, { mode: 0o600 });
    // Free pages and the slack of pages hold nothing: a change there is none of the vault.
    return (await complaint(work, unlocker)) !== null || (await contentOf(work, unlocker)) === good;
  });
  await fc.assert(property, { numRuns: 120 });
});

test("G9 chained: audit.anchor and root.key with any bit changed or any length are refused, and the message names the file", async (t) => {
  const { vault, directory, unlocker } = await newVault(t);
  fillEveryTable(vault);
  vault.close();
  const damage = async (name: string, expected: RegExp): Promise<void> => {
    const path = join(directory, name);
    const good = readFileSync(path);
    const variants = [...good.keys()].map((at) => {
      const bad = Buffer.from(good);
      bad[at] = (bad[at] ?? 0) ^ (1 << (at % 8));
      return bad;
    });
    for (let length = 0; length < good.length - 1; length += 11) variants.push(good.subarray(0, length));
    for (const bad of variants) {
      writeFileSync(path, bad);
      const found = await complaint(directory, unlocker);
      // The last byte is white space, and hex digits have two cases: still the same file to its reader.
      if (found === null) assert.equal(readable(bad), readable(good), name);
      else assert.match(found, expected);
    }
    writeFileSync(path, good);
    assert.equal(await complaint(directory, unlocker), null);
  };
  await damage("audit.anchor", /audit\.anchor was edited or belongs to another vault/);
  await damage("root.key", /root\.key/);
});

function readable(file: Buffer): string {
  return file.toString("latin1").trim().toLowerCase();
}
