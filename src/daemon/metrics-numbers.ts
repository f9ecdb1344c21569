/*
 * What metrics are counted in between scrapes: plain numbers, because prom-client's own counters hash label strings at
 * every call. Labels are bounded here.
 */

/** Label value for everything that is not a configured name, so that a client cannot invent time series. */
const OTHER = "other";
/** Distinct values per label below one parent; user-owned credentials alone could otherwise be thousands. */
export const MAX_LABEL_VALUES = 500;

/** Cumulative counts of one series. */
export interface Distribution {
  bounds: readonly number[];
  counts: Float64Array;
  sum: number;
  count: number;
}

export function observe(distribution: Distribution, seconds: number): void {
  let at = 0;
  while (at < distribution.bounds.length && seconds > (distribution.bounds[at] as number)) at++;
  distribution.counts[at] = (distribution.counts[at] as number) + 1;
  distribution.sum += seconds;
  distribution.count++;
}

export function distribution(bounds: readonly number[]): Distribution {
  return { bounds, counts: new Float64Array(bounds.length + 1), sum: 0, count: 0 };
}

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
