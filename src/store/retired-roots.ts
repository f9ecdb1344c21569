import { Secret } from "../secret.ts";
import { canonicalBytes } from "./canonical.ts";
import { aeadOpen, aeadSeal } from "./crypto.ts";
import type { Database } from "./database.ts";
import { VaultTamperedError } from "./errors.ts";
import type { Keyring, RetiredAuditKey } from "./keyring.ts";
import { getRows, type Row } from "./rows.ts";

/*
 * A root key is replaced, the audit's past is not: the audit key of each earlier root key is kept, sealed under the
 * present one, so that the chain can be verified from its first entry. It can vouch for entries up to `last_seq` only,
 * and each of those is also fixed by the hash of the entry after it.
 */

interface RetiredRow {
  generation: number;
  audit_key: Buffer;
  last_seq: number;
  retired_at: number;
  mac: Buffer;
}

/** Ascending by `lastSeq`. The caller wipes them. @throws VaultTamperedError */
export function loadRetired(db: Database, keys: Keyring): RetiredAuditKey[] {
  return getRows<RetiredRow>(db, keys, "retired_roots").map((row) => {
    try {
      const plain = keys.blobs.use((key) => aeadOpen(key, row.audit_key, aad(keys, row.generation)));
      return { lastSeq: row.last_seq, key: Secret.adopt(plain) };
    } catch {
      throw new VaultTamperedError(`vault.db retired_roots ${row.generation}`, "its audit key does not open");
    }
  });
}

/** How many root keys there were before this one. */
export function countRetired(db: Database): number {
  return db.prepare("SELECT count(*) FROM retired_roots").pluck().get() as number;
}

/** The row, without its MAC, that keeps `key` under `keys`. */
export function retiredRow(keys: Keyring, generation: number, retired: RetiredAuditKey, retiredAt: number): Row {
  const sealed = keys.blobs.use((key) => retired.key.use((bytes) => aeadSeal(key, bytes, aad(keys, generation))));
  return { generation, audit_key: sealed, last_seq: retired.lastSeq, retired_at: retiredAt };
}

function aad(keys: Keyring, generation: number): Buffer {
  return canonicalBytes({ format: 1, retired_root: generation, vault: keys.vault });
}
