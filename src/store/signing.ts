import type { Secret } from "../secret.ts";
import { KEY_BYTES, type RawSodium, type Scratch, withScratch } from "./crypto.ts";

const SIGNATURE_BYTES = 64;
/** libsodium's form of a private key: the seed, then the public key. */
const PRIVATE_KEY_BYTES = 64;

/** The Ed25519 public key (RFC 8032) of a 32 B seed. */
export function signingPublicKey(seed: Secret): Buffer {
  return withKeyPair(seed, (_lib, scratch, { publicAt }) => scratch.read(publicAt, KEY_BYTES));
}

/** Ed25519 signature (64 B) of `message` with the key pair of `seed`. */
export function sign(seed: Secret, message: Uint8Array): Buffer {
  return withKeyPair(seed, (lib, scratch, { privateAt }) => {
    const out = scratch.take(SIGNATURE_BYTES);
    lib._crypto_sign_detached(out, null, scratch.put(message), message.length, 0, privateAt);
    return scratch.read(out, SIGNATURE_BYTES);
  });
}

/** False for any signature, message or key that do not belong together, whatever their lengths. */
export function signatureFits(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  return withScratch((lib, scratch) => {
    const [at, key] = [scratch.put(signature), scratch.put(publicKey)];
    return lib._crypto_sign_verify_detached(at, scratch.put(message), message.length, 0, key) === 0;
  });
}

function withKeyPair<T>(
  seed: Secret,
  use: (lib: RawSodium, scratch: Scratch, at: { publicAt: number; privateAt: number }) => T,
): T {
  if (seed.length !== KEY_BYTES) throw new Error(`internal: the signing seed has ${seed.length} bytes`);
  return withScratch((lib, scratch) => {
    const [publicAt, privateAt] = [scratch.take(KEY_BYTES), scratch.take(PRIVATE_KEY_BYTES)];
    const seedAt = seed.use((bytes) => scratch.put(bytes));
    lib._crypto_sign_seed_keypair(publicAt, privateAt, seedAt);
    return use(lib, scratch, { publicAt, privateAt });
  });
}
