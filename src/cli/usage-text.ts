import { usdText } from "../policy/usd-text.ts";
import { tokensBothWays } from "../providers/usage/token-sums.ts";
import type { UsageGroup, UsageReport, UsageRow } from "../store/usage-query.ts";
import { renderCsv } from "./csv.ts";
import { formatBytes, renderTable } from "./output.ts";

/*
 * Usage as a table, as CSV and as JSON. What a provider told, what was worked out and what has no price are never one number.
 */

/** Columns that only some tables have, each with what its cell says of a row. */
interface Column {
  readonly name: string;
  readonly cell: (row: UsageRow) => string;
}

const REQUESTS: readonly Column[] = [
  { name: "requests", cell: (row) => String(row.requests) },
  { name: "errors", cell: (row) => String(row.errors) },
  { name: "denied", cell: (row) => String(row.denied) },
  { name: "sent", cell: (row) => formatBytes(row.bytesUp) },
  { name: "received", cell: (row) => formatBytes(row.bytesDown) },
  { name: "mean", cell: (row) => `${Math.round(row.avgMs)} ms` },
  { name: "p95", cell: (row) => `${Math.round(row.p95Ms)} ms` },
];

const TOKENS: readonly Column[] = [
  { name: "tokens in", cell: (row) => String(tokensBothWays(row.tokens).tokensIn) },
  { name: "tokens out", cell: (row) => String(tokensBothWays(row.tokens).tokensOut) },
];

const COST: readonly Column[] = [
  { name: "cost usd", cell: (row) => dollars(row.exactNano) },
  { name: "estimated usd", cell: (row) => dollars(row.estimatedNano) },
  { name: "unpriced", cell: (row) => String(row.unpriced) },
];

/** With columns for tokens and cost where there are any, and a line for the total below several rows. */
export function usageTable(by: UsageGroup, { rows, total }: UsageReport): string {
  const { tokensIn, tokensOut } = tokensBothWays(total.tokens);
  const columns = [
    ...REQUESTS,
    ...(tokensIn + tokensOut > 0 ? TOKENS : []),
    ...(total.exactNano + total.estimatedNano > 0n || total.unpriced > 0 ? COST : []),
  ];
  const lines = rows.length > 1 ? [...rows, total] : rows;
  return renderTable(
    [by, ...columns.map(({ name }) => name)],
    lines.map((row) => [row.key, ...columns.map(({ cell }) => cell(row))]),
  );
}

/** A sum of nothing is no price. */
function dollars(nano: bigint): string {
  return nano === 0n ? "-" : usdText(nano);
}

const CSV_COLUMNS = [
  "requests",
  "errors",
  "denied",
  "bytes_sent",
  "bytes_received",
  "mean_ms",
  "p95_ms",
  "tokens_input",
  "tokens_cached_input",
  "tokens_cache_write",
  "tokens_output",
  "tokens_reasoning",
  "cost_exact_usd",
  "cost_estimated_usd",
  "calls_exact",
  "calls_estimated",
  "calls_unpriced",
  "calls_partial",
] as const;

/** Always the same columns, and no total: who reads it adds up. */
export function usageCsv(by: UsageGroup, { rows }: UsageReport): string {
  const cells = rows.map((row) => [
    row.key,
    row.requests,
    row.errors,
    row.denied,
    row.bytesUp,
    row.bytesDown,
    thousandths(row.avgMs),
    thousandths(row.p95Ms),
    row.tokens.input,
    row.tokens.cachedInput,
    row.tokens.cacheWrite,
    row.tokens.output,
    row.tokens.reasoning,
    { digits: usdText(row.exactNano) },
    { digits: usdText(row.estimatedNano) },
    row.exact,
    row.estimated,
    row.unpriced,
    row.partial,
  ]);
  return renderCsv([by, ...CSV_COLUMNS], cells);
}

function thousandths(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/** Rows whose money is decimal text: a number of JSON would lose digits. */
export function usageJson({ rows }: UsageReport): unknown {
  return rows.map(({ exactNano, estimatedNano, exact, estimated, unpriced, partial, ...row }) => ({
    ...row,
    costUsd: { exact: usdText(exactNano), estimated: usdText(estimatedNano) },
    calls: { exact, estimated, unpriced, partial },
  }));
}
