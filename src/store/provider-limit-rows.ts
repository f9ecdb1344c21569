import type { Database } from "./database.ts";

/** A provider's own limits for one credential version, as they were last told. Times are whole ms since the epoch. */
export interface StoredLimits {
  /** id of the credential; `provider:<id>`, with version 0, where a provider counts all of its keys together */
  readonly credential: string;
  readonly version: number;
  /** until when the provider does not want to see it */
  readonly held: StoredHold | null;
  readonly windows: readonly StoredWindow[];
}

export interface StoredHold {
  /** of the answer that said so */
  readonly status: number;
  readonly untilMs: number;
  /** the provider asked for longer */
  readonly capped: boolean;
}

export interface StoredWindow {
  /** the model or the host that the provider counts apart; null when nobody knew */
  readonly scope: string | null;
  readonly kind: string;
  readonly limit: number | null;
  readonly remaining: number | null;
  readonly resetAtMs: number | null;
  readonly seenAtMs: number;
}

interface WindowRow {
  credential: string;
  version: number;
  scope: string;
  kind: string;
  most: number | null;
  remaining: number | null;
  reset_at: number | null;
  seen_at: number;
}

interface HoldRow {
  credential: string;
  version: number;
  status: number;
  until: number;
  capped: number;
}

/** What stands for all keys of a provider outlives each of them. */
export const SHARED_PREFIX = "provider:";

/** All of it, or that of one credential, by version. */
export function readProviderLimits(db: Database, credential?: string): StoredLimits[] {
  const where = credential === undefined ? "" : "WHERE credential = ?";
  const values = credential === undefined ? [] : [credential];
  const order = "ORDER BY credential, version";
  const windows = db.prepare(`SELECT * FROM provider_windows ${where} ${order}, scope, kind`).all(...values);
  const holds = db.prepare(`SELECT * FROM provider_holds ${where} ${order}`).all(...values);
  const found = new Map<string, { credential: string; version: number; held: StoredHold | null; rows: WindowRow[] }>();
  const entry = ({ credential: id, version }: { credential: string; version: number }) => {
    const key = `${id}\n${version}`;
    const known = found.get(key) ?? { credential: id, version, held: null, rows: [] };
    found.set(key, known);
    return known;
  };
  for (const row of windows as WindowRow[]) entry(row).rows.push(row);
  for (const row of holds as HoldRow[]) {
    entry(row).held = { status: row.status, untilMs: row.until, capped: row.capped === 1 };
  }
  return [...found.values()].map(({ rows, ...rest }) => ({ ...rest, windows: rows.map(describeWindow) }));
}

/** Replaces what was known of each of these versions, in one transaction. */
export function writeProviderLimits(db: Database, limits: readonly StoredLimits[]): void {
  const forget = ["provider_windows", "provider_holds"].map((table) =>
    db.prepare(`DELETE FROM ${table} WHERE credential = ? AND version = ?`),
  );
  const addWindow = db.prepare(
    `INSERT INTO provider_windows (credential, version, scope, kind, most, remaining, reset_at, seen_at)
     VALUES (@credential, @version, @scope, @kind, @limit, @remaining, @resetAtMs, @seenAtMs)`,
  );
  const addHold = db.prepare(
    "INSERT INTO provider_holds (credential, version, status, until, capped) VALUES (?, ?, ?, ?, ?)",
  );
  db.transaction(() => {
    for (const { credential, version, held, windows } of limits) {
      for (const statement of forget) statement.run(credential, version);
      for (const window of windows) addWindow.run({ ...window, credential, version, scope: window.scope ?? "" });
      if (held !== null) addHold.run(credential, version, held.status, held.untilMs, Number(held.capped));
    }
  })();
}

function describeWindow({ scope, kind, most, remaining, reset_at, seen_at }: WindowRow): StoredWindow {
  return { scope: scope === "" ? null : scope, kind, limit: most, remaining, resetAtMs: reset_at, seenAtMs: seen_at };
}
