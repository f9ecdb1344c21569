import type { Secret } from "../secret.ts";
import { canonicalBytes } from "./canonical.ts";
import { aeadOpen, aeadSeal } from "./crypto.ts";
import { VaultError, VaultTamperedError } from "./errors.ts";
import { decodeFields, encodeFields } from "./field-bytes.ts";
import type { Keyring } from "./keyring.ts";
import type { VaultTransaction, VaultView } from "./ledger.ts";
import { getRows, putRow } from "./rows.ts";

interface BlobRow {
  name: string;
  sealed: Buffer;
  updated_at: number;
  mac: Buffer;
}

const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
/** The one field of the encoded plaintext; the encoding gives the padding and the length. */
const FIELD = "value";

/** Stores, or replaces, a secret of sidekey itself (the CA's private key). */
export function putSealed({ db, keys, now, note }: VaultTransaction, name: string, value: Secret, actor: string): void {
  if (!NAME.test(name)) throw new VaultError("invalid", `sealed blob "${name}": use 1 to 64 of a-z 0-9 . _ -`);
  const plain = encodeFields(new Map([[FIELD, value]]));
  try {
    const sealed = keys.blobs.use((key) => aeadSeal(key, plain, blobAad(keys, name)));
    putRow(db, keys, "sealed_blobs", { name, sealed, updated_at: now });
  } finally {
    plain.fill(0);
  }
  note({ actor, action: "blob.put", object: `blob:${name}`, detail: {} });
}

export function hasSealed({ db, keys }: VaultView, name: string): boolean {
  return getRows(db, keys, "sealed_blobs", { name }).length > 0;
}

/** Opens a blob. The caller wipes it. @throws VaultError not_found */
export function openSealed(
  { db, keys, note }: VaultTransaction,
  name: string,
  use: { purpose: string; actor: string },
): Secret {
  const row = getRows<BlobRow>(db, keys, "sealed_blobs", { name })[0];
  if (row === undefined) throw new VaultError("not_found", `there is no sealed blob "${name}"`);
  note({ actor: use.actor, action: "blob.open", object: `blob:${name}`, detail: { purpose: use.purpose } });
  const plain = keys.blobs.use((key) => aeadOpen(key, row.sealed, blobAad(keys, name)));
  try {
    const value = decodeFields(plain).get(FIELD);
    if (value === undefined) throw new VaultTamperedError(`vault.db sealed_blobs ${name}`, "this is not a sealed blob");
    return value;
  } finally {
    plain.fill(0);
  }
}

/** The row's ciphertext for another keyring of the same vault; the plaintext is wiped on the way. */
export function resealBlob(from: Keyring, to: Keyring, row: { name: string; sealed: Buffer }): Buffer {
  const plain = from.blobs.use((key) => aeadOpen(key, row.sealed, blobAad(from, row.name)));
  try {
    return to.blobs.use((key) => aeadSeal(key, plain, blobAad(to, row.name)));
  } finally {
    plain.fill(0);
  }
}

function blobAad(keys: Keyring, name: string): Buffer {
  return canonicalBytes({ blob: name, format: 1, vault: keys.vault });
}
