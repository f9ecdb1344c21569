import { Secret } from "../../secret.ts";
import { canonicalJson } from "../canonical.ts";
import { base64Decode, KEY_BYTES, kdf } from "../crypto.ts";
import type { UnlockError } from "../errors.ts";
import type { Opener } from "./opener.ts";

/*
 * Every kind but the passphrase ends in 32 random bytes K: from a file, a program, a remote system or shares. The
 * stanza's params name K without giving it away, so that a wrong key is told from a damaged stanza.
 */

const BASE64_BYTES = 44;
const NEWLINE = 0x0a;
/** First line of a key file. */
export const KEY_FILE_HEADER = Buffer.from("sidekey root key v1\n", "ascii");
/** Longest form that a key is accepted in. */
export const MAX_KEY_TEXT_BYTES = KEY_FILE_HEADER.length + BASE64_BYTES + 1;

/** The public name of K. */
export function keyName(key: Secret): string {
  const name = kdf(key, 1, "skfileid");
  const text = name.use((bytes) => bytes.toString("hex", 0, 8));
  name.wipe();
  return text;
}

/** The key that encrypts the root key. */
export function wrappingKey(key: Secret): Secret {
  return kdf(key, 2, "skfilewr");
}

/** K as a key file, as base64 with or without a newline, or as 32 raw bytes; null when it is none of these. */
export function parseKeyBytes(content: Buffer): Secret | null {
  if (content.length === KEY_BYTES) return Secret.copyOf(content);
  const { length } = KEY_FILE_HEADER;
  return parseBase64Key(content.subarray(0, length).equals(KEY_FILE_HEADER) ? content.subarray(length) : content);
}

/** K as base64, with or without a newline at the end; null when it is not. */
export function parseBase64Key(text: Buffer): Secret | null {
  const newline = text.length === BASE64_BYTES + 1 && text[BASE64_BYTES] === NEWLINE;
  if (!newline && text.length !== BASE64_BYTES) return null;
  const key = base64Decode(text.subarray(0, BASE64_BYTES));
  if (key?.length === KEY_BYTES) return Secret.adopt(key);
  key?.fill(0);
  return null;
}

/** For the kinds that have K in hand before any stanza is looked at. Takes `key` over. */
export function keyOpener(key: Secret, mismatch: UnlockError): Opener {
  const params = canonicalJson({ key: keyName(key) });
  return {
    keyOf: async (stanza) => (stanza.params === params ? wrappingKey(key) : null),
    newKey: async () => ({ params, key: wrappingKey(key) }),
    mismatch,
    wipe: () => key.wipe(),
  };
}
