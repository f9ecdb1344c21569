import { existsSync } from "node:fs";
import { guard, openUsageDatabase } from "./database.ts";
import type { UsageWriter } from "./usage.ts";
import type { LimitStateRow } from "./usage-record.ts";
import { USAGE_MIGRATIONS } from "./usage-schema.ts";

const SAVE_EVERY_MS = 1000;
/** A save that took n ms is followed by a pause of n times this: large counters may not cost traffic over 1 %. */
const PAUSE_FACTOR = 100;

/**
 * The state of all limits as last saved; empty when usage.db does not exist yet.
 * @throws DatabaseError when the file cannot be used
 */
export function loadLimitState(path: string): LimitStateRow[] {
  if (!existsSync(path)) return [];
  const db = openUsageDatabase(path, USAGE_MIGRATIONS);
  try {
    return guard(path, () => db.prepare("SELECT key, state FROM limit_state").all() as LimitStateRow[]);
  } finally {
    db.close();
  }
}

export interface LimitStateSaver {
  /** Saves once more if needed and stops. Call before the writer is closed. */
  close(): void;
}

/**
 * Saves the limits' state through the usage writer every second while it changes, so that a restart does
 * not forget what a provider has already counted.
 * @param changed all rows when anything changed since the last call, else null
 */
export function startLimitStateSaver(
  writer: Pick<UsageWriter, "saveLimitState">,
  changed: () => readonly LimitStateRow[] | null,
  everyMs: number = SAVE_EVERY_MS,
): LimitStateSaver {
  let notBefore = 0;
  const save = (): void => {
    const startedAt = performance.now();
    const rows = changed();
    if (rows !== null) writer.saveLimitState(rows);
    const endedAt = performance.now();
    notBefore = endedAt + (endedAt - startedAt) * PAUSE_FACTOR;
  };
  const timer = setInterval(() => {
    if (performance.now() >= notBefore) save();
  }, everyMs).unref();
  return {
    close() {
      clearInterval(timer);
      save();
    },
  };
}
