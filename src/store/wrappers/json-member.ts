import { Secret, secretBuffer } from "../../secret.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const MAX_DEPTH = 32;
const ESCAPES: ReadonlyMap<number, number> = new Map(
  [...'"\\/bfnrt'].map((letter, index) => [letter.charCodeAt(0), '"\\/\b\f\n\r\t'.charCodeAt(index)]),
);

class Malformed extends Error {}

/**
 * The text of one string member of a JSON document, without the document ever becoming a string: answers of key
 * services hold keys. The caller wipes it.
 * @param path names of nested objects, the member last
 * @returns null when the document is not JSON as far as it was read, or has no such string (RFC 8259); also for a
 *   string with characters beyond ASCII, which no key or token has
 */
export function jsonMember(document: Uint8Array, path: readonly string[]): Secret | null {
  const reader = new Reader(document);
  try {
    for (const name of path) if (!reader.enter(Buffer.from(name))) return null;
    return reader.peek() === QUOTE ? reader.text() : null;
  } catch (error) {
    if (error instanceof Malformed) return null;
    throw error;
  }
}

/** As `jsonMember`, for a member that is no secret. */
export function jsonText(document: Uint8Array, path: readonly string[]): string | null {
  const found = jsonMember(document, path);
  const text = found?.use((bytes) => bytes.toString("latin1")) ?? null;
  found?.wipe();
  return text;
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** The next byte that is no white space. */
  peek(): number {
    for (; ; this.#at++) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) throw new Malformed();
      if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d) return byte;
    }
  }

  /** Goes to the value of the member `name` of the object that begins here; false when there is none. */
  enter(name: Buffer): boolean {
    if (this.peek() !== OPEN_OBJECT) return false;
    this.#at++;
    if (this.peek() === CLOSE_OBJECT) return false;
    for (;;) {
      const key = this.text();
      const found = key.use((bytes) => bytes.equals(name));
      key.wipe();
      this.#expect(COLON);
      if (found) return true;
      this.#skipValue(0);
      if (this.peek() === CLOSE_OBJECT) return false;
      this.#expect(COMMA);
    }
  }

  /** The string that begins here, unescaped. */
  text(): Secret {
    this.#expect(QUOTE);
    const start = this.#at;
    this.#skipString();
    const out = secretBuffer(this.#at - start);
    let length = 0;
    for (let at = start; at < this.#at - 1; ) {
      const { byte, next } = this.#unescape(at);
      out[length++] = byte;
      at = next;
    }
    const text = Secret.copyOf(out.subarray(0, length));
    out.fill(0);
    return text;
  }

  #unescape(at: number): { byte: number; next: number } {
    const byte = this.#bytes[at] ?? 0;
    if (byte !== BACKSLASH) return { byte: ascii(byte), next: at + 1 };
    const letter = this.#bytes[at + 1] ?? 0;
    const simple = ESCAPES.get(letter);
    if (simple !== undefined) return { byte: simple, next: at + 2 };
    const digits = String.fromCharCode(...this.#bytes.subarray(at + 2, at + 6));
    if (letter !== 0x75 || !/^[0-9a-fA-F]{4}$/.test(digits)) throw new Malformed();
    return { byte: ascii(Number.parseInt(digits, 16)), next: at + 6 };
  }

  #expect(byte: number): void {
    if (this.peek() !== byte) throw new Malformed();
    this.#at++;
  }

  /** From behind the opening quote to behind the closing one. */
  #skipString(): void {
    for (; ; this.#at++) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined || byte < 0x20) throw new Malformed();
      if (byte === BACKSLASH) this.#at++;
      if (byte !== QUOTE) continue;
      this.#at++;
      return;
    }
  }

  #skipValue(depth: number): void {
    if (depth > MAX_DEPTH) throw new Malformed();
    const byte = this.peek();
    if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      this.#skipMembers(byte === OPEN_OBJECT ? CLOSE_OBJECT : CLOSE_ARRAY, depth);
    } else if (byte === QUOTE) {
      this.#at++;
      this.#skipString();
    } else {
      this.#skipPlain();
    }
  }

  /** A number, true, false or null; what it is does not matter. */
  #skipPlain(): void {
    const start = this.#at;
    while (isPlain(this.#bytes[this.#at] ?? 0)) this.#at++;
    if (this.#at === start) throw new Malformed();
  }

  #skipMembers(close: number, depth: number): void {
    this.#at++;
    if (this.peek() === close) {
      this.#at++;
      return;
    }
    for (;;) {
      if (close === CLOSE_OBJECT) {
        this.#expect(QUOTE);
        this.#skipString();
        this.#expect(COLON);
      }
      this.#skipValue(depth + 1);
      if (this.peek() === close) break;
      this.#expect(COMMA);
    }
    this.#at++;
  }
}

function ascii(byte: number): number {
  if (byte > 0x7f) throw new Malformed();
  return byte;
}

function isPlain(byte: number): boolean {
  const isLetter = (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a;
  return isLetter || (byte >= 0x30 && byte <= 0x39) || byte === 0x2b || byte === 0x2d || byte === 0x2e;
}
