import assert from "node:assert/strict";
import { copyFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type SQLite from "better-sqlite3";
import { VaultSealedError } from "../../src/store/errors.ts";
import { openVault } from "../../src/store/vault.ts";
import type { Unlocker } from "../../src/store/wrappers.ts";
import { copyOf, editDatabase, fillEveryTable, newVault } from "./vault-fixture.ts";

/** One value in vault.db. */
export interface Cell {
  readonly table: string;
  readonly row: number;
  readonly column: string;
}

type Row = Record<string, unknown>;

export interface Prepared {
  readonly directory: string;
  readonly unlocker: Unlocker;
  /** Works on a copy; what the store says about it, or null if it is content. */
  attack(edit: (db: SQLite.Database) => void): Promise<string | null>;
}

/** A closed vault with a row in every table, to break copies of. */
export async function prepared(t: TestContext): Promise<Prepared> {
  const { vault, directory, unlocker } = await newVault(t);
  fillEveryTable(vault);
  vault.close();
  const work = copyOf(t, directory);
  const attack = async (edit: (db: SQLite.Database) => void): Promise<string | null> => {
    putBack(directory, work);
    editDatabase(work, edit);
    return await complaint(work, unlocker);
  };
  return { directory, unlocker, attack };
}

/** Makes `to` hold exactly the files of `from`, but for its root key. */
export function putBack(from: string, to: string): void {
  for (const name of readdirSync(to)) if (name !== "root.key") rmSync(join(to, name), { recursive: true });
  for (const name of readdirSync(from)) if (name !== "root.key") copyFileSync(join(from, name), join(to, name));
}

/**
 * What the store says about a data directory: null when it opens and verifies it, else its message. Then no secret
 * may open and nothing may be written.
 */
export async function complaint(directory: string, unlocker: Unlocker): Promise<string | null> {
  let vault: ReturnType<typeof openVault> | null = null;
  let unsealed = false;
  try {
    vault = openVault(directory);
    await vault.unseal([unlocker]);
    // What only a look at everything finds (an old page that is damaged) is found by the next line.
    unsealed = true;
    const result = vault.verifyAudit();
    return result.ok ? null : result.problem;
  } catch (error) {
    assertTyped(error);
    if (vault !== null && !unsealed) assertClosed(vault);
    return (error as Error).message;
  } finally {
    vault?.close();
  }
}

/** The store's own refusals. A header that does not fit may also be taken for one under another root key. */
const REFUSALS = ["VaultTamperedError", "VaultSealedError", "RootRotatedError", "DatabaseError"];

export function isRefusal(error: unknown): boolean {
  return error instanceof Error && REFUSALS.includes(error.name);
}

function assertTyped(error: unknown): void {
  assert.ok(isRefusal(error), `an untyped error: ${(error as Error)?.stack ?? String(error)}`);
}

/** After a refused unseal nothing is handed out, nothing is written, and what can be listed does not crash. */
function assertClosed(vault: ReturnType<typeof openVault>): void {
  assert.equal(vault.sealed, true);
  assert.throws(() => vault.openFields("any", 1, "test"), VaultSealedError);
  assert.throws(() => vault.loadTokenTable(), VaultSealedError);
  assert.throws(() => vault.addClientToken("app", {}, "eve"), VaultSealedError);
  for (const list of [() => vault.listCredentials(), () => vault.listClientTokens(), () => vault.listAudit()]) {
    try {
      list();
    } catch (error) {
      assertTyped(error);
    }
  }
}

/** Every table of the schema with its number of rows. */
export function tablesOf(directory: string): Map<string, number> {
  const found = new Map<string, number>();
  editDatabase(directory, (db) => {
    const names = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").pluck().all();
    for (const name of names as string[]) {
      found.set(name, db.prepare(`SELECT count(*) FROM ${name}`).pluck().get() as number);
    }
  });
  return found;
}

/** Every value of every row, but for the header's number, which the schema fixes at 1. */
export function cellsOf(directory: string): Cell[] {
  const tables = [...tablesOf(directory).keys()];
  const cells: Cell[] = [];
  editDatabase(directory, (db) => {
    for (const table of tables) {
      for (const [row, values] of rowsOf(db, table).entries()) {
        for (const column of Object.keys(values)) cells.push({ table, row, column });
      }
    }
  });
  return cells.filter(({ table, column }) => table !== "vault" || column !== "id");
}

export function rowsOf(db: SQLite.Database, table: string): Row[] {
  return db.prepare(`SELECT * FROM ${table}`).all() as Row[];
}

/** Changes one bit of a cell and keeps its type, so that SQLite itself has nothing to object to. */
export function flip(db: SQLite.Database, cell: Cell, at: number): void {
  const { table, column } = cell;
  const row = rowsOf(db, table)[cell.row] ?? {};
  setCell(db, table, row, column, flipped(row[column], column, at));
}

/** Replaces one value of the row that equals `row`. */
export function setCell(db: SQLite.Database, table: string, row: Row, column: string, changed: unknown): void {
  const where = Object.keys(row)
    .map((name) => `${name} IS @${name}`)
    .join(" AND ");
  const { changes } = db.prepare(`UPDATE ${table} SET ${column} = @changed WHERE ${where}`).run({ ...row, changed });
  assert.equal(changes, 1, `the attack on ${table}.${column} changed ${changes} rows`);
}

function flipped(value: unknown, column: string, at: number): unknown {
  if (value === null) return column === "owner_id" ? "user-1" : 1;
  if (typeof value === "number") return value + 1000;
  const bytes = Buffer.from(value as Buffer | string);
  if (bytes.length === 0) return "planted";
  bytes.writeUInt8((bytes[at % bytes.length] ?? 0) ^ 1, at % bytes.length);
  return typeof value === "string" ? bytes.toString("latin1") : bytes;
}
