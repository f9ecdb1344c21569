import type { Secret } from "../secret.ts";
import { type Credential, listRemoved } from "./credentials.ts";
import { encodeFields } from "./field-bytes.ts";
import { isHoneytoken } from "./honeytoken.ts";
import type { VaultView } from "./ledger.ts";
import { fingerprintOf, type Stage } from "./versions.ts";

/** One stored value, without the value. */
export interface KnownValue {
  readonly credential: string;
  readonly version: number;
  /** `removed`: its credential was taken out of use. */
  readonly stage: Stage | "removed";
  readonly honeytoken: boolean;
}

/**
 * Which stored version has which value, told by fingerprints alone: nothing is opened to make it, and nothing can be
 * opened with it. Immutable.
 */
export class KnownValues {
  /** The lists of field names that there are, each once, the shortest first. */
  readonly layouts: readonly (readonly string[])[];
  readonly #byFingerprint: ReadonlyMap<string, KnownValue>;

  constructor(credentials: readonly (Credential & { readonly removed: boolean })[]) {
    const values = new Map<string, KnownValue>();
    const layouts = new Map<string, readonly string[]>();
    for (const credential of credentials) {
      if (credential.versions.length > 0) layouts.set(credential.fields.join("\n"), credential.fields);
      const honeytoken = isHoneytoken(credential) && !credential.removed;
      for (const { fingerprint, number: version, stage } of credential.versions) {
        const value: KnownValue = {
          credential: credential.name,
          version,
          stage: credential.removed ? "removed" : stage,
          honeytoken,
        };
        const other = values.get(fingerprint);
        if (other === undefined || rank(value) > rank(other)) values.set(fingerprint, value);
      }
    }
    this.layouts = [...layouts.values()].sort((a, b) => a.length - b.length);
    this.#byFingerprint = values;
  }

  get size(): number {
    return this.#byFingerprint.size;
  }

  find(fingerprint: string): KnownValue | null {
    return this.#byFingerprint.get(fingerprint) ?? null;
  }
}

/** The same value may be stored more than once; what it means most is told. */
function rank({ honeytoken, stage }: KnownValue): number {
  if (honeytoken) return 3;
  if (stage === "revoked") return 1;
  return stage === "removed" ? 0 : 2;
}

/**
 * All values of the vault. Null while it is sealed: rows that no key vouches for say nothing.
 * @param credentials those of `listCredentials` on the same view
 */
export function loadKnownValues(view: VaultView, credentials: readonly Credential[]): KnownValues | null {
  if (view.keys === null) return null;
  const stored = credentials.map((credential) => ({ ...credential, removed: false }));
  const removed = listRemoved(view).map(({ credential }) => ({ ...credential, removed: true }));
  return new KnownValues([...stored, ...removed]);
}

/**
 * The fingerprint that a version with these fields, in this order, would have. The caller wipes them; what this makes
 * of them is wiped before it returns.
 * @returns null while the vault is sealed
 */
export function fingerprintFields({ keys }: VaultView, fields: ReadonlyMap<string, Secret>): string | null {
  if (keys === null) return null;
  const plain = encodeFields(fields);
  try {
    return fingerprintOf(keys, plain);
  } finally {
    plain.fill(0);
  }
}
