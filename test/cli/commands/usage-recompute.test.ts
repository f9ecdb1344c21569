import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { type TestContext, test } from "node:test";
import { Command } from "commander";
import type { Cli } from "../../../src/cli/cli.ts";
import { registerUsage } from "../../../src/cli/commands/usage.ts";
import { createTerminal } from "../../../src/cli/terminal.ts";
import { startUsageWriter } from "../../../src/store/usage.ts";
import type { UsageRecord } from "../../../src/store/usage-record.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { DAY_MS, MODEL_RECORD, selectUsage, USAGE_NOW_MS } from "../../support/usage-fixture.ts";

interface Place {
  readonly path: string;
  run(...args: string[]): Promise<{ out: string; err: string }>;
}

/** Two dollars for a million tokens of any kind; no other model has a price. */
const PRICES = `version: 1
table: june
providers:
  openai:
    models:
      - { names: [gpt-4o-mini], prices: [{ from: 2025-01-01, input: 2, output: 2 }] }
`;

/** The command on a usage.db with these calls. */
async function placeWith(t: TestContext, records: readonly UsageRecord[], prices = PRICES): Promise<Place> {
  const dataDir = tempDir(t);
  const [path, pricesFile] = [join(dataDir, "usage.db"), join(dataDir, "prices.yaml")];
  if (prices !== "") writeFileSync(pricesFile, prices);
  const writer = startUsageWriter(path, { now: () => USAGE_NOW_MS });
  for (const record of records) writer.record(record);
  await writer.close();
  const run = async (...args: string[]) => {
    const [out, err] = [new PassThrough(), new PassThrough()];
    const terminal = createTerminal({ out, err, colour: false });
    const config = () => ({ dataDir, pricesFile });
    const cli = { terminal, config, now: () => USAGE_NOW_MS + 1000 } as unknown as Cli;
    const program = new Command().exitOverride();
    registerUsage(program, cli);
    await program.parseAsync(["usage", ...args], { from: "user" });
    return { out: String(out.read() ?? ""), err: String(err.read() ?? "") };
  };
  return { path, run };
}

const CALL: UsageRecord = { ...MODEL_RECORD, tier: null };
const CALLS: readonly UsageRecord[] = [
  { ...CALL, costNano: 1_000_000_000 },
  { ...CALL, quality: "estimated", costNano: 500_000_000 },
  { ...CALL, model: "unknown", costNano: 3 },
  { ...CALL, atMs: USAGE_NOW_MS - 40 * DAY_MS, costNano: 7 },
];
/** 1557 tokens. */
const COST_NANO = 3_114_000;

test("recompute changes the last 30 days, and says what they cost before and now", async (t) => {
  const { path, run } = await placeWith(t, CALLS);
  const { out } = await run("recompute");
  const facts: Record<string, string> = Object.fromEntries(
    out
      .trim()
      .split("\n")
      .map((line) => line.split(/ {2,}/)),
  );
  assert.deepEqual(facts, {
    calls: "3",
    changed: "3",
    cost: "1.000000003 USD -> 0.003114 USD",
    estimated: "0.50 USD -> 0.003114 USD",
    "unpriced calls": "0 -> 1",
    "price table": facts["price table"],
  });
  assert.match(facts["price table"] ?? "", /^june\+[0-9a-f]{12}$/);
  const costs = selectUsage<{ cost: number }>(path, "SELECT cost_nano AS cost FROM usage ORDER BY id");
  assert.deepEqual(
    costs.map(({ cost }) => cost),
    [COST_NANO, COST_NANO, null, 7],
  );
  assert.match((await run("--since", "1d")).out, /^openai +3 .* 0\.003114 +0\.003114 +1$/m);
});

test("it takes the options that usage has too, and a dry run changes nothing", async (t) => {
  const { path, run } = await placeWith(t, CALLS);
  const { out, err } = await run("recompute", "--since", "60d", "--dry-run", "--json");
  assert.partialDeepStrictEqual(JSON.parse(out), {
    dryRun: true,
    calls: 4,
    changed: 4,
    before: { costUsd: { exact: "1.00000001", estimated: "0.50" }, unpriced: 0 },
    after: { costUsd: { exact: "0.006228", estimated: "0.003114" }, unpriced: 1 },
    daysLeft: [],
  });
  assert.match(err, /requests are kept since 2025-03-31T12:30:00Z/);
  const costs = selectUsage(path, "SELECT DISTINCT price_table AS name FROM usage");
  assert.deepEqual(costs, [{ name: "2025-05-01" }]);
});

test("options of usage that mean nothing here are refused", async (t) => {
  const { run } = await placeWith(t, []);
  await assert.rejects(run("recompute", "--by", "model"), /--by means nothing here/);
  await assert.rejects(run("recompute", "--csv"), /--csv means nothing here/);
  await assert.rejects(run("recompute", "--since", "soon"), /--since takes/);
});

test("prices that cannot be read end it before anything is changed", async (t) => {
  for (const prices of ["version: 2\n", ""]) {
    const { path, run } = await placeWith(t, CALLS, prices);
    await assert.rejects(run("recompute"), /prices\.yaml/);
    assert.deepEqual(selectUsage(path, "SELECT DISTINCT price_table AS name FROM usage"), [{ name: "2025-05-01" }]);
  }
});
