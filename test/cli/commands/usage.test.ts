import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { startUsageWriter } from "../../../src/store/usage.ts";
import type { UsageRecord } from "../../../src/store/usage-record.ts";
import { type CliPlace, initializedPlace } from "../../support/cli-process.ts";
import { DAY_MS, MODEL_RECORD, PLAIN_RECORD } from "../../support/usage-fixture.ts";

async function placeWith(t: TestContext, records: readonly UsageRecord[]): Promise<CliPlace> {
  const place = await initializedPlace(t);
  const writer = startUsageWriter(join(place.data, "usage.db"));
  for (const record of records) writer.record(record);
  await writer.close();
  return place;
}

test("usage shows what was used and what it cost, as a table, as CSV and as JSON", async (t) => {
  const atMs = Date.now();
  const { run } = await placeWith(t, [
    { ...MODEL_RECORD, atMs, costNano: 1_234_500_000 },
    { ...MODEL_RECORD, atMs, costNano: 200_000_000, quality: "estimated", user: "u1" },
    { ...MODEL_RECORD, atMs, model: "=new", costNano: null, unpriced: true },
    { ...PLAIN_RECORD, atMs },
  ]);
  const table = await run(["usage", "--by", "model"]);
  assert.match(table.stdout, /^gpt-4o-mini +2 .* 2414 +700 +1\.2345 +0\.20 +0$/m, table.all);
  assert.match(table.stdout, /^=new +1 .* 1207 +350 +- +- +1$/m);
  assert.match(table.stdout, /^total +4 .* 3621 +1050 +1\.2345 +0\.20 +1$/m);
  assert.match(table.stderr, /1 call used something that has no price/);
  const csv = await run(["usage", "--by", "model", "--csv"]);
  assert.match(csv.stdout, /^model,requests,.*\r\ngpt-4o-mini,2,.*,1\.2345,0\.20,1,1,0,0\r\n/);
  assert.match(csv.stdout, /\r\n'=new,1,|\r\n"'=new",1,/);
  const [row] = JSON.parse((await run(["usage", "--by", "user", "--json"])).stdout);
  assert.partialDeepStrictEqual(row, {
    key: "(none)",
    requests: 3,
    costUsd: { exact: "1.2345", estimated: "0.00" },
    calls: { exact: 2, estimated: 0, unpriced: 1, partial: 0 },
  });
});

test("usage of a time in between leaves out what was before and after", async (t) => {
  const at = [0, 3, 6].map((days) => ({ ...PLAIN_RECORD, atMs: Date.now() - days * DAY_MS }));
  const { run } = await placeWith(t, at);
  const count = async (...args: string[]): Promise<number> => {
    const rows = JSON.parse((await run(["usage", "--json", ...args])).stdout) as { requests: number }[];
    return rows.reduce((sum, row) => sum + row.requests, 0);
  };
  assert.equal(await count("--since", "30d"), 3);
  assert.equal(await count("--since", "30d", "--until", "2d"), 2);
  assert.equal(await count("--since", "4d", "--until", "2d"), 1);
  const day = new Date(Date.now() - 3 * DAY_MS).toISOString().slice(0, 10);
  assert.equal(await count("--since", day, "--until", day), 1);
  const none = await run(["usage", "--since", "2d", "--until", "1d"]);
  assert.deepEqual([none.code, none.stdout], [0, ""]);
  assert.match(none.stderr, /no requests in that time/);
});

test("usage says what is wrong with its options", async (t) => {
  const { run } = await placeWith(t, []);
  const wrong: [string[], RegExp][] = [
    [["--by", "nothing"], /--by takes one of/],
    [["--since", "yesterday"], /--since takes a span, a day or a time/],
    [["--since", "1h", "--until", "2h"], /--until is not after --since/],
    [["--csv", "--json"], /--csv or --json, not both/],
  ];
  for (const [args, says] of wrong) {
    const ran = await run(["usage", ...args]);
    assert.equal(ran.code, 2, ran.all);
    assert.match(ran.stderr, says);
  }
});
