import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from "node:fs";
import { Secret, secretBuffer } from "../../secret.ts";
import { UnlockError } from "../errors.ts";

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const DOUBLE_QUOTE = 0x22;
const BACKSLASH = 0x5c;

export interface SideFileOptions {
  readonly maxBytes: number;
  /** What to do when it is not there. */
  readonly nextStep: string;
  /** Says what is wrong with its owner or mode, or nothing. */
  readonly checkMode?: (stat: Stats) => string | null;
}

/**
 * Reads a small file with a secret into bytes. Links are followed, because orchestrators mount secrets as links; a
 * pipe is refused, because reading it could wait for ever.
 * @throws UnlockError missing, permissions or malformed
 */
export function readSideFile(path: string, options: SideFileOptions): Secret {
  const content = secretBuffer(options.maxBytes + 1);
  const fd = openExisting(path, options.nextStep);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new UnlockError("malformed", `${path} is not a regular file`);
    const problem = options.checkMode?.(stat) ?? null;
    if (problem !== null) throw new UnlockError("permissions", `${path} ${problem}`);
    const length = readSync(fd, content, 0, content.length, 0);
    if (length > options.maxBytes) {
      throw new UnlockError("malformed", `${path} is longer than ${options.maxBytes} bytes; is it the right file?`);
    }
    return Secret.copyOf(content.subarray(0, length));
  } finally {
    content.fill(0);
    closeSync(fd);
  }
}

function openExisting(path: string, nextStep: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") {
      throw new UnlockError("missing", `${path} does not exist; ${nextStep}`);
    }
    throw new UnlockError("permissions", `${path} cannot be read (${code}); make it readable for this user`);
  }
}

/**
 * A token from a file: one line of printable ASCII without spaces, quotes and backslashes, so that it fits into a
 * header field and into JSON as it is.
 * @throws UnlockError missing, permissions or malformed
 */
export function readTokenFile(path: string, what: string): Secret {
  const content = readSideFile(path, { maxBytes: 64 * 1024, nextStep: `it has to hold ${what}` });
  try {
    return content.use((bytes) => {
      let end = bytes.length;
      while (end > 0 && (bytes[end - 1] === NEWLINE || bytes[end - 1] === RETURN)) end--;
      const token = bytes.subarray(0, end);
      if (end > 0 && token.every(isTokenByte)) return Secret.copyOf(token);
      throw new UnlockError("malformed", `${path} does not hold ${what}: one line without spaces and quotes`);
    });
  } finally {
    content.wipe();
  }
}

function isTokenByte(byte: number): boolean {
  return byte > 0x20 && byte < 0x7f && byte !== DOUBLE_QUOTE && byte !== BACKSLASH;
}
