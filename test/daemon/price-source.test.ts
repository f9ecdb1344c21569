import assert from "node:assert/strict";
import { chmodSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { LogFields } from "../../src/daemon/log.ts";
import { openPriceSource, type PriceReload, type PriceSource } from "../../src/daemon/price-source.ts";
import { costOf, NO_PRICES } from "../../src/policy/price-table.ts";
import { tempDir } from "../support/temp-dir.ts";

const prices = (input: number | string): string => `version: 1
table: t
providers:
  openai: { models: [ { names: [m], prices: [ { from: 2026-01-01, input: ${input} } ] } ] }
`;

interface Bench {
  readonly file: string;
  readonly results: PriceReload[];
  readonly lines: (LogFields & { readonly level: string; readonly msg: string })[];
  start(): PriceSource;
}

function bench(t: TestContext): Bench {
  const file = join(tempDir(t), "prices.yaml");
  const results: Bench["results"] = [];
  const lines: Bench["lines"] = [];
  const at =
    (level: string) =>
    (msg: string, fields: LogFields = {}) =>
      void lines.push({ ...fields, level, msg });
  return {
    file,
    results,
    lines,
    start() {
      const log = { info: at("info"), warn: at("warn"), error: at("error") };
      const onReload = (result: PriceReload): void => void results.push(result);
      const source = openPriceSource({ file, log, onReload, pollMs: 15, settleMs: 20 });
      t.after(() => source.close());
      return source;
    },
  };
}

function priceIn(source: PriceSource): number | null {
  const call = { provider: "openai", model: "m", tier: null, units: { input: 1_000_000 }, atMs: Date.UTC(2026, 5, 1) };
  const { nanoUsd, unpriced } = costOf(source.current(), call);
  return unpriced.length > 0 ? null : nanoUsd / 1e9;
}

async function until(condition: () => boolean): Promise<void> {
  for (let n = 0; n < 400 && !condition(); n++) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(condition(), "nothing happened");
}

test("the table of the file is in force from the start, without a line about it", (t) => {
  const { file, start, lines, results } = bench(t);
  writeFileSync(file, prices(2));
  const source = start();
  assert.equal(priceIn(source), 2);
  const { version } = source.current();
  assert.match(version, /^t\+[0-9a-f]{12}$/);
  assert.deepEqual(source.health(), { ok: true, table: version, problems: [], warnings: [] });
  assert.deepEqual([lines, results], [[], []]);
});

test("a bad file changes nothing but health and a line, and the next good one takes over", (t) => {
  const { file, start, lines, results } = bench(t);
  writeFileSync(file, prices(2));
  const source = start();
  const good = source.current();
  for (const bad of ["", "version: 1\nproviders: [", prices("cheap"), "\u0000"]) {
    writeFileSync(file, bad);
    const result = source.reload("signal");
    assert.deepEqual([result.ok, result.changed, result.table, result.reason], [false, false, good.version, "signal"]);
    assert.equal(source.current(), good);
    assert.deepEqual(source.health(), { ok: false, table: good.version, problems: result.problems, warnings: [] });
    assert.ok(result.problems.length > 0);
  }
  assert.match(
    lines
      .filter(({ level }) => level === "error")
      .map(({ problems }) => String(problems))
      .join("\n"),
    /prices\.yaml:4 /,
  );
  writeFileSync(file, prices(3));
  const taken = source.reload("signal");
  assert.deepEqual([taken.ok, taken.changed, priceIn(source)], [true, true, 3]);
  assert.equal(source.health().ok, true);
  const same = source.reload("signal");
  assert.deepEqual([same.ok, same.changed, same.table], [true, false, taken.table]);
  assert.equal(results.filter(({ reason }) => reason === "signal").length, 6);
});

test("a bad file that is put right again without a change of its last good text is well again", (t) => {
  const { file, start } = bench(t);
  writeFileSync(file, prices(2));
  const source = start();
  const before = source.current();
  writeFileSync(file, "x");
  assert.equal(source.reload("signal").ok, false);
  writeFileSync(file, prices(2));
  assert.deepEqual([source.reload("signal").ok, source.current() === before], [true, true]);
});

test("without a file every call is unpriced, which is no failure but a warning; a file that comes is taken over", async (t) => {
  const { file, start, lines } = bench(t);
  const source = start();
  assert.equal(source.current(), NO_PRICES);
  const warning = `no prices are known, so every call is unpriced and limits in usd refuse it; write ${file}`;
  assert.deepEqual(source.health(), { ok: true, table: "none", problems: [], warnings: [warning] });
  assert.deepEqual(lines, [{ level: "warn", msg: "prices", problem: warning }]);
  assert.equal(priceIn(source), null);
  writeFileSync(file, prices(2));
  await until(() => priceIn(source) === 2);
  assert.deepEqual(source.health().warnings, []);
});

test("a file that is bad from the start leaves the daemon without prices, and says both", (t) => {
  const { file, start, lines } = bench(t);
  writeFileSync(file, prices("x"));
  const source = start();
  assert.equal(source.current(), NO_PRICES);
  assert.equal(source.health().ok, false);
  assert.equal(source.health().warnings.length, 1);
  assert.deepEqual(
    lines.map(({ level }) => level),
    ["error", "warn"],
  );
});

test("a change of the file is taken over by itself, also when another file takes its place", async (t) => {
  const { file, start, results, lines } = bench(t);
  writeFileSync(file, prices(2));
  const source = start();
  writeFileSync(`${file}.new`, prices(4));
  renameSync(`${file}.new`, file);
  await until(() => priceIn(source) === 4);
  assert.equal(results.at(-1)?.reason, "file");
  assert.deepEqual(
    lines.map(({ level, msg, ok }) => [level, msg, ok]),
    [["info", "prices_reload", true]],
  );
});

test("a file that goes away while the daemon runs leaves its prices in force", (t) => {
  const { file, start } = bench(t);
  writeFileSync(file, prices(2));
  const source = start();
  rmSync(file);
  const result = source.reload("signal");
  assert.deepEqual(result.problems, [`${file} is gone; the prices of before stay in force until it is back`]);
  assert.deepEqual([priceIn(source), source.health().ok], [2, false]);
  writeFileSync(file, prices(2));
  assert.deepEqual([source.reload("signal").ok, source.health().ok], [true, true]);
});

test("a file that every user can change, and what is no file, are refused", (t) => {
  const { file, start } = bench(t);
  writeFileSync(file, prices(2));
  chmodSync(file, 0o666);
  const source = start();
  assert.match(source.health().problems.join(), /can be changed by every user of this machine; run: chmod o-w /);
  rmSync(file);
  mkdirSync(file);
  assert.match(
    source.reload("signal").problems.join(),
    /is not a regular file; point `prices` in daemon\.yaml at the file/,
  );
  assert.equal(source.current(), NO_PRICES);
});
