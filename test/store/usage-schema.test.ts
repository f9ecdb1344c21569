import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import SQLite from "better-sqlite3";
import { openUsageDatabase } from "../../src/store/database.ts";
import { loadLimitState } from "../../src/store/limit-state.ts";
import { startUsageWriter } from "../../src/store/usage.ts";
import { queryUsage } from "../../src/store/usage-query.ts";
import { LATENCY_COLUMNS, USAGE_MIGRATIONS } from "../../src/store/usage-schema.ts";
import { tempDir } from "../support/temp-dir.ts";
import {
  assertRollupsAgree,
  DAY_MS,
  HOUR_MS,
  MODEL_RECORD,
  PLAIN_RECORD,
  selectUsage,
  USAGE_NOW_MS,
} from "../support/usage-fixture.ts";

/** SHA-256 of each released entry: a usage.db in the field has run exactly this text. */
const RELEASED = ["de65d38b6fee097e8bee5f74781556508f72bd07566a0d5f8b36278882f3c3bb"];

test("migrations that were released are never edited; a change is a new entry", () => {
  const digests = USAGE_MIGRATIONS.map((sql) => createHash("sha256").update(sql).digest("hex"));
  assert.deepEqual(digests.slice(0, RELEASED.length), RELEASED);
});

test("all tables are STRICT", (t) => {
  const db = new SQLite(":memory:");
  t.after(() => db.close());
  for (const sql of USAGE_MIGRATIONS) db.exec(sql);
  const tables = db.pragma("table_list") as { schema: string; name: string; strict: number }[];
  const ours = tables.filter(({ schema, name }) => schema === "main" && !name.startsWith("sqlite_"));
  assert.deepEqual(
    ours.map(({ name, strict }) => [name, strict]).sort(),
    ["limit_state", "usage", "usage_daily", "usage_hourly", "usage_models"].map((name) => [name, 1]),
  );
});

const FIRST_COLUMNS =
  "at_ms, route, provider, credential, client, form, method, host, path, status, outcome, denied, error, bytes_up, bytes_down, total_us, wait_us, attempts";
const FIRST_KEYS = ["route", "client", "credential", "provider", "outcome"];

/** A usage.db of the first version with rows and their sums, as that version wrote them. */
function firstVersion(t: TestContext): string {
  const path = join(tempDir(t), "usage.db");
  const db = openUsageDatabase(path, USAGE_MIGRATIONS.slice(0, 1));
  const insert = db.prepare(
    `INSERT INTO usage (${FIRST_COLUMNS}) VALUES (?, ?, 'fmp', ?, ?, 'connect', 'GET', 'h', '/', 200, ?, 0, 0, 10, ?, 4000, 0, 1)`,
  );
  for (let n = 0; n < 400; n++) {
    const at = USAGE_NOW_MS - (n % 50) * HOUR_MS;
    insert.run(at, n % 7 === 0 ? null : "fmp", n % 3 === 0 ? null : "main", `app${n % 2}`, n % 5 === 0 ? "x" : "ok", n);
  }
  const none = LATENCY_COLUMNS.slice(1).map(() => "0");
  for (const [table, bucketMs] of [
    ["usage_hourly", HOUR_MS],
    ["usage_daily", DAY_MS],
  ] as const) {
    db.exec(`INSERT INTO ${table} SELECT at_ms / ${bucketMs} * ${bucketMs},
      ${FIRST_KEYS.map((key) => `coalesce(${key}, '')`).join(", ")}, COUNT(*), SUM(error), SUM(denied), SUM(bytes_up),
      SUM(bytes_down), SUM(total_us), COUNT(*), ${none.join(", ")} FROM usage GROUP BY 1, 2, 3, 4, 5, 6`);
  }
  db.prepare("INSERT INTO limit_state VALUES ('a', '1')").run();
  db.close();
  return path;
}

test("a file of the first version keeps its requests, sums and limits, and goes on with the new columns", async (t) => {
  const path = firstVersion(t);
  const before = selectUsage(path, `SELECT ${FIRST_COLUMNS} FROM usage ORDER BY id`);
  const sums = selectUsage(path, "SELECT bucket, requests, bytes_down, l0 FROM usage_daily ORDER BY 1, 2, 3");
  assert.deepEqual(loadLimitState(path), [{ key: "a", state: "1" }]);
  assert.deepEqual(selectUsage(path, `SELECT ${FIRST_COLUMNS} FROM usage ORDER BY id`), before);
  assert.deepEqual(
    selectUsage(path, "SELECT bucket, requests, bytes_down, l0 FROM usage_daily ORDER BY 1, 2, 3"),
    sums,
  );
  const hours = assertRollupsAgree(path);
  const writer = startUsageWriter(path, { now: () => USAGE_NOW_MS });
  writer.record(PLAIN_RECORD);
  writer.record(MODEL_RECORD);
  await writer.close();
  assert.equal(writer.dropped(), 0);
  assert.equal(assertRollupsAgree(path), hours + 2);
  assert.deepEqual(
    queryUsage(path, { by: "model", sinceMs: 0 }).map(({ key, requests, exactNano }) => [key, requests, exactNano]),
    [
      ["(none)", 401, 0n],
      ["gpt-4o-mini", 1, 1_234_567n],
    ],
  );
});

test("a migration that is broken off leaves the file as it was", (t) => {
  const path = firstVersion(t);
  const broken = [...USAGE_MIGRATIONS.slice(0, 1), `${USAGE_MIGRATIONS[1]}; CREATE TABLE usage (id INTEGER) STRICT;`];
  assert.throws(() => openUsageDatabase(path, broken), /table usage already exists/);
  const db = openUsageDatabase(path, USAGE_MIGRATIONS.slice(0, 1));
  t.after(() => db.close());
  assert.equal(db.prepare("SELECT COUNT(*) FROM usage").pluck().get(), 400);
  assert.equal(db.prepare("SELECT COUNT(*) FROM pragma_table_info('usage') WHERE name = 'model'").pluck().get(), 0);
});
