import SQLite from "better-sqlite3";
import { BackupError } from "./backup-error.ts";
import { type CanonicalObject, type CanonicalValue, canonicalBytes } from "./canonical.ts";
import { constantTimeEqual, sha256 } from "./crypto.ts";
import type { Database } from "./database.ts";
import { VAULT_MIGRATIONS } from "./migrations.ts";
import { STREAM_EXTRA_BYTES } from "./secret-stream.ts";

/*
 * A backup file, numbers big-endian:
 *
 *   "sidekey backup\n" | u32 format = 1 | u32 n | opening section: n bytes of canonical JSON
 *   | SHA-256 of everything before, so that accidental damage is told from a wrong key
 *   | file key: AEAD(KDF(RK, 8, "skbackup"), 32 random bytes, everything before)
 *   | secretstream header (24) | chunks of 64 KiB, each 17 bytes longer than its plaintext, the last one shorter and final
 *
 * The stream's plaintext: u32 m | manifest: m bytes of canonical JSON | the content of each file of the manifest.
 * The opening section holds what the wrappers need, so the backup alone, with any one of them, restores a vault.
 */
const MAGIC = Buffer.from("sidekey backup\n", "ascii");
export const BACKUP_FORMAT = 1;
export const PREFIX_BYTES = MAGIC.length + 8;
export const CHECKSUM_BYTES = 32;
/** nonce ‖ 32-byte key ‖ tag */
export const FILE_KEY_BYTES = 72;
export const CHUNK_BYTES = 64 * 1024;
/** Bounds on what is read before anything is authenticated, and on the manifest. */
export const MAX_OPENING_BYTES = 4 * 1024 * 1024;
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

/** A row as JSON; a blob is `{base64}`. */
export type PlainRow = Readonly<Record<string, string | number | null | { readonly base64: string }>>;

/** Readable without a key, authenticated by the file key. */
export interface Opening {
  readonly vault: string;
  /** ms since the epoch */
  readonly createdAt: number;
  /** of the vault's header */
  readonly epoch: number;
  /** the newest audit entry; `hash` is hex */
  readonly audit: { readonly seq: number; readonly hash: string };
  /** user_version of vault.db */
  readonly schema: number;
  /** bytes of plaintext in the stream */
  readonly stream: number;
  readonly header: PlainRow;
  readonly wrappers: readonly PlainRow[];
}

export interface ManifestFile {
  /** vault.db, audit.anchor, usage.db or config/... */
  readonly name: string;
  readonly bytes: number;
  /** hex */
  readonly sha256: string;
}

export interface Manifest {
  readonly vault: string;
  readonly schema: number;
  readonly epoch: number;
  readonly audit: { readonly seq: number; readonly hash: string };
  /** version of sidekey that made it */
  readonly madeBy: string;
  /** number of rows by table of vault.db */
  readonly tables: Readonly<Record<string, number>>;
  readonly files: readonly ManifestFile[];
}

/** Prefix, opening section and checksum: what the file key is bound to. */
export function encodeOpening(opening: Opening): Buffer {
  const { createdAt, stream, ...rest } = opening;
  const body = canonicalBytes({ ...rest, created_at: createdAt, stream } as unknown as CanonicalObject);
  const prefix = Buffer.alloc(PREFIX_BYTES);
  MAGIC.copy(prefix);
  prefix.writeUInt32BE(BACKUP_FORMAT, MAGIC.length);
  prefix.writeUInt32BE(body.length, MAGIC.length + 4);
  const text = Buffer.concat([prefix, body]);
  return Buffer.concat([text, sha256(text)]);
}

/**
 * Length of the opening section.
 * @param prefix the first PREFIX_BYTES, or all there is
 * @throws BackupError not_a_backup, truncated, newer_format, damaged
 */
export function parsePrefix(prefix: Buffer, name: string): number {
  const magic = prefix.subarray(0, MAGIC.length);
  if (prefix.length === 0 || !magic.equals(MAGIC.subarray(0, magic.length))) {
    if (prefix.length === 0) throw truncated(name, 0, null);
    throw new BackupError("not_a_backup", `${name}: not a sidekey backup: it begins with other bytes`);
  }
  if (prefix.length < PREFIX_BYTES) throw truncated(name, prefix.length, null);
  const format = prefix.readUInt32BE(MAGIC.length);
  if (format > BACKUP_FORMAT) {
    const text = `${name}: newer format: this is a backup of format ${format}, this sidekey knows up to ${BACKUP_FORMAT}`;
    throw new BackupError("newer_format", text, "use the sidekey that made it, or a newer one");
  }
  const length = prefix.readUInt32BE(MAGIC.length + 4);
  if (format === 0 || length === 0 || length > MAX_OPENING_BYTES) throw damaged(name, "its first bytes were changed");
  return length;
}

/** @throws BackupError damaged, newer_format */
export function parseOpening(prefix: Buffer, body: Buffer, checksum: Buffer, name: string): Opening {
  if (!constantTimeEqual(sha256(Buffer.concat([prefix, body])), checksum)) {
    throw damaged(name, "its opening section was changed");
  }
  const value = parseJson(body, name) as Record<string, unknown>;
  const { vault, created_at, epoch, audit, schema, stream, header, wrappers } = value;
  const end = audit as Opening["audit"];
  const numbers = [created_at, epoch, schema, stream, end?.seq];
  const whole = numbers.every((number) => typeof number === "number" && Number.isSafeInteger(number) && number >= 0);
  const sane = typeof vault === "string" && typeof end?.hash === "string" && Array.isArray(wrappers);
  if (!whole || !sane || typeof header !== "object") throw damaged(name, "its opening section is not what was written");
  if ((schema as number) > VAULT_MIGRATIONS.length) throw newerSchema(name, schema as number);
  const createdAt = created_at as number;
  return { ...(value as unknown as Opening), createdAt };
}

function newerSchema(name: string, schema: number): BackupError {
  const text = `${name}: newer format: its vault has schema ${schema}, this sidekey knows up to ${VAULT_MIGRATIONS.length}`;
  return new BackupError("newer_format", text, "use the sidekey that made it, or a newer one");
}

export function encodeManifest(manifest: Manifest): Buffer {
  const { madeBy, ...rest } = manifest;
  const body = canonicalBytes({ ...rest, format: BACKUP_FORMAT, made_by: madeBy } as unknown as CanonicalObject);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, body]);
}

const FILE_NAME = /^(?:vault\.db|audit\.anchor|usage\.db|config(?:\/[A-Za-z0-9_][A-Za-z0-9._-]{0,200}){1,8})$/;

export function isContainedName(name: string): boolean {
  return FILE_NAME.test(name);
}

/** @throws BackupError inconsistent when it does not belong to `opening` */
export function parseManifest(body: Buffer, opening: Opening, name: string): Manifest {
  const value = parseJson(body, name) as unknown as Manifest & { made_by: string };
  const total = value.files.reduce((sum, file) => sum + file.bytes, 4 + body.length);
  const same =
    value.vault === opening.vault &&
    value.epoch === opening.epoch &&
    value.audit.seq === opening.audit.seq &&
    value.audit.hash === opening.audit.hash &&
    total === opening.stream;
  const names = value.files.map((file) => file.name);
  const proper = names.every(isContainedName) && new Set(names).size === names.length && names.includes("vault.db");
  if (!same || !proper) {
    throw new BackupError("inconsistent", `${name}: its manifest does not fit its opening section`);
  }
  return { ...value, madeBy: value.made_by };
}

function parseJson(body: Buffer, name: string): CanonicalObject {
  try {
    const value: unknown = JSON.parse(body.toString("utf8"));
    if (typeof value === "object" && value !== null) return value as CanonicalObject;
  } catch {
    // Falls through.
  }
  throw damaged(name, "it holds something that is not what was written");
}

/** Bytes of the whole file. @param openingBytes as `encodeOpening` returns it */
export function backupSize(openingBytes: number, stream: number): number {
  return openingBytes + FILE_KEY_BYTES + 24 + stream + Math.ceil(stream / CHUNK_BYTES) * STREAM_EXTRA_BYTES;
}

/** @param expected how long it should be, null when that is not known yet */
export function truncated(name: string, found: number, expected: number | null): BackupError {
  const end = found === 0 && expected === null ? "it is empty" : `it ends after ${found} bytes`;
  const of = expected === null ? "" : `, ${expected} were written`;
  const next = "copy it again from where it was made, or use another backup";
  return new BackupError("truncated", `${name}: truncated: ${end}${of}`, next);
}

export function damaged(name: string, what: string): BackupError {
  const next = "copy it again from where it was made, or use another backup";
  return new BackupError("damaged", `${name}: damaged: ${what}`, next);
}

export function plainRow(row: Record<string, unknown>): PlainRow {
  const plain: Record<string, CanonicalValue> = {};
  for (const [column, value] of Object.entries(row)) {
    const blob = value instanceof Uint8Array;
    plain[column] = blob ? { base64: Buffer.from(value).toString("base64") } : (value as string | number | null);
  }
  return plain as PlainRow;
}

/**
 * A database in memory with nothing but the header and the wrappers of a backup: whatever opens a vault opens it.
 * @throws BackupError damaged when the rows do not fit the schema they claim
 */
export function headerDatabase(opening: Opening, name: string): Database {
  const db = new SQLite(":memory:");
  try {
    for (const sql of VAULT_MIGRATIONS.slice(0, opening.schema)) db.exec(sql);
    insertPlain(db, "vault", opening.header);
    for (const wrapper of opening.wrappers) insertPlain(db, "wrappers", wrapper);
    for (const sql of VAULT_MIGRATIONS.slice(opening.schema)) db.exec(sql);
    return db;
  } catch {
    db.close();
    throw damaged(name, "its wrappers are not what was written");
  }
}

function insertPlain(db: Database, table: "vault" | "wrappers", row: PlainRow): void {
  const known = new Set((db.pragma(`table_info(${table})`) as { name: string }[]).map((column) => column.name));
  const columns = Object.keys(row);
  // The names go into SQL, and come from a file that nobody has vouched for yet.
  if (!columns.every((column) => known.has(column))) throw new Error("internal: unknown column");
  const values = columns.map((column) => {
    const value = row[column];
    return typeof value === "object" && value !== null ? Buffer.from(value.base64, "base64") : value;
  });
  const places = columns.map(() => "?").join(", ");
  db.prepare(`INSERT INTO ${table} (${columns.join(", ")}) VALUES (${places})`).run(values);
}
