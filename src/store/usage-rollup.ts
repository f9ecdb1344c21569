import { USAGE_COLUMNS, type UsageRow } from "./usage-record.ts";
import { DAY_MS, HOUR_MS, LATENCY_BOUNDS_MS, ROLLUP_KEYS, ROLLUP_SUMS } from "./usage-schema.ts";

/** One rollup row's share of a batch: what it is for, and what to add to its sums (in the order of ROLLUP_SUMS). */
export interface Rollup {
  /** Start of the hour or day, milliseconds since the epoch. */
  readonly bucket: number;
  /** In the order of ROLLUP_KEYS. */
  readonly keys: readonly string[];
  readonly sums: number[];
}

type Column = (typeof USAGE_COLUMNS)[number];

const at = (column: Column): number => USAGE_COLUMNS.indexOf(column);
const AT_MS = at("at_ms");
const ERROR = at("error");
const DENIED = at("denied");
const BYTES_UP = at("bytes_up");
const BYTES_DOWN = at("bytes_down");
const TOTAL_US = at("total_us");
const QUALITY = at("quality");
const PARTIAL = at("partial");
const COST_NANO = at("cost_nano");
const UNPRICED = at("unpriced");
/** Without the model: its name in rollups is given by the caller. */
const KEY_COLUMNS = ROLLUP_KEYS.slice(0, -1).map((key) => at(key));

const to = (sum: string): number => ROLLUP_SUMS.indexOf(sum);
/** Where the latency counts begin among the sums. */
const TO_LATENCY = to("l0");
/** Columns that are added up as they are, with the sums they go to. */
const TOKENS = (
  ["tokens_input", "tokens_cached_input", "tokens_cache_write", "tokens_output", "tokens_reasoning"] as const
).map((name) => ({ from: at(name), to: to(name) }));
const TO_COST_EXACT = to("cost_exact_nano");
const TO_COST_ESTIMATED = to("cost_estimated_nano");
const TO_EXACT = to("exact");
const TO_ESTIMATED = to("estimated");
const TO_UNPRICED = to("unpriced");
const TO_PARTIAL = to("partial");

/**
 * Adds a batch up by hour, in memory first, because it touches few rollup rows many times.
 * @param models what each row's model is called in rollups; '' for none
 */
export function rollUp(rows: readonly UsageRow[], models: readonly string[]): Iterable<Rollup> {
  const rollups = new Map<string, Rollup>();
  for (const [index, row] of rows.entries()) {
    const bucket = Math.floor(number(row, AT_MS) / HOUR_MS) * HOUR_MS;
    const model = models[index] ?? "";
    let id = `${bucket}`;
    for (const column of KEY_COLUMNS) id += `\n${row[column] ?? ""}`;
    id += `\n${model}`;
    let rollup = rollups.get(id);
    if (!rollup) {
      const keys = KEY_COLUMNS.map((column) => String(row[column] ?? ""));
      rollup = { bucket, keys: [...keys, model], sums: new Array<number>(ROLLUP_SUMS.length).fill(0) };
      rollups.set(id, rollup);
    }
    addRow(rollup.sums, row);
  }
  return rollups.values();
}

/** Hours added up to days: a tenth of the work of beginning with the rows again. */
export function rollUpDays(hours: Iterable<Rollup>): Iterable<Rollup> {
  const days = new Map<string, Rollup>();
  for (const { bucket: hour, keys, sums } of hours) {
    const bucket = Math.floor(hour / DAY_MS) * DAY_MS;
    const id = [bucket, ...keys].join("\n");
    const day = days.get(id);
    if (day === undefined) days.set(id, { bucket, keys, sums: [...sums] });
    else for (const [at, sum] of sums.entries()) add(day.sums, at, sum);
  }
  return days.values();
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
  add(sums, TO_LATENCY + latency, 1);
  if (row.length > QUALITY) addUse(sums, row);
}

function addUse(sums: number[], row: UsageRow): void {
  for (const { from, to } of TOKENS) add(sums, to, number(row, from));
  // Only what the provider said is exact; a cost of anything else is as good as its figure.
  const exact = row[QUALITY] === "exact";
  add(sums, exact ? TO_COST_EXACT : TO_COST_ESTIMATED, number(row, COST_NANO));
  if (exact) add(sums, TO_EXACT, 1);
  else if (row[QUALITY] === "estimated") add(sums, TO_ESTIMATED, 1);
  add(sums, TO_UNPRICED, number(row, UNPRICED));
  add(sums, TO_PARTIAL, number(row, PARTIAL));
}

function add(sums: number[], index: number, value: number): void {
  sums[index] = (sums[index] ?? 0) + value;
}

/** Null counts as 0, and so does what was left out. */
function number(row: UsageRow, column: number): number {
  return Number(row[column] ?? 0);
}
