import { USAGE_COLUMNS, type UsageColumn, type UsageRow } from "./usage-record.ts";
import { LATENCY_BOUNDS_MS, ROLLUP_KEYS, ROLLUP_SUMS } from "./usage-schema.ts";

/** One rollup row's share of a batch: its key columns, and what to add to its sums (in the order of ROLLUP_SUMS). */
export interface Rollup {
  readonly keys: readonly UsageColumn[];
  readonly sums: number[];
}

const at = (column: (typeof USAGE_COLUMNS)[number]): number => USAGE_COLUMNS.indexOf(column);
const AT_MS = at("at_ms");
const ERROR = at("error");
const DENIED = at("denied");
const BYTES_UP = at("bytes_up");
const BYTES_DOWN = at("bytes_down");
const TOTAL_US = at("total_us");
const KEY_COLUMNS = ROLLUP_KEYS.map((key) => at(key));
/** Where the latency counts begin among the sums. */
const FIRST_LATENCY = ROLLUP_SUMS.indexOf("l0");

/** Adds a batch up in memory first, because it touches few rollup rows many times. */
export function rollUp(rows: readonly UsageRow[], bucketMs: number): Iterable<Rollup> {
  const rollups = new Map<string, Rollup>();
  for (const row of rows) {
    const bucket = Math.floor(number(row, AT_MS) / bucketMs) * bucketMs;
    let id = `${bucket}`;
    for (const column of KEY_COLUMNS) id += `\n${row[column] ?? ""}`;
    let rollup = rollups.get(id);
    if (!rollup) {
      const keys = [bucket, ...KEY_COLUMNS.map((column) => row[column] ?? "")];
      rollup = { keys, sums: new Array<number>(ROLLUP_SUMS.length).fill(0) };
      rollups.set(id, rollup);
    }
    addRow(rollup.sums, row);
  }
  return rollups.values();
}

function addRow(sums: number[], row: UsageRow): void {
  const totalUs = number(row, TOTAL_US);
  add(sums, 0, 1);
  add(sums, 1, number(row, ERROR));
  add(sums, 2, number(row, DENIED));
  add(sums, 3, number(row, BYTES_UP));
  add(sums, 4, number(row, BYTES_DOWN));
  add(sums, 5, totalUs);
  let latency = 0;
  while (latency < LATENCY_BOUNDS_MS.length && totalUs > (LATENCY_BOUNDS_MS[latency] ?? 0) * 1000) latency++;
  add(sums, FIRST_LATENCY + latency, 1);
}

function add(sums: number[], index: number, value: number): void {
  sums[index] = (sums[index] ?? 0) + value;
}

function number(row: UsageRow, column: number): number {
  return Number(row[column]);
}
