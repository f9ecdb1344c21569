import type { Secret } from "../secret.ts";
import { type CanonicalObject, canonicalBytes } from "./canonical.ts";
import { type CategoryKey, ensureCategory, openCategory } from "./categories.ts";
import { aeadOpen, aeadSeal, boxSeal, boxSealOpen, DecryptError, KEY_BYTES, mac, randomBytes } from "./crypto.ts";
import type { Database } from "./database.ts";
import { VaultError, VaultTamperedError } from "./errors.ts";
import { decodeFields, encodeFields } from "./field-bytes.ts";
import type { Keyring } from "./keyring.ts";
import type { VaultTransaction } from "./ledger.ts";
import { getRows, putRow } from "./rows.ts";

export type Stage = "pending" | "current" | "previous" | "revoked";

/** One value of a credential, without the value. */
export interface Version {
  readonly number: number;
  readonly stage: Stage;
  /** ms since the epoch */
  readonly createdAt: number;
  /** 12 hex digits: equal for equal values, meaningless without the vault's key */
  readonly fingerprint: string;
}

export interface VersionRow {
  credential: string;
  number: number;
  stage: Stage;
  generation: number;
  fingerprint: string;
  sealed_key: Buffer;
  sealed: Buffer;
  created_at: number;
  mac: Buffer;
}

/** What a sealed value is bound to, besides its vault and version: any other value of these and it does not open. */
export interface VersionBinding {
  credential: string;
  category: string;
  provider: string;
  hosts: readonly string[];
}

/** First byte of `sealed_key` and `sealed`. */
const FORMAT = 1;
const FINGERPRINT_DIGITS = 12;

/** Seals `fields` as version `number`. Nothing but the ciphertext outlives the call. */
export function insertVersion(
  transaction: VaultTransaction,
  binding: VersionBinding,
  version: { number: number; stage: Stage; fields: ReadonlyMap<string, Secret>; actor: string },
): void {
  const { db, keys, now } = transaction;
  const { number, stage } = version;
  const category = ensureCategory(transaction, binding.category, version.actor);
  const plain = encodeFields(version.fields);
  const dataKey = randomBytes(KEY_BYTES);
  try {
    const aad = canonicalBytes(versionAad(keys, binding, number));
    putRow(db, keys, "versions", {
      credential: binding.credential,
      number,
      stage,
      generation: category.generation,
      fingerprint: fingerprintOf(keys, plain),
      sealed_key: versioned(boxSeal(category.publicKey, dataKey)),
      sealed: versioned(aeadSeal(dataKey, plain, aad)),
      created_at: now,
    });
  } finally {
    dataKey.fill(0);
    plain.fill(0);
  }
}

/**
 * Opens one version. The caller wipes every Secret.
 * @throws VaultTamperedError when row, keys or binding are not what was sealed; VaultError on a missing or revoked version
 */
export function openVersion(db: Database, keys: Keyring, binding: VersionBinding, number: number): Map<string, Secret> {
  const row = getVersion(db, keys, binding.credential, number);
  if (row.stage === "revoked") throw new VaultError("refused", `version ${number} of this credential is revoked`);
  const pair = openCategory(db, keys, binding.category, row.generation);
  try {
    return openRow(keys, binding, row, pair, decodeFields);
  } finally {
    pair.privateKey.wipe();
  }
}

/** The fingerprint that another keyring of the vault gives to the value of `row`. @throws VaultTamperedError */
export function fingerprintUnder(
  to: Keyring,
  from: Keyring,
  binding: VersionBinding,
  row: VersionRow,
  pair: { publicKey: Buffer; privateKey: Secret },
): string {
  return openRow(from, binding, row, pair, (plain) => fingerprintOf(to, plain));
}

/** Lends the plaintext of a row to `use`, then wipes it. */
function openRow<T>(
  keys: Keyring,
  binding: VersionBinding,
  row: VersionRow,
  pair: { publicKey: Buffer; privateKey: Secret },
  use: (plain: Buffer) => T,
): T {
  let dataKey: Buffer | null = null;
  let plain: Buffer | null = null;
  try {
    dataKey = pair.privateKey.use((key) => boxSealOpen(pair.publicKey, key, unversioned(row.sealed_key)));
    plain = aeadOpen(dataKey, unversioned(row.sealed), canonicalBytes(versionAad(keys, binding, row.number)));
    return use(plain);
  } catch (error) {
    if (!(error instanceof DecryptError)) throw error;
    const problem = "the sealed value does not belong to this credential, category, provider and hosts";
    throw new VaultTamperedError(`vault.db versions ${row.credential}/${row.number}`, problem);
  } finally {
    dataKey?.fill(0);
    plain?.fill(0);
  }
}

/** Of fields as `encodeFields` writes them. */
export function fingerprintOf(keys: Keyring, plain: Buffer): string {
  return mac(keys.fingerprint, plain).toString("hex").slice(0, FINGERPRINT_DIGITS);
}

/**
 * Seals the data key of a version to another key pair of its category; the value itself stays as it is.
 * @throws VaultTamperedError when the data key does not open with `from`
 */
export function rewrapVersion(
  { db, keys }: VaultTransaction,
  row: VersionRow,
  from: { publicKey: Buffer; privateKey: Secret },
  to: CategoryKey,
): void {
  let dataKey: Buffer | null = null;
  try {
    dataKey = from.privateKey.use((key) => boxSealOpen(from.publicKey, key, unversioned(row.sealed_key)));
    const sealedKey = versioned(boxSeal(to.publicKey, dataKey));
    putRow(db, keys, "versions", { ...row, generation: to.generation, sealed_key: sealedKey });
  } catch (error) {
    if (!(error instanceof DecryptError)) throw error;
    throw new VaultTamperedError(`vault.db versions ${row.credential}/${row.number}`, "its data key does not open");
  } finally {
    dataKey?.fill(0);
  }
}

/** The AAD of a sealed value. Part of the format. */
export function versionAad(keys: Keyring, binding: VersionBinding, version: number): CanonicalObject {
  const { credential, category, provider, hosts } = binding;
  return { category, credential, format: FORMAT, hosts, provider, vault: keys.vault, version };
}

/** @throws VaultError not_found */
export function getVersion(db: Database, keys: Keyring, credential: string, number: number): VersionRow {
  const row = getRows<VersionRow>(db, keys, "versions", { credential, number })[0];
  if (row === undefined) throw new VaultError("not_found", `this credential has no version ${number}`);
  return row;
}

/** Makes `number` the current version; the one that was current becomes previous. */
export function makeCurrent({ db, keys }: VaultTransaction, credential: string, number: number): void {
  const row = getVersion(db, keys, credential, number);
  if (row.stage === "revoked")
    throw new VaultError("refused", `version ${number} is revoked and cannot be used again; add a new one`);
  for (const other of getRows<VersionRow>(db, keys, "versions", { credential, stage: "current" })) {
    putRow(db, keys, "versions", { ...other, stage: "previous" });
  }
  putRow(db, keys, "versions", { ...row, stage: "current" });
}

export function describeVersion(row: VersionRow): Version {
  return { number: row.number, stage: row.stage, createdAt: row.created_at, fingerprint: row.fingerprint };
}

function versioned(sealed: Buffer): Buffer {
  return Buffer.concat([Buffer.of(FORMAT), sealed]);
}

/** An unknown format is an error, never "try anyway". */
function unversioned(sealed: Buffer): Buffer {
  if (sealed[0] !== FORMAT) throw new DecryptError(`sealed format ${sealed[0]} is not known`);
  return sealed.subarray(1);
}
