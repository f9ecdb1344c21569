import type { VaultTransaction, VaultView } from "./ledger.ts";
import { getRows, putRow } from "./rows.ts";

/** A credential that is out of use and will be deleted. ms since the epoch. */
export interface Removal {
  readonly removedAt: number;
  readonly shredAt: number;
}

interface RemovalRow {
  credential: string;
  removed_at: number;
  shred_at: number;
  mac: Buffer;
}

/** Null when the credential is in use. */
export function getRemoval({ db, keys }: VaultView, credentialId: string): Removal | null {
  const row = getRows<RemovalRow>(db, keys, "removals", { credential: credentialId })[0];
  return row === undefined ? null : describe(row);
}

/** By credential id. */
export function listRemovals({ db, keys }: VaultView): Map<string, Removal> {
  return new Map(getRows<RemovalRow>(db, keys, "removals").map((row) => [row.credential, describe(row)]));
}

/** The caller adds the audit entry, here and below. */
export function putRemoval({ db, keys, now }: VaultTransaction, credentialId: string, shredAt: number): void {
  putRow(db, keys, "removals", { credential: credentialId, removed_at: now, shred_at: shredAt });
}

export function deleteRemoval({ db }: VaultTransaction, credentialId: string): void {
  db.prepare("DELETE FROM removals WHERE credential = ?").run(credentialId);
}

function describe(row: RemovalRow): Removal {
  return { removedAt: row.removed_at, shredAt: row.shred_at };
}
