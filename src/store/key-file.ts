import { closeSync, constants, existsSync, fstatSync, fsyncSync, openSync, readSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { Secret, secretBuffer } from "../secret.ts";
import { base64Decode, base64Encode, KEY_BYTES, randomBytes } from "./crypto.ts";
import { assertPrivate, DatabaseError, fileError, moveIntoPlace, syncDirectory } from "./database.ts";
import { UnlockError } from "./errors.ts";
import { discard, removeKeyLeftovers } from "./leftovers.ts";

/*
 * The root key file: this line, then 32 bytes as base64, then a newline. It wraps the vault's root key,
 * so it can be replaced without touching a stored credential.
 */
const HEADER = Buffer.from("sidekey root key v1\n", "ascii");
const KEY_TEXT_BYTES = 44;
const FILE_BYTES = HEADER.length + KEY_TEXT_BYTES + 1;

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
  const content = Buffer.concat([HEADER, text, Buffer.from("\n")]);
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
 * owner and mode are those of the opened file.
 * @throws UnlockError missing, permissions or malformed, with the command that repairs it
 */
export function readKeyFile(path: string): Secret {
  const fd = openExisting(path);
  const content = secretBuffer(FILE_BYTES + 1);
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
    return openSync(path, constants.O_RDONLY);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT") {
      throw new UnlockError("missing", `${path} does not exist; put the root key file back or unlock another way`);
    }
    throw new UnlockError("permissions", `${path} cannot be read (${code}); make it readable for this user only`);
  }
}

function parse(content: Buffer, path: string): Secret {
  const [head, text] = [content.subarray(0, HEADER.length), content.subarray(HEADER.length, FILE_BYTES - 1)];
  const tail = content.subarray(FILE_BYTES - 1);
  const key = head.equals(HEADER) && (tail.length === 0 || tail.equals(Buffer.from("\n"))) ? base64Decode(text) : null;
  if (key === null || key.length !== KEY_BYTES) {
    key?.fill(0);
    throw new UnlockError("malformed", `${path} is not a sidekey root key file; restore it from your copy`);
  }
  return Secret.adopt(key);
}
