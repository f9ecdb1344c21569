import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import SQLite from "better-sqlite3";
import { VAULT_MIGRATIONS } from "../../src/store/migrations.ts";

/** SHA-256 of each released entry: a vault in the field has run exactly this text. */
const RELEASED = ["5459081bbe69f6abdeac54abecc90a8ce4e234b56adb7e05720d6a11428320cd"];

describe("migrations", () => {
  it("that were released are never edited; a change is a new entry", () => {
    const digests = VAULT_MIGRATIONS.map((sql) => createHash("sha256").update(sql).digest("hex"));
    assert.deepEqual(digests.slice(0, RELEASED.length), RELEASED);
  });

  it("make STRICT tables only, so that no value changes its type under its MAC", (t) => {
    const db = new SQLite(":memory:");
    t.after(() => db.close());
    for (const sql of VAULT_MIGRATIONS) db.exec(sql);
    const tables = db.pragma("table_list") as { schema: string; name: string; type: string; strict: number }[];
    const ours = tables.filter((table) => table.schema === "main" && !table.name.startsWith("sqlite_"));
    assert.ok(ours.length >= 8);
    for (const table of ours) assert.equal(table.strict, 1, table.name);
  });
});
