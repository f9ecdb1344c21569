import { type CanonicalObject, type CanonicalValue, canonicalBytes, canonicalJson } from "./canonical.ts";
import { constantTimeEqual, mac } from "./crypto.ts";
import type { Database } from "./database.ts";
import { VaultTamperedError } from "./errors.ts";
import { assertHeader, type Keyring } from "./keyring.ts";

/** Tables whose every row carries a MAC over all its other columns, with their primary keys. */
const PRIMARY_KEYS = {
  vault: ["id"],
  categories: ["name"],
  credentials: ["id"],
  versions: ["credential", "number"],
  client_tokens: ["id"],
  sealed_blobs: ["name"],
  category_generations: ["name", "generation"],
  rotations: ["credential"],
  rotation_policies: ["credential"],
  removals: ["credential"],
  submissions: ["digest"],
  retired_roots: ["generation"],
} as const;

/** Tables of the first schema: they are part of the state even when empty, as they always were. */
const FIRST_TABLES: readonly Table[] = [
  "vault",
  "categories",
  "credentials",
  "versions",
  "client_tokens",
  "sealed_blobs",
];

/** Every table with ordinary row MACs. */
export const SEALED_TABLES = Object.keys(PRIMARY_KEYS).filter((table) => table !== "vault") as readonly SealedTable[];

/** A table name is spliced into SQL, so it only ever comes from the list above. */
export type Table = keyof typeof PRIMARY_KEYS;
/** The tables with ordinary row MACs; `vault` has the header MAC instead (see keyring.ts). */
export type SealedTable = Exclude<Table, "vault">;
export type Row = Record<string, string | number | null | Buffer>;

/** The MAC of one row: keyed BLAKE2b over the canonical JSON of table, vault and every column (blobs as base64). */
export function rowMac(keys: Keyring, table: SealedTable, row: Row): Buffer {
  return mac(keys.rows, canonicalBytes({ format: 1, row: rowColumns(row), table, vault: keys.vault }));
}

function rowColumns(row: Row): CanonicalObject {
  const columns: Record<string, CanonicalValue> = {};
  for (const name in row) {
    const value = row[name];
    if (name !== "mac" && value !== undefined)
      columns[name] = Buffer.isBuffer(value) ? value.toString("base64") : value;
  }
  return columns;
}

/** Inserts `row`, or replaces all columns of the row with the same primary key, with a fresh MAC. */
export function putRow(db: Database, keys: Keyring, table: SealedTable, row: Row): void {
  writeRow(db, table, { ...row, mac: rowMac(keys, table, row) });
}

/** As `putRow`, for a row whose MAC is there already. */
export function writeRow(db: Database, table: SealedTable, full: Row): void {
  const columns = Object.keys(full);
  const primary: readonly string[] = PRIMARY_KEYS[table];
  const changes = columns.filter((name) => !primary.includes(name)).map((name) => `${name} = excluded.${name}`);
  db.prepare(
    `INSERT INTO ${table} (${columns.join(", ")}) VALUES (${columns.map((name) => `@${name}`).join(", ")})
     ON CONFLICT (${primary.join(", ")}) DO UPDATE SET ${changes.join(", ")}`,
  ).run(full);
}

/**
 * Rows of `table` whose columns equal `where`, in primary-key order.
 * @param keys null while the vault is sealed: rows are then read as they are, and nothing may be trusted to them
 * @throws VaultTamperedError naming the first row whose MAC is wrong
 */
export function getRows<T extends object>(
  db: Database,
  keys: Keyring | null,
  table: SealedTable,
  where: Row = {},
): T[] {
  const names = Object.keys(where);
  const filter = names.length === 0 ? "" : `WHERE ${names.map((name) => `${name} = @${name}`).join(" AND ")}`;
  const order = PRIMARY_KEYS[table].join(", ");
  const rows = db.prepare(`SELECT * FROM ${table} ${filter} ORDER BY ${order}`).all(where) as Row[];
  if (keys !== null) for (const row of rows) assertRow(keys, table, row);
  return rows as T[];
}

/** All rows of `table` in primary-key order, one at a time; as `getRows` in everything else. */
export function* eachRow<T extends object>(db: Database, keys: Keyring | null, table: SealedTable): Generator<T> {
  for (const row of db.prepare(`SELECT * FROM ${table} ORDER BY ${PRIMARY_KEYS[table].join(", ")}`).iterate()) {
    if (keys !== null) assertRow(keys, table, row as Row);
    yield row as T;
  }
}

/** By table: the columns of a stored row in canonical order, each with the text that comes before its value. */
const storedColumns = new Map<SealedTable, readonly (readonly [name: string, before: string])[]>();

/**
 * The same as `rowMac`, for a row with all its columns. Verifying every row of a large vault is mostly making this
 * text, so what does not differ between rows is made once.
 */
export function storedRowMac(keys: Keyring, table: SealedTable, row: Row): Buffer {
  let columns = storedColumns.get(table);
  if (columns === undefined) {
    const names = Object.keys(row).filter((name) => name !== "mac");
    columns = names.sort().map((name, at) => [name, `${at === 0 ? "" : ","}${JSON.stringify(name)}:`] as const);
    storedColumns.set(table, columns);
  }
  let text = '{"format":1,"row":{';
  for (const [name, before] of columns) text += before + canonicalColumn(row[name] ?? null);
  return mac(keys.rows, Buffer.from(`${text}},"table":"${table}","vault":${JSON.stringify(keys.vault)}}`, "utf8"));
}

function canonicalColumn(value: Row[string]): string {
  return Buffer.isBuffer(value) ? `"${value.toString("base64")}"` : canonicalJson(value);
}

function assertRow(keys: Keyring, table: SealedTable, row: Row): void {
  let good = false;
  try {
    good = Buffer.isBuffer(row.mac) && constantTimeEqual(row.mac, storedRowMac(keys, table, row));
  } catch {
    // A column that has no canonical form (an integer beyond 2^53) was not written by us either.
  }
  if (good) return;
  const id = PRIMARY_KEYS[table].map((column) => String(row[column])).join("/");
  throw new VaultTamperedError(`vault.db ${table} ${id}`, "this row was edited or planted");
}

/** Names every row whose MAC is wrong, the header included. */
export function findBadRows(db: Database, keys: Keyring): string[] {
  const problems: string[] = [];
  const check = (assert: () => void): void => {
    try {
      assert();
    } catch (error) {
      if (!(error instanceof VaultTamperedError)) throw error;
      problems.push(error.message);
    }
  };
  check(() => assertHeader(db, keys));
  for (const table of SEALED_TABLES) {
    for (const row of getRows<Row>(db, null, table)) check(() => assertRow(keys, table, row));
  }
  return problems;
}

/**
 * One value over all rows of the vault. Each audit entry carries it, so a deleted row, or a row put back to an
 * older (correctly MACed) content, no longer fits the end of the chain.
 */
export function stateDigest(db: Database, keys: Keyring, rows = rowMacs(db)): Buffer {
  return mac(keys.state, Buffer.concat([tableMacs(db, "vault"), rows]));
}

/** One value over all rows but the header: what the header and the anchor say about them. */
export function rowsDigest(keys: Keyring, rows: Buffer): Buffer {
  return mac(keys.state, Buffer.concat([Buffer.from("rows\n", "ascii"), rows]));
}

/** The MACs of all rows but the header, in order: input of both digests, read once for both. */
export function rowMacs(db: Database): Buffer {
  const tables = (Object.keys(PRIMARY_KEYS) as Table[]).filter((table) => table !== "vault");
  return Buffer.concat(tables.map((table) => tableMacs(db, table)));
}

function tableMacs(db: Database, table: Table): Buffer {
  // One text for the whole table: with 20 000 rows a third of the time that as many Buffers take. group_concat
  // keeps the order of its subquery (sqlite.org/lang_select.html; the test vectors are read without SQLite).
  const sql = `SELECT count(*) AS rows, group_concat(hex(mac), '') AS macs
    FROM (SELECT mac FROM ${table} ORDER BY ${PRIMARY_KEYS[table].join(", ")})`;
  const { rows, macs } = db.prepare(sql).get() as { rows: number; macs: string | null };
  // So that a vault made before the table existed still fits its newest entry.
  if (rows === 0 && !FIRST_TABLES.includes(table)) return Buffer.alloc(0);
  return Buffer.concat([Buffer.from(`${table} ${rows}\n`, "ascii"), Buffer.from(macs ?? "", "hex")]);
}
