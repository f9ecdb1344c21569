import nodeCrypto from "node:crypto";
import * as sodium from "libsodium-wrappers";
import { Secret, secretBuffer } from "../secret.ts";

/*
 * Every call of libsodium and node:crypto that the store makes. Secrets go through libsodium's raw
 * functions on WASM memory that this file allocates, zeroes and frees: the convenience wrappers copy
 * inputs and outputs into the WASM heap and free them without zeroing, so keys would stay readable there.
 */

export const KEY_BYTES = 32;
export const NONCE_BYTES = 24;
export const TAG_BYTES = 16;
export const BOX_SEAL_BYTES = 48;
export const MAC_BYTES = 32;
export const SALT_BYTES = 16;

/** What the raw WASM module offers; the published types leave it out. 64-bit lengths are (low, high) pairs. */
interface RawSodium {
  readonly HEAPU8: Uint8Array;
  _malloc(bytes: number): number;
  _free(at: number): void;
  _crypto_aead_xchacha20poly1305_ietf_encrypt(...args: (number | null)[]): number;
  _crypto_aead_xchacha20poly1305_ietf_decrypt(...args: (number | null)[]): number;
  _crypto_box_keypair(publicKey: number, privateKey: number): number;
  _crypto_box_seal(out: number, message: number, low: number, high: number, publicKey: number): number;
  _crypto_box_seal_open(...args: number[]): number;
  _crypto_kdf_derive_from_key(...args: number[]): number;
  _crypto_generichash(...args: number[]): number;
  _sodium_bin2base64(...args: number[]): number;
  _sodium_base642bin(...args: number[]): number;
}

/** Thrown when a ciphertext, its key or what it is bound to is not what was sealed. Never says which: the caller knows the object. */
export class DecryptError extends Error {
  override readonly name = "DecryptError";
}

let loaded: RawSodium | null = null;

/** Loads libsodium. Await once before any other function of this file; later calls return at once. */
export async function ready(): Promise<void> {
  await sodium.ready;
  loaded = (sodium as unknown as { libsodium: RawSodium }).libsodium;
}

function raw(): RawSodium {
  if (loaded === null)
    throw new Error("internal: crypto.ready() was not awaited before using the vault's cryptography");
  return loaded;
}

/** WASM memory of one call. Everything taken is zeroed before it is freed, on success and on failure. */
class Scratch {
  readonly #lib: RawSodium;
  readonly #regions: { at: number; bytes: number }[] = [];

  constructor(lib: RawSodium) {
    this.#lib = lib;
  }

  take(bytes: number): number {
    const at = this.#lib._malloc(Math.max(1, bytes));
    if (at === 0) throw new Error(`internal: libsodium could not allocate ${bytes} bytes`);
    this.#regions.push({ at, bytes });
    return at;
  }

  put(data: Uint8Array): number {
    const at = this.take(data.length);
    this.#lib.HEAPU8.set(data, at);
    return at;
  }

  read(at: number, bytes: number): Buffer {
    const out = secretBuffer(bytes);
    out.set(this.#lib.HEAPU8.subarray(at, at + bytes));
    return out;
  }

  release(): void {
    for (const { at, bytes } of this.#regions) {
      this.#lib.HEAPU8.fill(0, at, at + bytes);
      this.#lib._free(at);
    }
  }
}

function withScratch<T>(call: (lib: RawSodium, scratch: Scratch) => T): T {
  const lib = raw();
  const scratch = new Scratch(lib);
  try {
    return call(lib, scratch);
  } finally {
    scratch.release();
  }
}

/** Random bytes from the operating system, in a Buffer of their own (see `secretBuffer`). */
export function randomBytes(bytes: number): Buffer {
  return nodeCrypto.randomFillSync(secretBuffer(bytes));
}

export function sha256(data: Uint8Array | string): Buffer {
  return nodeCrypto.hash("sha256", data, "buffer");
}

/** HMAC-SHA-256 (RFC 2104), in a Buffer of its own. The caller wipes `key`, and the result when it is a key itself. */
export function hmacSha256(key: Uint8Array, data: Uint8Array | string): Buffer {
  const digest = nodeCrypto.createHmac("sha256", key).update(data).digest();
  const own = secretBuffer(digest.length);
  own.set(digest);
  digest.fill(0);
  return own;
}

/** Compares without leaking where two values differ. Unequal lengths are unequal, not an error. */
export function constantTimeEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && nodeCrypto.timingSafeEqual(a, b);
}

/** The `Sec-WebSocket-Accept` value for a `Sec-WebSocket-Key` (RFC 6455 section 4.2.2). */
export function websocketAccept(key: string): string {
  return nodeCrypto.createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}

/**
 * XChaCha20-Poly1305-IETF. Returns nonce (24 B, random unless given) ‖ ciphertext ‖ tag (16 B).
 * @param nonce only for test vectors; a repeated nonce under one key breaks the cipher
 */
export function aeadSeal(
  key: Uint8Array,
  plain: Uint8Array,
  aad: Uint8Array,
  nonce = randomBytes(NONCE_BYTES),
): Buffer {
  expectLength("key", key, KEY_BYTES);
  expectLength("nonce", nonce, NONCE_BYTES);
  return withScratch((lib, scratch) => {
    const size = plain.length + TAG_BYTES;
    const out = scratch.take(size);
    lib._crypto_aead_xchacha20poly1305_ietf_encrypt(
      ...[out, null, scratch.put(plain), plain.length, 0, scratch.put(aad), aad.length, 0, null],
      ...[scratch.put(nonce), scratch.put(key)],
    );
    return Buffer.concat([nonce, scratch.read(out, size)]);
  });
}

/**
 * Opens what `aeadSeal` made. The caller owns, and wipes, the returned plaintext.
 * @throws DecryptError when key, data or AAD differ from what was sealed
 */
export function aeadOpen(key: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Buffer {
  expectLength("key", key, KEY_BYTES);
  if (sealed.length < NONCE_BYTES + TAG_BYTES) throw new DecryptError("the sealed data is too short");
  const plain = decryptRaw(key, sealed, aad);
  zeroScratch();
  return plain;
}

function decryptRaw(key: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Buffer {
  return withScratch((lib, scratch) => {
    const body = sealed.subarray(NONCE_BYTES);
    const size = body.length - TAG_BYTES;
    const out = scratch.take(size);
    const failed = lib._crypto_aead_xchacha20poly1305_ietf_decrypt(
      ...[out, null, 0, scratch.put(body), body.length, 0, scratch.put(aad), aad.length, 0],
      ...[scratch.put(sealed.subarray(0, NONCE_BYTES)), scratch.put(key)],
    );
    if (failed !== 0) throw new DecryptError("the sealed data does not open");
    return scratch.read(out, size);
  });
}

/** A new X25519 key pair. The caller wipes the private half. */
export function boxKeypair(): { publicKey: Buffer; privateKey: Buffer } {
  return withScratch((lib, scratch) => {
    const [publicAt, privateAt] = [scratch.take(KEY_BYTES), scratch.take(KEY_BYTES)];
    lib._crypto_box_keypair(publicAt, privateAt);
    return { publicKey: scratch.read(publicAt, KEY_BYTES), privateKey: scratch.read(privateAt, KEY_BYTES) };
  });
}

/** libsodium sealed box: anonymous encryption to a public key, 48 B longer than the message. */
export function boxSeal(publicKey: Uint8Array, plain: Uint8Array): Buffer {
  expectLength("public key", publicKey, KEY_BYTES);
  return withScratch((lib, scratch) => {
    const size = plain.length + BOX_SEAL_BYTES;
    const out = scratch.take(size);
    if (lib._crypto_box_seal(out, scratch.put(plain), plain.length, 0, scratch.put(publicKey)) !== 0) {
      throw new DecryptError("the public key is not a usable X25519 key");
    }
    return scratch.read(out, size);
  });
}

/**
 * Opens a sealed box. The caller wipes the returned plaintext.
 * @throws DecryptError
 */
export function boxSealOpen(publicKey: Uint8Array, privateKey: Uint8Array, sealed: Uint8Array): Buffer {
  expectLength("public key", publicKey, KEY_BYTES);
  expectLength("private key", privateKey, KEY_BYTES);
  if (sealed.length < BOX_SEAL_BYTES) throw new DecryptError("the sealed box is too short");
  return withScratch((lib, scratch) => {
    const size = sealed.length - BOX_SEAL_BYTES;
    const out = scratch.take(size);
    const keys = [scratch.put(publicKey), scratch.put(privateKey)];
    const failed = lib._crypto_box_seal_open(out, scratch.put(sealed), sealed.length, 0, ...keys);
    if (failed !== 0) throw new DecryptError("the sealed box does not open");
    return scratch.read(out, size);
  });
}

/**
 * libsodium `crypto_kdf` (BLAKE2b): a 32 B subkey of `root`.
 * @param context exactly 8 ASCII characters that name the purpose
 */
export function kdf(root: Secret, id: number, context: string): Secret {
  const subkey = deriveRaw(root, id, context);
  zeroScratch();
  return subkey;
}

function deriveRaw(root: Secret, id: number, context: string): Secret {
  if (context.length !== 8) throw new Error(`internal: the KDF context ${JSON.stringify(context)} is not 8 characters`);
  return withScratch((lib, scratch) => {
    const out = scratch.take(KEY_BYTES);
    const contextAt = scratch.put(Buffer.from(context, "ascii"));
    const rootAt = root.use((bytes) => scratch.put(bytes));
    lib._crypto_kdf_derive_from_key(out, KEY_BYTES, id, 0, contextAt, rootAt);
    return Secret.adopt(scratch.read(out, KEY_BYTES));
  });
}

/** Keyed BLAKE2b-256 (RFC 7693). */
export function mac(key: Secret, data: Uint8Array): Buffer {
  return withScratch((lib, scratch) => {
    const out = scratch.take(MAC_BYTES);
    const keyAt = key.use((bytes) => scratch.put(bytes));
    lib._crypto_generichash(out, MAC_BYTES, scratch.put(data), data.length, 0, keyAt, key.length);
    return scratch.read(out, MAC_BYTES);
  });
}

/**
 * Argon2id (RFC 9106), one lane, 32 B: the same as libsodium's `crypto_pwhash`. Runs on the thread
 * pool, because a quarter of a second on the event loop would stall every open connection.
 * @param memoryBytes rounded down to KiB
 * @throws Error on a Node without Argon2 (before 24.7)
 */
export function argon2id(passphrase: Secret, salt: Uint8Array, passes: number, memoryBytes: number): Promise<Secret> {
  if (typeof nodeCrypto.argon2 !== "function") {
    throw new Error(
      `passphrases need Node 24.7 or newer, this is ${process.version}; run \`npm ci\` to get the pinned one`,
    );
  }
  const memory = Math.floor(memoryBytes / 1024);
  return new Promise((resolve, reject) => {
    passphrase.use((message) => {
      const parameters = { message, nonce: salt, parallelism: 1, tagLength: KEY_BYTES, memory, passes };
      nodeCrypto.argon2("argon2id", parameters, (error, key) => {
        if (error) reject(error);
        else resolve(Secret.adopt(key));
      });
    });
  });
}

const BASE64_ORIGINAL = 1;

/** Base64 (padded) of secret bytes, as bytes: the text of a secret must not become a JavaScript string. */
export function base64Encode(data: Uint8Array): Buffer {
  return withScratch((lib, scratch) => {
    const size = Math.ceil(data.length / 3) * 4;
    const out = scratch.take(size + 1);
    lib._sodium_bin2base64(out, size + 1, scratch.put(data), data.length, BASE64_ORIGINAL);
    return scratch.read(out, size);
  });
}

/** The inverse of `base64Encode`, in constant time; null when `text` is not exactly padded base64. */
export function base64Decode(text: Uint8Array): Buffer | null {
  return withScratch((lib, scratch) => {
    const out = scratch.take(text.length);
    const sizeAt = scratch.take(4);
    const failed = lib._sodium_base642bin(
      ...[out, text.length, scratch.put(text), text.length, 0, sizeAt, 0, BASE64_ORIGINAL],
    );
    if (failed !== 0) return null;
    return scratch.read(out, scratch.read(sizeAt, 4).readUInt32LE(0));
  });
}

let decoy: { key: Buffer; sealed: Buffer; aad: Buffer; root: Secret } | null = null;

/**
 * Overwrites what libsodium leaves on the WASM stack: the last partial ChaCha20 block of a decrypt and
 * the output of the KDF. The stack has no exported pointer, so the same calls run once more on
 * constants and put those into the same frames. Measured by a scan of the whole heap in the tests.
 */
export function zeroScratch(): void {
  if (decoy === null) {
    const key = Buffer.alloc(KEY_BYTES);
    const [plain, aad] = [Buffer.alloc(KEY_BYTES * 2 - 1), Buffer.alloc(0)];
    decoy = { key, aad, sealed: aeadSeal(key, plain, aad), root: Secret.copyOf(key) };
  }
  decryptRaw(decoy.key, decoy.sealed, decoy.aad).fill(0);
  deriveRaw(decoy.root, 1, "decoy___").wipe();
}

/** libsodium's whole memory, for the test that looks for secrets left in it. */
export function testOnlyHeap(): Buffer {
  const heap = raw().HEAPU8;
  return Buffer.from(heap.buffer, heap.byteOffset, heap.byteLength);
}

function expectLength(what: string, value: Uint8Array, bytes: number): void {
  if (value.length !== bytes) throw new Error(`internal: the ${what} has ${value.length} bytes, not ${bytes}`);
}
