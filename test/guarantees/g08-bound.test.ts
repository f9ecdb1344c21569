import assert from "node:assert/strict";
import { test } from "node:test";
import type SQLite from "better-sqlite3";
import fc from "fast-check";
import { isRefusal, prepared, rowsOf, setCell, tablesOf } from "../support/tampering.ts";
import { editDatabase, fillEveryTable, newVault } from "../support/vault-fixture.ts";

/** Two different values of one column, by table: what an attacker can exchange or copy without inventing anything. */
function pairsOf(directory: string): { table: string; column: string; from: number; to: number }[] {
  const pairs: ReturnType<typeof pairsOf> = [];
  editDatabase(directory, (db) => {
    for (const table of tablesOf(directory).keys()) {
      const rows = rowsOf(db, table);
      for (const [to, row] of rows.entries()) {
        for (const [from, other] of rows.entries()) {
          for (const column of Object.keys(row)) {
            if (!same(row[column], other[column])) pairs.push({ table, column, from, to });
          }
        }
      }
    }
  });
  return pairs;
}

function same(a: unknown, b: unknown): boolean {
  return Buffer.isBuffer(a) && Buffer.isBuffer(b) ? a.equals(b) : a === b;
}

test("G8 bound: a value copied from another row, alone or in exchange, is found (property)", async (t) => {
  const { directory, attack } = await prepared(t);
  const byTable = Map.groupBy(pairsOf(directory), ({ table }) => table);
  // Tables by turns, because the audit has more rows than all others together.
  const anyPair = fc.constantFrom(...byTable.values()).chain((pairs) => fc.constantFrom(...pairs));
  const property = fc.asyncProperty(anyPair, fc.boolean(), async ({ table, column, from, to }, exchange) => {
    let blocked = false;
    const found = await attack((db) => {
      const rows = rowsOf(db, table);
      const [source = {}, target = {}] = [rows[from], rows[to]];
      try {
        if (exchange) swap(db, table, column, source, target);
        else setCell(db, table, target, column, source[column]);
      } catch (error) {
        // A primary key, or the one current version: the schema itself does not take it.
        if (!/constraint/i.test(String(error))) throw error;
        blocked = true;
      }
    });
    return blocked || found !== null;
  });
  await fc.assert(property, { numRuns: 150 });
});

/** Through a third value, since keys must stay unique in between. */
function swap(db: SQLite.Database, table: string, column: string, one: object, other: object): void {
  const [a, b] = [one as Record<string, unknown>, other as Record<string, unknown>];
  const between = [a, b].some((row) => typeof row[column] === "number")
    ? 99_999
    : Buffer.isBuffer(a[column])
      ? Buffer.from("x")
      : "between";
  db.transaction(() => {
    setCell(db, table, a, column, between);
    setCell(db, table, b, column, a[column]);
    setCell(db, table, { ...a, [column]: between }, column, b[column]);
  })();
}

test("G8 bound: a row moved to another table that it fits, with its MAC, is found", async (t) => {
  const { directory, attack } = await prepared(t);
  let moves = 0;
  const shapes = new Map<string, string[]>();
  editDatabase(directory, (db) => {
    for (const table of tablesOf(directory).keys()) {
      const columns = db.pragma(`table_info(${table})`) as { type: string; notnull: number }[];
      const shape = columns.map(({ type }) => type).join();
      shapes.set(shape, [...(shapes.get(shape) ?? []), table]);
    }
  });
  for (const tables of shapes.values()) {
    for (const from of tables) {
      for (const to of tables) {
        if (from === to) continue;
        moves++;
        const moved = await attack((db) => db.exec(`DELETE FROM ${to}; INSERT INTO ${to} SELECT * FROM ${from}`));
        assert.notEqual(moved, null, `${from} to ${to}`);
      }
    }
  }
  assert.ok(moves >= 2, "no two tables have one shape: the test proved nothing");
});

test("G8 bound: a row planted, deleted or doubled in any table is found", async (t) => {
  const { directory, attack } = await prepared(t);
  for (const table of tablesOf(directory).keys()) {
    assert.notEqual(await attack((db) => db.exec(`DELETE FROM ${table}`)), null, `${table} emptied`);
    const one = `WITH one AS (SELECT * FROM ${table} LIMIT 1)`;
    for (const kind of ["INTEGER", "TEXT"]) {
      const planted = await attack((db) => {
        const columns = db.pragma(`table_info(${table})`) as { name: string; type: string; pk: number }[];
        const key = columns.find(({ pk, type }) => pk > 0 && type === kind);
        if (key === undefined || table === "vault") return void db.exec(`DELETE FROM ${table}`);
        const fresh = kind === "INTEGER" ? 4_242 : "'planted'";
        const unique = (name: string): string => (table === "credentials" && name === "name" ? "'planted'" : name);
        const values = columns.map(({ name }) => (name === key.name ? fresh : unique(name)));
        const stage = table === "versions" ? values.map((value) => (value === "stage" ? "'pending'" : value)) : values;
        db.exec(`${one} INSERT INTO ${table} SELECT ${stage.join(", ")} FROM one`);
      });
      assert.notEqual(planted, null, `a row planted in ${table}`);
    }
  }
});

const FMP_ROWS = [
  "UPDATE credentials SET hosts = '[\"evil.example\"]' WHERE name = 'fmp-main'",
  "UPDATE versions SET (sealed, sealed_key) = (SELECT sealed, sealed_key FROM versions WHERE stage = 'previous') WHERE stage = 'current'",
];
/** What shows in the header, or at the end of the chain. */
const ENDS = [
  "DELETE FROM versions WHERE stage = 'previous'",
  "UPDATE wrappers SET params = params || ' '",
  "INSERT INTO wrappers SELECT 'planted', kind, params, wrapped, created_at FROM wrappers",
  "UPDATE vault SET epoch = epoch + 1",
  "UPDATE vault SET digest = NULL",
  "UPDATE audit SET state = randomblob(32) WHERE seq = (SELECT max(seq) FROM audit)",
];

test("G8 bound: an unsealed vault notices the same changes before it opens a secret, and the larger ones before any use", async (t) => {
  for (const sql of [...FMP_ROWS, ...ENDS]) {
    const { vault, directory } = await newVault(t);
    fillEveryTable(vault);
    const { id } = vault.getCredential("fmp-main");
    editDatabase(directory, (db) => db.exec(sql));
    assert.throws(() => vault.openFields(id, 2, "test"), isRefusal, sql);
    if (!ENDS.includes(sql)) continue;
    assert.throws(() => vault.addClientToken("app", {}, "ana"), isRefusal, sql);
    assert.throws(() => vault.loadTokenTable(), isRefusal, sql);
  }
});
