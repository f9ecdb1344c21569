import { UnlockError } from "../errors.ts";
import { readKeyFile } from "../key-file.ts";
import { keyOpener } from "./key-bytes.ts";
import type { Opener, Timed } from "./opener.ts";

/** A key file of our own, readable for this user only. */
export interface FileUnlocker extends Timed {
  readonly kind: "file";
  readonly path: string;
}

/** @throws UnlockError missing, permissions or malformed */
export async function openFile({ path }: FileUnlocker): Promise<Opener> {
  const text = `${path} is the key of another vault, or the vault's file wrapper was changed; put the right key file back`;
  return keyOpener(readKeyFile(path), new UnlockError("wrong_key", text));
}
