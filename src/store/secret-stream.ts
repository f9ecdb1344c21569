import { secretBuffer } from "../secret.ts";
import { DecryptError, KEY_BYTES, withScratch, zeroScratch } from "./crypto.ts";

/*
 * libsodium's crypto_secretstream_xchacha20poly1305: a sequence of authenticated chunks that can be neither cut short,
 * reordered, repeated nor taken from another stream. The state lives in a Buffer of ours between two chunks and is
 * zeroed in the WASM memory after each.
 */

export const STREAM_HEADER_BYTES = 24;
/** How much longer a chunk is than its plaintext: one byte for the tag, 16 for the MAC. */
export const STREAM_EXTRA_BYTES = 17;
const STATE_BYTES = 52;
const TAG_MESSAGE = 0;
const TAG_FINAL = 3;

/** The raw functions that this file needs. 64-bit lengths are (low, high) pairs. */
interface StreamSodium {
  _crypto_secretstream_xchacha20poly1305_init_push(state: number, header: number, key: number): number;
  _crypto_secretstream_xchacha20poly1305_init_pull(state: number, header: number, key: number): number;
  _crypto_secretstream_xchacha20poly1305_push(...args: number[]): number;
  _crypto_secretstream_xchacha20poly1305_pull(...args: number[]): number;
}

type Lend = Parameters<typeof withScratch>[0];

function streamSodium(lib: Parameters<Lend>[0]): StreamSodium {
  return lib as unknown as StreamSodium;
}

/** Encrypts one stream. Call `wipe` when it is over. */
export class StreamSealer {
  /** Goes in front of the first chunk; no secret. */
  readonly header: Buffer;
  readonly #state = secretBuffer(STATE_BYTES);

  constructor(key: Uint8Array) {
    if (key.length !== KEY_BYTES) throw new Error(`internal: the stream key has ${key.length} bytes`);
    this.header = withScratch((lib, scratch) => {
      const [stateAt, headerAt] = [scratch.take(STATE_BYTES), scratch.take(STREAM_HEADER_BYTES)];
      streamSodium(lib)._crypto_secretstream_xchacha20poly1305_init_push(stateAt, headerAt, scratch.put(key));
      moveState(scratch, stateAt, this.#state);
      return scratch.read(headerAt, STREAM_HEADER_BYTES);
    });
  }

  /** @param last marks the end of the stream: a reader refuses one that ends without it */
  push(plain: Uint8Array, last: boolean): Buffer {
    return withScratch((lib, scratch) => {
      const stateAt = scratch.put(this.#state);
      const size = plain.length + STREAM_EXTRA_BYTES;
      const out = scratch.take(size);
      const tag = last ? TAG_FINAL : TAG_MESSAGE;
      const args = [stateAt, out, 0, scratch.put(plain), plain.length, 0, 0, 0, 0, tag];
      streamSodium(lib)._crypto_secretstream_xchacha20poly1305_push(...args);
      moveState(scratch, stateAt, this.#state);
      return scratch.read(out, size);
    });
  }

  wipe(): void {
    this.#state.fill(0);
    zeroScratch();
  }
}

/** Decrypts one stream. Call `wipe` when it is over. */
export class StreamOpener {
  readonly #state = secretBuffer(STATE_BYTES);

  constructor(key: Uint8Array, header: Uint8Array) {
    if (key.length !== KEY_BYTES || header.length !== STREAM_HEADER_BYTES) {
      throw new Error(`internal: the stream key has ${key.length} bytes, its header ${header.length}`);
    }
    withScratch((lib, scratch) => {
      const stateAt = scratch.take(STATE_BYTES);
      const args = [stateAt, scratch.put(header), scratch.put(key)] as const;
      streamSodium(lib)._crypto_secretstream_xchacha20poly1305_init_pull(...args);
      moveState(scratch, stateAt, this.#state);
    });
  }

  /** @throws DecryptError when the chunk is not the next one of this stream */
  pull(sealed: Uint8Array): { plain: Buffer; last: boolean } {
    if (sealed.length < STREAM_EXTRA_BYTES) throw new DecryptError("the chunk is too short");
    return withScratch((lib, scratch) => {
      const stateAt = scratch.put(this.#state);
      const size = sealed.length - STREAM_EXTRA_BYTES;
      const [out, tagAt] = [scratch.take(size), scratch.take(1)];
      const args = [stateAt, out, 0, tagAt, scratch.put(sealed), sealed.length, 0, 0, 0, 0];
      const failed = streamSodium(lib)._crypto_secretstream_xchacha20poly1305_pull(...args);
      if (failed !== 0) throw new DecryptError("the chunk does not open");
      moveState(scratch, stateAt, this.#state);
      return { plain: scratch.read(out, size), last: scratch.read(tagAt, 1)[0] === TAG_FINAL };
    });
  }

  wipe(): void {
    this.#state.fill(0);
    zeroScratch();
  }
}

/** By way of a Buffer that is zeroed: nothing but `state` keeps the key. */
function moveState(scratch: Parameters<Lend>[1], at: number, state: Buffer): void {
  const copy = scratch.read(at, STATE_BYTES);
  state.set(copy);
  copy.fill(0);
}
