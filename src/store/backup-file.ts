import { constants, createReadStream, existsSync, lstatSync } from "node:fs";
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { BackupError } from "./backup-error.ts";
import { fileError, moveIntoPlace, syncDirectory } from "./database.ts";
import { halfMadeName, removeHalfMade, sweepHalfMade } from "./half-made.ts";

/** Where the bytes of a backup go. `finish` or `discard` is called once, at the end. */
export interface ByteSink {
  write(bytes: Uint8Array): Promise<void>;
  /** Resolves when everything is where it should be, for good. */
  finish(): Promise<void>;
  discard(): Promise<void>;
}

const READ_BYTES = 256 * 1024;

/**
 * A new file, mode 0600, that has its name only once it is complete and on disk. Never overwrites.
 * @throws BackupError exists; DatabaseError full, read_only, missing or io
 */
export async function fileSink(path: string): Promise<ByteSink> {
  assertFree(path);
  sweepHalfMade(dirname(path));
  const building = halfMadeName(path);
  const file = await openNew(building, path);
  return {
    write: (bytes) => writeAll(file, bytes, path),
    finish: async () => {
      try {
        await file.sync();
        await file.close();
        moveIntoPlace(building, path);
        removeHalfMade(building);
        syncDirectory(dirname(path));
      } catch (error) {
        removeHalfMade(building);
        throw (error as NodeJS.ErrnoException).code === "EEXIST" ? alreadyThere(path) : fileError(error, path);
      }
    },
    discard: async () => {
      await file.close().catch(() => undefined);
      removeHalfMade(building);
    },
  };
}

/**
 * A new file, mode 0600, in a directory that is itself not in place yet; missing directories are made.
 * @throws DatabaseError full, read_only or io
 */
export async function directSink(path: string): Promise<ByteSink> {
  let file: FileHandle;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    file = await open(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600);
  } catch (error) {
    throw fileError(error, path);
  }
  return {
    write: (bytes) => writeAll(file, bytes, path),
    finish: async () => {
      try {
        await file.sync();
        await file.close();
      } catch (error) {
        throw fileError(error, path);
      }
    },
    discard: () => file.close().catch(() => undefined),
  };
}

async function openNew(building: string, path: string): Promise<FileHandle> {
  try {
    return await open(building, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600);
  } catch (error) {
    removeHalfMade(building);
    throw fileError(error, path);
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, path: string): Promise<void> {
  let written = 0;
  try {
    // A nearly full disk takes a part first.
    while (written < bytes.length) written += (await file.write(bytes, written)).bytesWritten;
  } catch (error) {
    throw fileError(error, path);
  }
}

function assertFree(path: string): void {
  if (existsSync(path) || lstatSync(path, { throwIfNoEntry: false }) !== undefined) throw alreadyThere(path);
}

function alreadyThere(path: string): BackupError {
  return new BackupError("exists", `${path} exists; a backup never overwrites a file`, "choose another name");
}

/** The bytes of a file, as they are read. @throws DatabaseError missing, read_only or io, at the first read */
export async function* fileBytes(path: string): AsyncGenerator<Buffer> {
  const stream = createReadStream(path, { highWaterMark: READ_BYTES });
  try {
    for await (const chunk of stream) yield chunk as Buffer;
  } catch (error) {
    throw readError(error, path);
  } finally {
    stream.destroy();
  }
}

function readError(error: unknown, path: string): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === undefined) return error;
  const text = code === "ENOENT" ? "does not exist" : code === "EISDIR" ? "is a directory" : `cannot be read (${code})`;
  return new BackupError("unreadable", `${path} ${text}`, "name the backup file");
}
