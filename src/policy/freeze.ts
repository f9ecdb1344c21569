/**
 * Maps and sets that cannot be changed: Object.freeze alone leaves their contents open. The snapshot is shared by all
 * exchanges, so a stray `set` must fail where it is made and not show up as a wrong decision later.
 */
export function frozenMap<K, V>(entries: Iterable<readonly [K, V]>): ReadonlyMap<K, V> {
  return locked(new Map(entries), ["set", "delete", "clear"]);
}

export function frozenSet<T>(values: Iterable<T>): ReadonlySet<T> {
  return locked(new Set(values), ["add", "delete", "clear"]);
}

function locked<T extends object>(collection: T, methods: readonly string[]): T {
  const value = () => {
    throw new TypeError("internal: the policy snapshot is frozen");
  };
  for (const method of methods) Object.defineProperty(collection, method, { value });
  return Object.freeze(collection);
}

export function frozenList<T>(values: Iterable<T>): readonly T[] {
  return Object.freeze([...values]);
}
