/**
 * `@peculiar/x509` registers its classes with decorators whose run time insists on three functions of the Reflect
 * metadata proposal and refuses to load without them. These are those three, for classes only: no more than it uses.
 * Import this module before the library, for its side effect.
 */

type MetadataByKey = Map<unknown, unknown>;

interface ReflectMetadata {
  defineMetadata(key: unknown, value: unknown, target: object): void;
  getOwnMetadata(key: unknown, target: object): unknown;
  getMetadata(key: unknown, target: object): unknown;
}

const metadata = new WeakMap<object, MetadataByKey>();

const functions: ReflectMetadata = {
  defineMetadata(key, value, target) {
    const own = metadata.get(target) ?? new Map();
    own.set(key, value);
    metadata.set(target, own);
  },
  getOwnMetadata: (key, target) => metadata.get(target)?.get(key),
  getMetadata(key, target) {
    for (let holder: object | null = target; holder !== null; holder = Reflect.getPrototypeOf(holder)) {
      const own = metadata.get(holder);
      if (own?.has(key)) return own.get(key);
    }
    return undefined;
  },
};

// Somebody else's complete polyfill, loaded first, stays.
if (!("getMetadata" in Reflect)) {
  for (const [name, value] of Object.entries(functions)) {
    Object.defineProperty(Reflect, name, { value, configurable: true, writable: true });
  }
}
