import type { Stats } from "node:fs";
import { join } from "node:path";
import { UnlockError } from "../errors.ts";
import { keyOpener, MAX_KEY_TEXT_BYTES, parseKeyBytes } from "./key-bytes.ts";
import type { Opener, Timed } from "./opener.ts";
import { readSideFile } from "./side-file.ts";

/** A credential that systemd gives to the service (systemd.exec(5), LoadCredentialEncrypted=). */
export interface SystemdUnlocker extends Timed {
  readonly kind: "systemd";
  readonly name: string;
  /** $CREDENTIALS_DIRECTORY; null when this process was not started by such a unit */
  readonly directory: string | null;
}

/** @throws UnlockError missing, permissions or malformed */
export async function openSystemd({ name, directory }: SystemdUnlocker): Promise<Opener> {
  const nextStep = `put LoadCredentialEncrypted=${name}:<file> into the unit (systemd-creds(1) makes the file)`;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/.test(name)) {
    throw new UnlockError(
      "malformed",
      "the credential's name is not a plain file name; use letters, digits, . _ and -",
    );
  }
  if (directory === null) {
    throw new UnlockError("missing", `CREDENTIALS_DIRECTORY is not set: systemd gave no credentials; ${nextStep}`);
  }
  const path = join(directory, name);
  const content = readSideFile(path, { maxBytes: MAX_KEY_TEXT_BYTES, nextStep, checkMode });
  const key = content.use(parseKeyBytes);
  content.wipe();
  if (key === null) {
    throw new UnlockError("malformed", `${path} is not a key: it has to hold 32 bytes, as they are or as base64`);
  }
  const text = `${path} is the key of another vault, or the vault's systemd wrapper was changed`;
  return keyOpener(key, new UnlockError("wrong_key", text));
}

/**
 * For this user alone; or root's with an entry for this user in its access list, which systemd makes where it cannot
 * give the file away and which stat(2) shows as a right of the group (acl(5)).
 */
function checkMode({ uid, mode }: Stats): string | null {
  const us = process.geteuid?.() ?? uid;
  if (uid === us && (mode & 0o077) === 0) return null;
  if (uid === 0 && (mode & 0o037) === 0) return null;
  const found = (mode & 0o777).toString(8);
  return `has mode ${found} and belongs to user ${uid}; a credential is readable for the service's user only (0400)`;
}
