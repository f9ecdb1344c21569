import { Secret } from "../../secret.ts";
import { canonicalJson } from "../canonical.ts";
import { base64Decode, constantTimeEqual, KEY_BYTES, randomBytes } from "../crypto.ts";
import { UnlockError } from "../errors.ts";
import { keyName, wrappingKey } from "./key-bytes.ts";
import { type Opener, type Place, parseParams } from "./opener.ts";

/**
 * A service that encrypts 32 bytes and decrypts them again, both bound to `place`. What it sees is a random key
 * of the stanza, never the root key.
 */
export interface RemoteCipher {
  /** "vault.example:8200", for messages */
  readonly name: string;
  /** @returns printable text @throws UnlockError */
  encrypt(key: Secret, place: Place): Promise<string>;
  /** The caller wipes it. @throws UnlockError */
  decrypt(ciphertext: string, place: Place): Promise<Secret>;
}

const MAX_CIPHERTEXT_CHARACTERS = 16 * 1024;

/** @param owned wiped together with the opener: tokens and credentials */
export function remoteOpener(cipher: RemoteCipher, kind: string, owned: readonly (Secret | null)[]): Opener {
  const open = async (ciphertext: string, place: Place, name: string): Promise<Secret> => {
    const key = await cipher.decrypt(ciphertext, place);
    if (key.length === KEY_BYTES && keyName(key) === name) return key;
    key.wipe();
    throw new UnlockError(
      "lying",
      `${cipher.name} answered with another key than the one it was given; do not trust it`,
    );
  };
  return {
    keyOf: async ({ params }, place) => {
      const { ciphertext, key: name } = parseParams(params);
      if (typeof ciphertext !== "string" || typeof name !== "string" || ciphertext.length > MAX_CIPHERTEXT_CHARACTERS) {
        throw new UnlockError("malformed", `the vault's ${kind} wrapper was changed; restore a backup`);
      }
      return derived(await open(ciphertext, place, name));
    },
    newKey: async (place) => {
      const key = Secret.adopt(randomBytes(KEY_BYTES));
      try {
        const name = keyName(key);
        const ciphertext = await cipher.encrypt(key, place);
        // Someone who may only encrypt would otherwise make a wrapper that never opens.
        const again = await open(ciphertext, place, name);
        const same = key.use((a) => again.use((b) => constantTimeEqual(a, b)));
        again.wipe();
        if (!same) throw new UnlockError("lying", `${cipher.name} does not give back what it was given`);
        return { params: canonicalJson({ ciphertext, key: name }), key: wrappingKey(key) };
      } finally {
        key.wipe();
      }
    },
    mismatch: new UnlockError("wrong_key", `the vault's ${kind} wrapper was changed; restore a backup`),
    wipe: () => {
      for (const secret of owned) secret?.wipe();
    },
  };
}

/** The key inside an answer. Wipes `text`. @throws UnlockError lying when it is not base64 */
export function decodedKey(text: Secret | null, name: string): Secret {
  const bytes = text?.use(base64Decode) ?? null;
  text?.wipe();
  if (bytes !== null) return Secret.adopt(bytes);
  throw new UnlockError(
    "lying",
    `${name} answered something that is not its documented format; is it the right address?`,
  );
}

function derived(key: Secret): Secret {
  const wrapping = wrappingKey(key);
  key.wipe();
  return wrapping;
}
