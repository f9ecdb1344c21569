import { inspect } from "node:util";

const REDACTED = "[secret]";

/**
 * A zeroed Buffer for secret bytes that never moves. Other small Buffers (up to 64 bytes) lie inside V8's heap, where
 * the garbage collector copies them and leaves the old copy behind, out of reach of any wiping.
 */
export function secretBuffer(bytes: number): Buffer {
  return Buffer.from(new ArrayBuffer(bytes));
}

/**
 * An opened plaintext. The bytes live in one Buffer of their own (never in Node's shared pool) and
 * are only lent inside `use`; every way of printing the object says "[secret]". A secret is never
 * turned into a JavaScript string, because strings cannot be wiped (guarantee G2).
 */
export class Secret {
  readonly #bytes: Buffer;
  #wiped = false;

  private constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Copies `bytes` into a Buffer that this object owns. The caller still owns, and wipes, the original. */
  static copyOf(bytes: Uint8Array): Secret {
    const own = secretBuffer(bytes.length);
    own.set(bytes);
    return new Secret(own);
  }

  /** Another secret with the same bytes, to be wiped on its own. */
  copy(): Secret {
    return this.use((bytes) => Secret.copyOf(bytes));
  }

  /** Takes ownership of `buffer` without copying; the caller must not keep a reference. */
  static adopt(buffer: Buffer): Secret {
    return new Secret(buffer);
  }

  /** Length in bytes; 0 once wiped. */
  get length(): number {
    return this.#wiped ? 0 : this.#bytes.length;
  }

  get wiped(): boolean {
    return this.#wiped;
  }

  /**
   * Lends the bytes to `fn` for the duration of the call.
   * @throws Error when the secret has been wiped: reading zeros as if they were a key must be impossible.
   */
  use<T>(fn: (bytes: Buffer) => T): T {
    if (this.#wiped) throw new Error("internal: a wiped secret was used");
    return fn(this.#bytes);
  }

  /** Overwrites the bytes with zeros. Safe to call again. */
  wipe(): void {
    this.#bytes.fill(0);
    this.#wiped = true;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}
