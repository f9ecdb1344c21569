import type { Secret } from "../../secret.ts";
import { canonicalJson } from "../canonical.ts";
import { argon2id, randomBytes, SALT_BYTES } from "../crypto.ts";
import { UnlockError } from "../errors.ts";
import type { PassphraseCost } from "../wrappers.ts";
import { type Opener, parseParams, type Timed } from "./opener.ts";

/** `read` asks for the passphrase; the store wipes what it returns. */
export interface PassphraseUnlocker extends Timed {
  readonly kind: "passphrase";
  readonly read: () => Promise<Secret>;
}

// Bounds on what a stanza may ask of us: params are read before anything can be authenticated.
const MAX_PASSES = 64;
const MAX_MEMORY_BYTES = 2 * 1024 ** 3;
const MIN_PASSPHRASE_BYTES = 8;

/** @param cost of a new stanza; asked for only when one is made */
export async function openPassphrase(
  { read }: PassphraseUnlocker,
  cost: () => Promise<PassphraseCost>,
): Promise<Opener> {
  const passphrase = await read();
  const text = "the passphrase is wrong, or the vault's passphrase wrapper was changed";
  return {
    keyOf: async ({ params }) => {
      const { salt, passes, memory } = parseCost(params);
      return await argon2id(passphrase, salt, passes, memory);
    },
    newKey: async () => {
      assertLong(passphrase);
      const { passes, memoryBytes } = await cost();
      const salt = randomBytes(SALT_BYTES);
      const params = canonicalJson({ memory: memoryBytes, passes, salt: salt.toString("hex") });
      return { params, key: await argon2id(passphrase, salt, passes, memoryBytes) };
    },
    mismatch: new UnlockError("wrong_passphrase", text),
    wipe: () => passphrase.wipe(),
  };
}

function assertLong(passphrase: Secret): void {
  if (passphrase.length >= MIN_PASSPHRASE_BYTES) return;
  throw new UnlockError("malformed", `the passphrase has less than ${MIN_PASSPHRASE_BYTES} bytes; use a longer one`);
}

function parseCost(params: string): { salt: Buffer; passes: number; memory: number } {
  const { memory, passes, salt } = parseParams(params);
  const bytes = Buffer.from(typeof salt === "string" ? salt : "", "hex");
  const sane =
    typeof memory === "number" &&
    typeof passes === "number" &&
    Number.isSafeInteger(memory * passes) &&
    memory >= 8192 &&
    memory <= MAX_MEMORY_BYTES &&
    passes >= 1 &&
    passes <= MAX_PASSES &&
    bytes.length === SALT_BYTES;
  if (!sane) throw new UnlockError("malformed", "the vault's passphrase wrapper was changed; restore a backup");
  return { salt: bytes, passes, memory };
}
