import { existsSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { type Database, DatabaseError, guard, openUsageDatabase } from "./database.ts";
import { type RollupModels, rollupModels } from "./usage-models.ts";
import { CHARGED_BY_PROVIDER, MAX_COST_NANO, shortName, type UsageQuality, wholeUpTo } from "./usage-record.ts";
import { DAY_MS, HOUR_MS, LARGEST_SUM, ROLLUP_KEYS, USAGE_MIGRATIONS } from "./usage-schema.ts";
import { parseUnits } from "./usage-units.ts";

/*
 * Costs worked out again with another price table. Each step prices some calls outside of any transaction, then writes what has
 * changed together with the sums it is part of: at every moment, and after any crash, the rollups are the sum of the rows. A row is
 * written only if it still is as it was read, so two runs at once, or a run that begins again, do nothing twice.
 */

/** Calls of one step; its transaction takes a few ms. */
const SLICE_CALLS = 500;
/** Pause after a step that has written, so that the daemon's batches come first. */
const SLICE_PAUSE_MS = 20;

/** What a price depends on. */
export interface PricedCall {
  readonly provider: string | null;
  readonly model: string | null;
  readonly tier: string | null;
  readonly units: Readonly<Record<string, number>>;
  readonly atMs: number;
}

export interface CallCost {
  /** Null when nothing of it has a price. */
  readonly costNano: number | null;
  /** Something of it has no price. */
  readonly unpriced: boolean;
  readonly table: string | null;
}

export type PriceCall = (call: PricedCall) => CallCost;

export interface RecomputeOptions {
  /** Calls that arrived from here on, milliseconds since the epoch. */
  readonly sinceMs: number;
  /** And before this. */
  readonly untilMs: number;
  /** Tells what would change, and writes nothing. */
  readonly dryRun?: boolean;
}

export interface CostTotals {
  /** Nano-dollars of calls whose usage the provider told. */
  readonly exactNano: bigint;
  readonly estimatedNano: bigint;
  /** Calls that used something without a price. */
  readonly unpriced: number;
}

export interface RecomputeReport {
  /** Calls that used something, without those that the provider itself put a price to. */
  readonly calls: number;
  /** Those of them that cost something else now, or have it from another table. */
  readonly changed: number;
  readonly before: CostTotals;
  readonly after: CostTotals;
  /** The table that the last call was priced by. */
  readonly table: string | null;
  /** Starts of UTC days that were left as they are, because some of their single requests are gone already. */
  readonly daysLeft: readonly number[];
  /** Arrival of the oldest request that is kept, milliseconds since the epoch; null when none is. */
  readonly keptSinceMs: number | null;
}

/** A row of `usage`, as far as it matters here. */
interface Call {
  readonly id: number;
  readonly at_ms: number;
  readonly route: string | null;
  readonly client: string | null;
  readonly credential: string | null;
  readonly provider: string | null;
  readonly outcome: string;
  readonly model: string | null;
  readonly tier: string | null;
  readonly units: string;
  readonly quality: UsageQuality;
  readonly cost_nano: number | null;
  readonly unpriced: number;
  readonly price_table: string | null;
}

/** A call, and what it is to cost from now on. */
interface Change {
  readonly call: Call;
  readonly cost: CallCost;
}

type Totals = { -readonly [Name in keyof CostTotals]: CostTotals[Name] };

const nothing = (): Totals => ({ exactNano: 0n, estimatedNano: 0n, unpriced: 0 });

interface Run {
  calls: number;
  changed: number;
  readonly before: Totals;
  readonly after: Totals;
  table: string | null;
}

/**
 * Prices the calls of a time again, while the daemon may write. Begin it again after an error or an interruption: what is done
 * already does not change any more.
 * @param price pure; called for every call that used something
 * @throws DatabaseError when the file cannot be used, or stays locked by another process
 */
export async function recomputeCosts(
  path: string,
  price: PriceCall,
  options: RecomputeOptions,
): Promise<RecomputeReport> {
  const run: Run = { calls: 0, changed: 0, before: nothing(), after: nothing(), table: null };
  if (!existsSync(path)) return { ...run, daysLeft: [], keptSinceMs: null };
  const db = openUsageDatabase(path, USAGE_MIGRATIONS);
  try {
    const days = guard(path, () => daysIn(db, options));
    const step = steps(db);
    for (const day of days.whole) {
      const endMs = Math.min(options.untilMs, day + DAY_MS);
      let place: Place = { atMs: Math.max(options.sinceMs, day), id: 0 };
      for (;;) {
        const calls = guard(path, () => step.read(place, endMs));
        const last = calls.at(-1);
        if (last === undefined) break;
        place = { atMs: last.at_ms, id: last.id };
        const changes = priced(calls, price, run);
        run.changed += options.dryRun === true ? changes.length : guard(path, () => step.write(changes));
        if (changes.length > 0 && options.dryRun !== true) await pause(SLICE_PAUSE_MS);
      }
    }
    return { ...run, daysLeft: days.left, keptSinceMs: days.keptSinceMs };
  } finally {
    db.close();
  }
}

interface Days {
  readonly whole: readonly number[];
  readonly left: readonly number[];
  readonly keptSinceMs: number | null;
}

/** Which days of a time have all their requests. In one snapshot: the daemon may be writing to today. */
function daysIn(db: Database, { sinceMs, untilMs }: RecomputeOptions): Days {
  const [first, end] = [Math.floor(sinceMs / DAY_MS) * DAY_MS, Math.ceil(untilMs / DAY_MS) * DAY_MS];
  const counted = db.prepare(
    "SELECT bucket AS day, SUM(requests) AS requests FROM usage_daily WHERE bucket >= ? AND bucket < ? GROUP BY bucket",
  );
  const kept = db.prepare(
    `SELECT at_ms / ${DAY_MS} * ${DAY_MS} AS day, COUNT(*) AS requests FROM usage WHERE at_ms >= ? AND at_ms < ? GROUP BY 1`,
  );
  const oldest = db.prepare("SELECT MIN(at_ms) FROM usage").pluck();
  return db.transaction((): Days => {
    type Day = { readonly day: number; readonly requests: number };
    const rows = new Map((kept.all(first, end) as Day[]).map(({ day, requests }) => [day, requests]));
    const days = counted.all(first, end) as Day[];
    const isWhole = ({ day, requests }: Day): boolean => rows.get(day) === requests;
    return {
      whole: days.filter(isWhole).map(({ day }) => day),
      left: days.filter((day) => !isWhole(day)).map(({ day }) => day),
      keptSinceMs: oldest.get() as number | null,
    };
  })();
}

/** Up to and with this row everything is done. */
interface Place {
  readonly atMs: number;
  readonly id: number;
}

function priced(calls: readonly Call[], price: PriceCall, run: Run): Change[] {
  const changes: Change[] = [];
  for (const call of calls) {
    const { provider, model, tier, at_ms: atMs } = call;
    const found = price({ provider, model, tier, units: parseUnits(call.units), atMs });
    const cost: CallCost = {
      costNano: found.costNano === null ? null : wholeUpTo(found.costNano, MAX_COST_NANO),
      unpriced: found.unpriced,
      table: shortName(found.table),
    };
    addTo(run.before, call.quality, call.cost_nano, call.unpriced);
    addTo(run.after, call.quality, cost.costNano, Number(cost.unpriced));
    run.calls++;
    run.table = cost.table;
    const same = call.cost_nano === cost.costNano && call.unpriced === Number(cost.unpriced);
    if (!same || call.price_table !== cost.table) changes.push({ call, cost });
  }
  return changes;
}

function addTo(totals: Totals, quality: UsageQuality, costNano: number | null, unpriced: number): void {
  if (quality === "exact") totals.exactNano += BigInt(costNano ?? 0);
  else totals.estimatedNano += BigInt(costNano ?? 0);
  totals.unpriced += unpriced;
}

function steps(db: Database) {
  const select = db.prepare(
    `SELECT id, at_ms, route, client, credential, provider, outcome, model, tier, units, quality, cost_nano, unpriced, price_table
     FROM usage WHERE at_ms >= ? AND at_ms < ? AND (at_ms > ? OR id > ?) AND units IS NOT NULL AND price_table IS NOT '${CHARGED_BY_PROVIDER}' ORDER BY at_ms, id LIMIT ?`,
  );
  const update = db.prepare(
    `UPDATE usage SET cost_nano = ?, unpriced = ?, price_table = ?
     WHERE id = ? AND cost_nano IS ? AND unpriced = ? AND price_table IS ?`,
  );
  const rollups = [
    { bucketMs: HOUR_MS, add: addition(db, "usage_hourly") },
    { bucketMs: DAY_MS, add: addition(db, "usage_daily") },
  ];
  const models = rollupModels(db);
  return {
    read: ({ atMs, id }: Place, endMs: number) => select.all(atMs, endMs, atMs, id, SLICE_CALLS) as Call[],
    /** Returns how many calls were as they had been read, and are changed now. */
    write: db.transaction((changes: readonly Change[]): number => {
      // The daemon may have let models in since the last step.
      models.forget();
      const written = changes.filter(({ call, cost }) => {
        const now = [cost.costNano, Number(cost.unpriced), cost.table];
        return update.run(...now, call.id, call.cost_nano, call.unpriced, call.price_table).changes === 1;
      });
      for (const { bucketMs, add } of rollups) {
        for (const { keys, sums } of differences(written, models, bucketMs)) add(keys, sums);
      }
      return written.length;
    }).immediate,
  };
}

interface Difference {
  /** Bucket, then as ROLLUP_KEYS. */
  readonly keys: readonly (string | number)[];
  readonly sums: Totals;
}

/** What the changes add to each rollup row, or take from it. */
function differences(changes: readonly Change[], models: RollupModels, bucketMs: number): Iterable<Difference> {
  const found = new Map<string, Difference>();
  for (const { call, cost } of changes) {
    const bucket = Math.floor(call.at_ms / bucketMs) * bucketMs;
    const names = [call.route, call.client, call.credential, call.provider, call.outcome].map((name) => name ?? "");
    const keys = [bucket, ...names, models.nameOf(call.at_ms, call.provider, call.model)];
    const id = keys.join("\n");
    const { sums } = found.get(id) ?? { sums: nothing() };
    addTo(sums, call.quality, (cost.costNano ?? 0) - (call.cost_nano ?? 0), Number(cost.unpriced) - call.unpriced);
    found.set(id, { keys, sums });
  }
  return found.values();
}

/** Binds money as BigInt: a number would be bound as a REAL, and the sum be exact up to 2^53 only. */
function addition(db: Database, table: string): (keys: readonly (string | number)[], sums: Totals) => void {
  const add = (sum: string): string => `${sum} = max(0, min(${sum} + ?, ${LARGEST_SUM}))`;
  const update = db.prepare(
    `UPDATE ${table} SET ${add("cost_exact_nano")}, ${add("cost_estimated_nano")}, unpriced = unpriced + ?
     WHERE ${["bucket", ...ROLLUP_KEYS].map((key) => `${key} = ?`).join(" AND ")}`,
  );
  return (keys, { exactNano, estimatedNano, unpriced }) => {
    if (update.run(exactNano, estimatedNano, unpriced, ...keys).changes === 1) return;
    const text = `${table} lacks a row that its requests are part of; restore usage.db from a backup, or move it away`;
    throw new DatabaseError("corrupt", db.name, text);
  };
}
