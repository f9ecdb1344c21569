import { LATENCY_BOUNDS_MS, LATENCY_COLUMNS, ROLLUP_SUMS } from "./usage-schema.ts";

/** What one row of `usage` adds to each sum of a rollup; columns of the same name are what they are. */
const ADDS: Readonly<Record<string, string>> = {
  requests: "1",
  errors: "error",
  cost_exact_nano: "CASE WHEN quality = 'exact' THEN coalesce(cost_nano, 0) ELSE 0 END",
  cost_estimated_nano: "CASE WHEN quality = 'exact' THEN 0 ELSE coalesce(cost_nano, 0) END",
  exact: "quality = 'exact'",
  estimated: "quality = 'estimated'",
  ...Object.fromEntries(LATENCY_COLUMNS.map((column, at) => [column, withinLatency(at)])),
};

function withinLatency(at: number): string {
  const above = at === 0 ? [] : [`total_us > ${(LATENCY_BOUNDS_MS[at - 1] ?? 0) * 1000}`];
  const bound = LATENCY_BOUNDS_MS[at];
  return [...above, ...(bound === undefined ? [] : [`total_us <= ${bound * 1000}`])].join(" AND ");
}

/** Single requests in the shape of rollup rows, for what rollups do not tell apart. Takes since and until, in ms. */
export const SINGLE_REQUESTS = `SELECT coalesce(user, '') AS user, ${ROLLUP_SUMS.map(
  (sum) => `${ADDS[sum] ?? sum} AS ${sum}`,
).join(", ")} FROM usage WHERE at_ms >= ? AND at_ms < ?`;
