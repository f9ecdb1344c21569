import type { Secret } from "../secret.ts";
import { BackupError } from "./backup-error.ts";
import type { ByteSink } from "./backup-file.ts";
import {
  backupSize,
  CHECKSUM_BYTES,
  CHUNK_BYTES,
  damaged,
  FILE_KEY_BYTES,
  headerDatabase,
  MAX_MANIFEST_BYTES,
  type Manifest,
  type ManifestFile,
  type Opening,
  PREFIX_BYTES,
  parseManifest,
  parseOpening,
  parsePrefix,
  truncated,
} from "./backup-format.ts";
import { ByteReader } from "./byte-reader.ts";
import { aeadOpen, DecryptError, ready, sha256Hasher } from "./crypto.ts";
import { type UnlockProblemCode, VaultSealedError } from "./errors.ts";
import { type Keyring, keyringOf, openRootKey, readStanzas, wipeKeyring } from "./keyring.ts";
import { STREAM_EXTRA_BYTES, STREAM_HEADER_BYTES, StreamOpener } from "./secret-stream.ts";
import type { Unlocker } from "./wrappers.ts";

/** The unencrypted part of a backup, with the rest still to be read. */
export interface OpenedBackup {
  readonly opening: Opening;
  /** how messages name it */
  readonly name: string;
  readonly openingBytes: Buffer;
  readonly reader: ByteReader;
}

/** An answer like this means that the unlocker works, but not for this vault. */
const NOT_THE_KEY: ReadonlySet<UnlockProblemCode> = new Set(["wrong_key", "wrong_passphrase", "no_wrapper"]);

/**
 * Reads the opening section, which needs no key and proves nothing yet.
 * @param source the bytes of a backup, from a file or a pipe
 * @throws BackupError not_a_backup, truncated, newer_format, damaged, unreadable
 */
export async function openBackup(source: AsyncIterable<Buffer | string>, name: string): Promise<OpenedBackup> {
  const reader = new ByteReader(source);
  try {
    const prefix = await reader.take(PREFIX_BYTES);
    const length = parsePrefix(prefix, name);
    const body = await reader.take(length);
    const checksum = await reader.take(CHECKSUM_BYTES);
    if (checksum.length < CHECKSUM_BYTES) throw truncated(name, reader.taken, null);
    const opening = parseOpening(prefix, body, checksum, name);
    return { opening, name, reader, openingBytes: Buffer.concat([prefix, body, checksum]) };
  } catch (error) {
    await reader.close();
    throw error;
  }
}

/**
 * The root key of the vault in the backup, opened with the first unlocker that fits. The caller wipes it.
 * @throws BackupError wrong_key, damaged; VaultSealedError when an unlocker could not be tried
 */
export async function openBackupRoot(
  { opening, name }: Pick<OpenedBackup, "opening" | "name">,
  unlockers: readonly Unlocker[],
): Promise<{ root: Secret; by: string }> {
  await ready();
  const db = headerDatabase(opening, name);
  try {
    return await openRootKey(readStanzas(db), unlockers);
  } catch (error) {
    if (!(error instanceof VaultSealedError)) throw error;
    const kinds = [...new Set(opening.wrappers.map(({ kind }) => String(kind)))].join(", ");
    const reasons = error.problems.map(({ by, message }) => `${by}: ${message}`).join("; ");
    if (error.problems.length > 0 && error.problems.every(({ code }) => NOT_THE_KEY.has(code))) {
      const text = `${name}: wrong key: nothing given opens this backup of vault ${opening.vault} (${reasons})`;
      throw new BackupError("wrong_key", text, `it opens with: ${kinds}`);
    }
    const text = `${name}: the backup stays closed: ${reasons || "no unlocker is configured"}; it opens with: ${kinds}`;
    throw new VaultSealedError(text, error.problems);
  } finally {
    db.close();
  }
}

/**
 * Authenticates and decrypts the whole rest, one file after the other, and makes sure that nothing follows it.
 * @param sinkFor null passes a file over; its bytes are authenticated all the same
 * @throws BackupError truncated, damaged, inconsistent; whatever a sink throws
 */
export async function readContents(
  backup: OpenedBackup,
  root: Secret,
  sinkFor: (file: ManifestFile, manifest: Manifest) => Promise<ByteSink | null>,
): Promise<Manifest> {
  const keys = keyringOf(root, backup.opening.vault);
  try {
    return await readWith(backup, keys, sinkFor);
  } finally {
    wipeKeyring(keys);
  }
}

/** As `readContents`, for somebody who holds the keys of an unsealed vault. */
export async function readWith(
  backup: OpenedBackup,
  keys: Pick<Keyring, "backup">,
  sinkFor: (file: ManifestFile, manifest: Manifest) => Promise<ByteSink | null>,
): Promise<Manifest> {
  const { name, opening, reader } = backup;
  const fileKey = await openFileKey(backup, keys);
  const plain = new ByteReader(chunks(backup, fileKey));
  try {
    const prefix = await plain.take(4);
    const length = prefix.length < 4 ? 0 : prefix.readUInt32BE();
    if (length === 0 || length > MAX_MANIFEST_BYTES) throw damaged(name, "its manifest has no sensible length");
    const manifest = parseManifest(await plain.take(length), opening, name);
    for (const file of manifest.files) await readFile(plain, file, await sinkFor(file, manifest), name);
    // Draining it makes sure that the last chunk was marked as the last and that nothing follows.
    if ((await plain.some(1)).length > 0) throw damaged(name, "more bytes follow than its manifest names");
    return manifest;
  } finally {
    await plain.close();
    fileKey.fill(0);
    await reader.close();
  }
}

async function openFileKey(backup: OpenedBackup, keys: Pick<Keyring, "backup">): Promise<Buffer> {
  const { name, opening, openingBytes, reader } = backup;
  const sealed = await reader.take(FILE_KEY_BYTES);
  if (sealed.length < FILE_KEY_BYTES) {
    throw truncated(name, reader.taken, backupSize(openingBytes.length, opening.stream));
  }
  try {
    return keys.backup.use((key) => aeadOpen(key, sealed, openingBytes));
  } catch (error) {
    if (error instanceof DecryptError) throw damaged(name, "its opening section or its file key was changed");
    throw error;
  }
}

async function* chunks({ name, opening, openingBytes, reader }: OpenedBackup, key: Buffer): AsyncGenerator<Buffer> {
  const size = backupSize(openingBytes.length, opening.stream);
  const header = await reader.take(STREAM_HEADER_BYTES);
  if (header.length < STREAM_HEADER_BYTES) throw truncated(name, reader.taken, size);
  const opener = new StreamOpener(key, header);
  try {
    for (let missing = opening.stream; missing > 0; ) {
      const wanted = Math.min(CHUNK_BYTES, missing);
      const at = reader.taken;
      const sealed = await reader.take(wanted + STREAM_EXTRA_BYTES);
      if (sealed.length < wanted + STREAM_EXTRA_BYTES) throw truncated(name, reader.taken, size);
      const { plain, last } = pull(opener, sealed, `${name}`, at);
      missing -= wanted;
      if (last !== (missing === 0)) throw damaged(name, `the part at byte ${at} is not where it belongs`);
      yield plain;
    }
    if ((await reader.some(1)).length > 0) throw damaged(name, `bytes follow its end at ${size}`);
  } finally {
    opener.wipe();
  }
}

function pull(opener: StreamOpener, sealed: Buffer, name: string, at: number): { plain: Buffer; last: boolean } {
  try {
    return opener.pull(sealed);
  } catch (error) {
    if (error instanceof DecryptError) throw damaged(name, `the part at byte ${at} was changed`);
    throw error;
  }
}

async function readFile(plain: ByteReader, file: ManifestFile, sink: ByteSink | null, name: string): Promise<void> {
  try {
    const hasher = sha256Hasher();
    for (let missing = file.bytes; missing > 0; ) {
      const part = await plain.some(Math.min(missing, CHUNK_BYTES));
      if (part.length === 0) throw damaged(name, `${file.name} in it is shorter than its manifest says`);
      missing -= part.length;
      hasher.update(part);
      await sink?.write(part);
    }
    if (hasher.digest().toString("hex") !== file.sha256) {
      throw new BackupError("inconsistent", `${name}: ${file.name} in it is not what its manifest says`);
    }
    await sink?.finish();
  } catch (error) {
    await sink?.discard();
    throw error;
  }
}
