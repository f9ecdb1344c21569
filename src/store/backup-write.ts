import { join } from "node:path";
import { BackupError } from "./backup-error.ts";
import { type ByteSink, fileBytes, fileSink } from "./backup-file.ts";
import {
  backupSize,
  CHUNK_BYTES,
  encodeManifest,
  encodeOpening,
  type Manifest,
  type ManifestFile,
  type Opening,
} from "./backup-format.ts";
import { type ExtraFile, type Snapshot, sealSnapshot, takeSnapshot } from "./backup-snapshot.ts";
import { ByteReader } from "./byte-reader.ts";
import { aeadSeal, KEY_BYTES, randomBytes, sha256Hasher } from "./crypto.ts";
import { VaultSealedError } from "./errors.ts";
import { halfMadeName, removeHalfMade, sweepHalfMade } from "./half-made.ts";
import type { Keyring } from "./keyring.ts";
import { StreamSealer } from "./secret-stream.ts";
import type { Vault } from "./vault.ts";

export interface BackupRequest {
  /** data directory of `vault` */
  readonly directory: string;
  /** path of a new file, or a sink such as stdout */
  readonly to: string | ByteSink;
  /** take usage.db along, if there is one */
  readonly usage?: boolean;
  /** further files, by the name they get (`config/...`) */
  readonly extra?: readonly ExtraFile[];
  /** who the audit entry names */
  readonly actor: string;
  /** version of sidekey */
  readonly version: string;
  /** ms since the epoch */
  readonly now?: () => number;
  readonly signal?: AbortSignal;
}

/** What a finished backup holds. Nothing in it is secret. */
export interface BackupSummary extends Omit<Manifest, "madeBy"> {
  /** ms since the epoch */
  readonly createdAt: number;
  /** size of the backup in bytes */
  readonly bytes: number;
  /** any one opens it */
  readonly wrappers: readonly { readonly id: string; readonly kind: string }[];
}

/**
 * Makes an encrypted backup of an unsealed vault while it is in use. The audit entry `backup.create` comes first and
 * is itself in the backup. Memory does not grow with the size of the data; temporary copies (as sealed as the database
 * itself) lie in the data directory and are removed whatever happens.
 * @throws VaultSealedError, VaultTamperedError, DatabaseError, BackupError exists, conflict or stopped
 */
export async function createBackup(vault: Vault, request: BackupRequest): Promise<BackupSummary> {
  const { directory, signal } = request;
  if (vault.sealed) throw new VaultSealedError("the vault is sealed; unseal it before a backup is made");
  sweepHalfMade(directory);
  const sink = typeof request.to === "string" ? await fileSink(request.to) : request.to;
  const work = halfMadeName(join(directory, ".backup"));
  try {
    const detail = { usage: request.usage === true, files: request.extra?.length ?? 0 };
    vault.audit({ actor: request.actor, action: "backup.create", object: "vault", detail });
    const usage = request.usage === true;
    const snapshot = await takeSnapshot(directory, work, { usage, extra: request.extra ?? [], signal });
    const plan = vault.read(({ keys }) => planBackup(request, work, snapshot, keys));
    try {
      await writeStream(plan, sink, signal);
    } finally {
      plan.fileKey.fill(0);
    }
    await sink.finish();
    return plan.summary;
  } catch (error) {
    await sink.discard();
    throw error;
  } finally {
    removeHalfMade(work);
  }
}

interface BackupPlan {
  readonly opening: Buffer;
  readonly manifest: Buffer;
  readonly fileKey: Buffer;
  readonly sealedKey: Buffer;
  readonly files: readonly (ManifestFile & { readonly path: string })[];
  readonly summary: BackupSummary;
}

function planBackup(
  request: BackupRequest,
  work: string,
  { facts, files }: Snapshot,
  keys: Keyring | null,
): BackupPlan {
  if (keys === null) throw new VaultSealedError("the vault was sealed while the backup was made");
  const { anchor, ...audit } = sealSnapshot(work, keys);
  // The database comes first, its anchor second: a reader can check them in this order.
  const all = [...files.slice(0, 1), anchor, ...files.slice(1)];
  const epoch = facts.header.epoch as number;
  const manifest: Manifest = {
    vault: keys.vault,
    schema: facts.schema,
    epoch,
    audit,
    madeBy: request.version,
    tables: facts.tables,
    files: all.map(({ name, bytes, sha256 }) => ({ name, bytes, sha256 })),
  };
  const manifestBytes = encodeManifest(manifest);
  const stream = all.reduce((sum, file) => sum + file.bytes, manifestBytes.length);
  const createdAt = (request.now ?? Date.now)();
  const { header, wrappers, schema } = facts;
  const opening: Opening = { vault: keys.vault, createdAt, epoch, audit, schema, stream, header, wrappers };
  const openingBytes = encodeOpening(opening);
  const fileKey = randomBytes(KEY_BYTES);
  const summary: BackupSummary = {
    ...{ vault: keys.vault, createdAt, epoch, audit, schema },
    bytes: backupSize(openingBytes.length, stream),
    tables: facts.tables,
    files: manifest.files,
    wrappers: wrappers.map(({ id, kind }) => ({ id: String(id), kind: String(kind) })),
  };
  return {
    opening: openingBytes,
    manifest: manifestBytes,
    fileKey,
    sealedKey: keys.backup.use((key) => aeadSeal(key, fileKey, openingBytes)),
    files: all,
    summary,
  };
}

async function writeStream(plan: BackupPlan, sink: ByteSink, signal?: AbortSignal): Promise<void> {
  const sealer = new StreamSealer(plan.fileKey);
  try {
    await sink.write(Buffer.concat([plan.opening, plan.sealedKey, sealer.header]));
    const plain = new ByteReader(plaintext(plan));
    let missing = plan.files.reduce((sum, file) => sum + file.bytes, plan.manifest.length);
    while (missing > 0) {
      if (signal?.aborted === true) throw new BackupError("stopped", "the backup was stopped before it was complete");
      const chunk = await plain.take(Math.min(CHUNK_BYTES, missing));
      missing -= chunk.length;
      await sink.write(sealer.push(chunk, missing === 0));
    }
  } finally {
    sealer.wipe();
  }
}

/** The manifest, then the files. A file that has changed since it was described ends the backup. */
async function* plaintext({ manifest, files }: BackupPlan): AsyncGenerator<Buffer> {
  yield manifest;
  for (const { name, path, bytes, sha256 } of files) {
    const hasher = sha256Hasher();
    let read = 0;
    for await (const chunk of fileBytes(path)) {
      read += chunk.length;
      if (read > bytes) break;
      hasher.update(chunk);
      yield chunk;
    }
    if (read === bytes && hasher.digest().toString("hex") === sha256) continue;
    throw new BackupError("conflict", `${name} changed while the backup was made`, "run it again");
  }
}
