/* What metrics are counted in between scrapes: plain numbers, in maps whose labels are bounded. */

/** Label value for everything that is not a configured name, so that a client cannot invent time series. */
const OTHER = "other";
/** Distinct values per label below one parent; user-owned credentials alone could otherwise be thousands. */
export const MAX_LABEL_VALUES = 500;

export interface Tally {
  n: number;
}

/** The child for `key`, created on first use; past the bound everything new shares `other`. */
export function child<V>(children: Map<string, V>, key: string | null, create: () => V): V {
  const found = children.get(key ?? OTHER);
  if (found !== undefined) return found;
  const name = key === null || children.size >= MAX_LABEL_VALUES ? OTHER : key;
  const existing = children.get(name);
  if (existing !== undefined) return existing;
  const created = create();
  children.set(name, created);
  return created;
}
