import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { openUsageDatabase } from "../../src/store/database.ts";
import { startUsageWriter } from "../../src/store/usage.ts";
import { type PriceCall, recomputeCosts } from "../../src/store/usage-recompute.ts";
import type { UsageRecord } from "../../src/store/usage-record.ts";
import { USAGE_MIGRATIONS } from "../../src/store/usage-schema.ts";
import { tempDir } from "../support/temp-dir.ts";
import {
  assertRollupsAgree,
  DAY_MS,
  HOUR_MS,
  MODEL_RECORD,
  USAGE_NOW_MS as NOW_MS,
  PLAIN_RECORD,
  selectUsage,
} from "../support/usage-fixture.ts";

const ALL = { sinceMs: 0, untilMs: NOW_MS + DAY_MS };

/** A price table in which every seventh model has no price and every eleventh is half priced. */
function table(name: string, perToken: number): PriceCall {
  return ({ model, units }) => {
    const n = Number(model?.slice(1) ?? 0);
    if (n % 7 === 3) return { costNano: null, unpriced: true, table: name };
    return { costNano: ((units.input ?? 0) + n) * perToken, unpriced: n % 11 === 5, table: name };
  };
}
const OLD = table("old", 150);
const NEW = table("new", 4_001);

function pricedBy(price: PriceCall, record: UsageRecord): UsageRecord {
  if (record.units === null) return record;
  const { atMs, provider, model, tier, units } = record;
  const { costNano, unpriced, table: priceTable } = price({ atMs, provider, model, tier, units });
  return { ...record, costNano, unpriced, priceTable };
}

/** Calls over four days, some without usage, of more models than rollups tell apart. */
function calls(count: number): UsageRecord[] {
  return Array.from({ length: count }, (_, n) => ({
    ...(n % 9 === 0 ? PLAIN_RECORD : MODEL_RECORD),
    atMs: NOW_MS - (n % 4) * DAY_MS - (n % 5) * HOUR_MS - (n % 3),
    client: `app${n % 2}`,
    outcome: n % 6 === 0 ? "truncated" : "ok",
    ...(n % 9 === 0
      ? {}
      : {
          model: n % 10 === 0 ? null : `m${Math.floor(n / 4) % 260}`,
          units: { request: 1, input: n },
          quality: (["exact", "estimated", "none"] as const)[n % 3] ?? "none",
        }),
  }));
}

async function written(t: TestContext, records: readonly UsageRecord[]): Promise<string> {
  const path = join(tempDir(t), "usage.db");
  const writer = startUsageWriter(path, { now: () => NOW_MS });
  for (const record of records) writer.record(record);
  await writer.close();
  assert.equal(writer.dropped(), 0);
  return path;
}

const priced = (price: PriceCall, count: number): UsageRecord[] => calls(count).map((each) => pricedBy(price, each));

function contents(path: string): unknown[] {
  const rollupKeys = "1, 2, 3, 4, 5, 6, 7";
  const tables = { usage: "1", usage_hourly: rollupKeys, usage_daily: rollupKeys, usage_models: "1, 2, 3" };
  return Object.entries(tables).map(([name, keys]) => selectUsage(path, `SELECT * FROM ${name} ORDER BY ${keys}`));
}

function totals(path: string) {
  const sum = (where: string): string => `coalesce(SUM(CASE WHEN ${where} THEN cost_nano END), 0)`;
  const sql = `SELECT ${sum("quality = 'exact'")} AS exactNano, ${sum("quality <> 'exact'")} AS estimatedNano,
    SUM(unpriced) AS unpriced FROM usage`;
  const [row] = selectUsage<{ exactNano: number; estimatedNano: number; unpriced: number }>(path, sql);
  assert.ok(row !== undefined);
  return { ...row, exactNano: BigInt(row.exactNano), estimatedNano: BigInt(row.estimatedNano) };
}

test("costs worked out again equal those of a file that was priced so from the start", async (t) => {
  const fresh = await written(t, priced(NEW, 2600));
  const path = await written(t, priced(OLD, 2600));
  const before = totals(path);
  const report = await recomputeCosts(path, NEW, ALL);
  assert.deepEqual(contents(path), contents(fresh));
  assert.ok(assertRollupsAgree(path) > 300);
  assert.ok(selectUsage(path, "SELECT * FROM usage_daily WHERE model = 'other' AND cost_exact_nano > 0").length > 0);
  const used = priced(OLD, 2600).filter((each) => each.units !== null).length;
  assert.deepEqual(report, {
    calls: used,
    changed: used,
    before,
    after: totals(fresh),
    table: "new",
    daysLeft: [],
    keptSinceMs: Math.min(...calls(2600).map(({ atMs }) => atMs)),
  });
  const again = await recomputeCosts(path, NEW, ALL);
  assert.deepEqual([again.calls, again.changed, again.before], [used, 0, again.after]);
  assert.deepEqual(contents(path), contents(fresh));
});

test("a dry run tells the same and writes nothing", async (t) => {
  const path = await written(t, priced(OLD, 1200));
  const before = contents(path);
  const report = await recomputeCosts(path, NEW, { ...ALL, dryRun: true });
  assert.deepEqual(contents(path), before);
  const { before: _, ...real } = await recomputeCosts(path, NEW, ALL);
  assert.partialDeepStrictEqual(report, real);
  assert.ok(report.changed > 1000);
});

test("only calls of the time are priced again, to the millisecond", async (t) => {
  const at = [NOW_MS - 1, NOW_MS, NOW_MS, NOW_MS + 5, NOW_MS + 6].map((atMs) => ({ ...MODEL_RECORD, atMs }));
  const path = await written(t, at);
  const report = await recomputeCosts(path, NEW, { sinceMs: NOW_MS, untilMs: NOW_MS + 6 });
  assert.equal(report.changed, 3);
  const tables = selectUsage<{ price_table: string }>(path, "SELECT price_table FROM usage ORDER BY at_ms");
  assert.deepEqual(
    tables.map((row) => row.price_table),
    ["2025-05-01", "new", "new", "new", "2025-05-01"],
  );
  assertRollupsAgree(path);
});

test("a cost that the provider told itself stays", async (t) => {
  const charged = { ...MODEL_RECORD, costNano: 7, priceTable: "provider" };
  const path = await written(t, [charged, MODEL_RECORD]);
  assert.equal((await recomputeCosts(path, NEW, ALL)).calls, 1);
  const rows = selectUsage(path, "SELECT cost_nano AS cost, price_table AS name FROM usage ORDER BY id LIMIT 1");
  assert.deepEqual(rows, [{ cost: 7, name: "provider" }]);
  assertRollupsAgree(path);
});

test("many calls of one millisecond are each priced once", async (t) => {
  const path = await written(t, Array<UsageRecord>(1300).fill(MODEL_RECORD));
  assert.equal((await recomputeCosts(path, NEW, ALL)).calls, 1300);
  assertRollupsAgree(path);
});

test("while the daemon writes, sums stay those of the rows and nothing is priced twice or missed", async (t) => {
  const path = await written(t, priced(OLD, 2600));
  const writer = startUsageWriter(path, { flushMs: 1, now: () => NOW_MS });
  t.after(() => writer.close());
  const later = priced(NEW, 1500);
  const recording = (async () => {
    for (const record of later) {
      writer.record({ ...record, atMs: record.atMs + 1 });
      if (writer.queued() > 20) await writer.flush();
    }
    await writer.flush();
  })();
  await Promise.all([recording, recomputeCosts(path, NEW, ALL)]);
  assert.equal(writer.dropped(), 0);
  assertRollupsAgree(path);
  assert.deepEqual(selectUsage(path, "SELECT COUNT(*) AS n FROM usage WHERE price_table = 'old'"), [{ n: 0 }]);
  assert.equal((await recomputeCosts(path, NEW, ALL)).changed, 0);
});

/** A call of a model that the daemon lets in just now, as a copy of the only call of another one. */
function copyCall(path: string, from: string, to: string): void {
  const db = openUsageDatabase(path, USAGE_MIGRATIONS);
  const copy = (name: string): void => {
    const columns = (db.pragma(`table_info(${name})`) as { name: string }[]).map((each) => each.name);
    const kept = columns.filter((column) => column !== "id");
    const values = kept.map((column) => (column === "model" ? "?" : column));
    db.prepare(`INSERT INTO ${name} (${kept.join(", ")}) SELECT ${values.join(", ")} FROM ${name} WHERE model = ?`).run(
      to,
      from,
    );
  };
  db.transaction(() => {
    for (const name of ["usage", "usage_hourly", "usage_daily", "usage_models"]) copy(name);
  })();
  db.close();
}

test("a model that is let in while a run goes on is found under its own name", async (t) => {
  const before = { ...MODEL_RECORD, atMs: NOW_MS - HOUR_MS, model: "m0" };
  const path = await written(t, [...Array<UsageRecord>(700).fill(before), { ...MODEL_RECORD, model: "m1" }]);
  let called = 0;
  const price: PriceCall = (call) => {
    // The first step has been written by now, so the day's models have been looked up.
    if (++called === 501) copyCall(path, "m1", "m2");
    return NEW(call);
  };
  assert.equal((await recomputeCosts(path, price, ALL)).changed, 702);
  assertRollupsAgree(path);
});

test("two runs at once change every call once", async (t) => {
  const fresh = await written(t, priced(NEW, 1500));
  const path = await written(t, priced(OLD, 1500));
  const [one, two] = await Promise.all([recomputeCosts(path, NEW, ALL), recomputeCosts(path, NEW, ALL)]);
  assert.deepEqual(contents(path), contents(fresh));
  assert.equal(one.changed + two.changed, selectUsage(path, "SELECT id FROM usage WHERE units IS NOT NULL").length);
});

test("a run that breaks off leaves sums that agree, and the next one finishes", async (t) => {
  const fresh = await written(t, priced(NEW, 2000));
  const path = await written(t, priced(OLD, 2000));
  let left = 1100;
  const breaking: PriceCall = (call) => {
    if (left-- === 0) throw new Error("cut");
    return NEW(call);
  };
  await assert.rejects(recomputeCosts(path, breaking, ALL), /cut/);
  assertRollupsAgree(path);
  const half = selectUsage<{ n: number }>(path, "SELECT COUNT(*) AS n FROM usage WHERE price_table = 'new'")[0]?.n ?? 0;
  assert.ok(half >= 500 && half < 1100, String(half));
  await recomputeCosts(path, NEW, ALL);
  assert.deepEqual(contents(path), contents(fresh));
});

test("days of which requests are gone already are left as they are, and named", async (t) => {
  const path = await written(t, priced(OLD, 1200));
  const today = Math.floor(NOW_MS / DAY_MS) * DAY_MS;
  const db = openUsageDatabase(path, USAGE_MIGRATIONS);
  db.prepare("DELETE FROM usage WHERE id IN (SELECT id FROM usage WHERE at_ms < ? ORDER BY at_ms LIMIT 5)").run(today);
  db.close();
  const gone = Math.floor(Math.min(...calls(1200).map(({ atMs }) => atMs)) / DAY_MS) * DAY_MS;
  const sums = `SELECT * FROM usage_daily WHERE bucket = ${gone} ORDER BY 1, 2, 3, 4, 5, 6, 7`;
  const before = selectUsage(path, sums);
  const report = await recomputeCosts(path, NEW, ALL);
  assert.deepEqual(report.daysLeft, [gone]);
  assert.deepEqual(selectUsage(path, sums), before);
  const old = selectUsage<{ day: number }>(
    path,
    `SELECT DISTINCT at_ms / ${DAY_MS} * ${DAY_MS} AS day FROM usage WHERE price_table = 'old'`,
  );
  assert.deepEqual(old, [{ day: gone }]);
});

test("a price that makes no sense is bounded as in a record", async (t) => {
  const path = await written(t, [MODEL_RECORD]);
  const broken: PriceCall = () => ({ costNano: Number.NaN, unpriced: false, table: "t".repeat(200) });
  await recomputeCosts(path, broken, ALL);
  await recomputeCosts(path, () => ({ ...broken(MODEL_CALL), costNano: -1 }), ALL);
  const columns = "SELECT cost_nano, price_table FROM usage";
  assert.deepEqual(selectUsage(path, columns), [{ cost_nano: 0, price_table: "t".repeat(128) }]);
  await recomputeCosts(path, () => ({ ...broken(MODEL_CALL), costNano: 1e300 }), ALL);
  assert.deepEqual(selectUsage(path, columns), [{ cost_nano: 1e13, price_table: "t".repeat(128) }]);
  assertRollupsAgree(path);
});

const MODEL_CALL = { provider: "openai", model: "m1", tier: null, units: {}, atMs: NOW_MS };

test("sums that lack a row are told, and nothing is written", async (t) => {
  const path = await written(t, priced(OLD, 100));
  const db = openUsageDatabase(path, USAGE_MIGRATIONS);
  db.exec("DELETE FROM usage_hourly");
  db.close();
  const before = contents(path);
  await assert.rejects(recomputeCosts(path, NEW, ALL), /usage_hourly lacks a row .* restore usage\.db/);
  assert.deepEqual(contents(path), before);
});

test("without usage.db there is nothing to do, and no file is made", async (t) => {
  const path = join(tempDir(t), "usage.db");
  assert.partialDeepStrictEqual(await recomputeCosts(path, NEW, ALL), { calls: 0, keptSinceMs: null });
  assert.ok(!existsSync(path));
});
