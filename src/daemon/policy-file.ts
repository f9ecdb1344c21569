import { closeSync, constants, fstatSync, openSync, readSync, realpathSync } from "node:fs";
import { MAX_YAML_BYTES } from "../providers/yaml-document.ts";

/** A policy file that cannot be read safely. `message` names the file and the next step. */
export class PolicyFileError extends Error {
  override readonly name = "PolicyFileError";
}

/**
 * Reads the policy through one descriptor, so that what is checked is what is read. A symbolic link is
 * followed once (Kubernetes mounts config maps as links), never a second time behind the check.
 * @throws PolicyFileError when it is missing, no regular file, larger than 1 MiB or writable by everybody
 */
export function readPolicyFile(file: string): string {
  return readConfigFile(file, "`policy` in daemon.yaml");
}

/**
 * As `readPolicyFile`, for any file that decides what sidekey does.
 * @param namedBy where its path is written, for messages
 */
export function readConfigFile(file: string, namedBy: string): string {
  let fd: number;
  try {
    // O_NONBLOCK: opening a FIFO must not hang the daemon before fstat can refuse it.
    fd = openSync(realpathSync(file), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unreadable";
    throw new PolicyFileError(`${file} cannot be read (${code}); check ${namedBy} and its permissions`);
  }
  try {
    assertSafe(file, fd, namedBy);
    return readBounded(file, fd);
  } finally {
    closeSync(fd);
  }
}

function assertSafe(file: string, fd: number, namedBy: string): void {
  const stat = fstatSync(fd);
  if (!stat.isFile()) throw new PolicyFileError(`${file} is not a regular file; point ${namedBy} at the file`);
  if ((stat.mode & 0o002) !== 0) {
    throw new PolicyFileError(`${file} can be changed by every user of this machine; run: chmod o-w ${file}`);
  }
}

/** The size that fstat tells may be outdated by the time of the read, so the read itself is bounded. */
function readBounded(file: string, fd: number): string {
  const bytes = Buffer.allocUnsafe(MAX_YAML_BYTES + 1);
  let length = 0;
  for (let got = 1; got > 0 && length < bytes.length; length += got) {
    got = readSync(fd, bytes, length, bytes.length - length, null);
  }
  if (length > MAX_YAML_BYTES) throw new PolicyFileError(`${file} is larger than 1 MiB; split it or remove data`);
  return bytes.toString("utf8", 0, length);
}
