import type { Database } from "./database.ts";
import { DAY_MS, MODELS_PER_DAY, OTHER_MODEL } from "./usage-schema.ts";

/** Days and providers whose models are remembered; records are of today or yesterday, so this is far above need. */
const MAX_REMEMBERED = 256;

/**
 * What models are called in rollups: the first ones of a provider on a day by their own name, the rest `other`. A name
 * that was let in stays in, and when a day is full it stays full, so the name that a record went under can be told later.
 */
export interface RollupModels {
  /** The model's name in rollups, which is let in when there is room. Inside a transaction that writes. */
  nameFor(atMs: number, provider: string | null, model: string | null): string;
  /** The name that a record in the database went under. */
  nameOf(atMs: number, provider: string | null, model: string | null): string;
  /** After a transaction that failed, or when others may have written: what is remembered may be wrong. */
  forget(): void;
}

export function rollupModels(db: Database): RollupModels {
  const select = db.prepare("SELECT model FROM usage_models WHERE day = ? AND provider = ?").pluck();
  const insert = db.prepare("INSERT OR IGNORE INTO usage_models (day, provider, model) VALUES (?, ?, ?)");
  const remembered = new Map<string, Set<string>>();

  function namesOf(day: number, provider: string): Set<string> {
    const id = `${day} ${provider}`;
    const known = remembered.get(id);
    if (known !== undefined) return known;
    if (remembered.size >= MAX_REMEMBERED) remembered.clear();
    const names = new Set(select.all(day, provider) as string[]);
    remembered.set(id, names);
    return names;
  }

  function name(atMs: number, provider: string | null, model: string | null, letIn: boolean): string {
    if (model === null) return "";
    const day = Math.floor(atMs / DAY_MS) * DAY_MS;
    const names = namesOf(day, provider ?? "");
    if (names.has(model)) return model;
    if (!letIn || names.size >= MODELS_PER_DAY) return OTHER_MODEL;
    insert.run(day, provider ?? "", model);
    names.add(model);
    return model;
  }

  return {
    nameFor: (atMs, provider, model) => name(atMs, provider, model, true),
    nameOf: (atMs, provider, model) => name(atMs, provider, model, false),
    forget: () => remembered.clear(),
  };
}
