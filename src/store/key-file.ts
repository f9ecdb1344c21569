import { closeSync, constants, existsSync, fstatSync, fsyncSync, openSync, readSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { type Secret, secretBuffer } from "../secret.ts";
import { base64Encode, KEY_BYTES, randomBytes } from "./crypto.ts";
import { assertPrivate, DatabaseError, fileError, moveIntoPlace, syncDirectory } from "./database.ts";
import { UnlockError } from "./errors.ts";
import { discard, removeKeyLeftovers } from "./leftovers.ts";
import { KEY_FILE_HEADER, MAX_KEY_TEXT_BYTES, parseBase64Key } from "./wrappers/key-bytes.ts";

/*
 * The root key file: KEY_FILE_HEADER, then 32 bytes as base64, then a newline. It wraps the vault's root key,
 * so it can be replaced without touching a stored credential.
 */

/**
 * Makes a file with a new random key, mode 0600, whole or not at all. An existing file is kept as it is.
 * @throws DatabaseError read_only, full or io
 */
export function ensureKeyFile(path: string): void {
  removeKeyLeftovers(path, Date.now());
  if (existsSync(path)) return;
  const temporary = `${path}.${randomBytes(4).toString("hex")}.tmp`;
  try {
    writeKey(temporary);
    moveIntoPlace(temporary, path);
    syncDirectory(dirname(path));
  } catch (error) {
    // Another process was faster: its key is as good.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw fileError(error, path);
  } finally {
    discard(temporary);
  }
}

function writeKey(path: string): void {
  const key = randomBytes(KEY_BYTES);
  const text = base64Encode(key);
  const content = Buffer.concat([KEY_FILE_HEADER, text, Buffer.from("\n")]);
  const fd = openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600);
  try {
    // Not writeSync: on a disk that fills up it may write a part and say so only by its result.
    writeFileSync(fd, content);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
    for (const buffer of [key, text, content]) buffer.fill(0);
  }
}

/**
 * Reads a key file that only its owner can read. Links are followed (orchestrators mount secrets as links);
 * owner and mode are those of the opened file. A pipe is refused instead of waited for.
 * @throws UnlockError missing, permissions or malformed, with the command that repairs it
 */
export function readKeyFile(path: string): Secret {
  const fd = openExisting(path);
  const content = secretBuffer(MAX_KEY_TEXT_BYTES + 1);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new UnlockError("malformed", `${path} is not a regular file`);
    assertPrivate(stat, path, "600");
    return parse(content.subarray(0, readSync(fd, content, 0, content.length, 0)), path);
  } catch (error) {
    if (error instanceof DatabaseError) throw new UnlockError("permissions", error.message);
    throw error;
  } finally {
    content.fill(0);
    closeSync(fd);
  }
}

function openExisting(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT") {
      throw new UnlockError("missing", `${path} does not exist; put the root key file back or unlock another way`);
    }
    throw new UnlockError("permissions", `${path} cannot be read (${code}); make it readable for this user only`);
  }
}

function parse(content: Buffer, path: string): Secret {
  const { length } = KEY_FILE_HEADER;
  const isOurs = content.subarray(0, length).equals(KEY_FILE_HEADER);
  const key = isOurs ? parseBase64Key(content.subarray(length)) : null;
  if (key === null) {
    throw new UnlockError("malformed", `${path} is not a sidekey root key file; restore it from your copy`);
  }
  return key;
}
