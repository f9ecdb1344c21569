import assert from "node:assert/strict";
import { test } from "node:test";
import { usageCsv, usageJson, usageTable } from "../../src/cli/usage-text.ts";
import type { UsageReport, UsageRow } from "../../src/store/usage-query.ts";

const plain: UsageRow = {
  key: "fmp",
  requests: 10,
  errors: 1,
  denied: 2,
  bytesUp: 100,
  bytesDown: 2048,
  avgMs: 12.3456,
  p95Ms: 40,
  tokens: { input: 0, cachedInput: 0, cacheWrite: 0, output: 0, reasoning: 0 },
  exactNano: 0n,
  estimatedNano: 0n,
  exact: 0,
  estimated: 0,
  unpriced: 0,
  partial: 0,
};

const used: UsageRow = {
  ...plain,
  key: "openai",
  tokens: { input: 100, cachedInput: 20, cacheWrite: 3, output: 40, reasoning: 5 },
  exactNano: 1_234_500_000n,
  estimatedNano: 200_000_000n,
  exact: 8,
  estimated: 2,
  unpriced: 3,
  partial: 1,
};

const report = (rows: readonly UsageRow[]): UsageReport => ({ rows, total: { ...used, key: "total" } });
const lines = (text: string): string[][] => text.split("\n").map((line) => line.trim().split(/\s{2,}/));

test("exact, estimated and unpriced have columns of their own, and a total is below several rows", () => {
  const [heading, first, second, total] = lines(usageTable("route", report([used, plain])));
  assert.deepEqual(heading?.slice(-5), ["TOKENS IN", "TOKENS OUT", "COST USD", "ESTIMATED USD", "UNPRICED"]);
  assert.deepEqual(first?.slice(-5), ["123", "45", "1.2345", "0.20", "3"]);
  assert.deepEqual(second?.slice(-5), ["0", "0", "-", "-", "0"]);
  assert.equal(total?.[0], "total");
  assert.equal(lines(usageTable("route", report([used]))).length, 2);
});

test("tables of providers that count neither tokens nor money have no columns for them", () => {
  const quiet = { rows: [plain], total: plain };
  assert.deepEqual(lines(usageTable("route", quiet))[0], [
    "ROUTE",
    "REQUESTS",
    "ERRORS",
    "DENIED",
    "SENT",
    "RECEIVED",
    "MEAN",
    "P95",
  ]);
  const unknown = { ...plain, unpriced: 1 };
  assert.match(
    usageTable("route", { rows: [unknown], total: unknown }),
    /COST USD {2}ESTIMATED USD {2}UNPRICED\n.*- +- +1$/,
  );
});

test("CSV has always the same columns and no total, money exact, and no name is a formula", () => {
  const csv = usageCsv("model", report([{ ...used, key: '=cmd|"/c"!A1', exactNano: 2n ** 62n }]));
  const [heading, row, end] = csv.split("\r\n");
  assert.equal(
    heading,
    "model,requests,errors,denied,bytes_sent,bytes_received,mean_ms,p95_ms,tokens_input,tokens_cached_input," +
      "tokens_cache_write,tokens_output,tokens_reasoning,cost_exact_usd,cost_estimated_usd,calls_exact," +
      "calls_estimated,calls_unpriced,calls_partial",
  );
  const name = `"'=cmd|""/c""!A1"`;
  assert.equal(row, `${name},10,1,2,100,2048,12.346,40,100,20,3,40,5,4611686018.427387904,0.20,8,2,3,1`);
  assert.equal(end, "");
});

test("JSON keeps what it had, money is decimal text and calls are counted apart", () => {
  const [row] = JSON.parse(JSON.stringify(usageJson(report([used])))) as Record<string, unknown>[];
  const { exactNano: _e, estimatedNano: _n, exact, estimated, unpriced, partial, ...same } = used;
  assert.deepEqual(row, {
    ...same,
    costUsd: { exact: "1.2345", estimated: "0.20" },
    calls: { exact, estimated, unpriced, partial },
  });
});
