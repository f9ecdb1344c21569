import { Secret, secretBuffer } from "../secret.ts";

/** Deepest nesting and most values of an answer that is read. */
const MAX_DEPTH = 32;
const MAX_VALUES = 50_000;
/** Longest member name or text that may become a string, in bytes. */
const MAX_TEXT_BYTES = 1_024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const SHORT_ESCAPES = new Map([
  [QUOTE, QUOTE],
  [BACKSLASH, BACKSLASH],
  [0x2f, 0x2f],
  [0x62, 0x08],
  [0x66, 0x0c],
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
]);
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** The bytes are not one unambiguous JSON value. The message never quotes them. */
export class JsonBytesError extends Error {
  override readonly name = "JsonBytesError";
}

type Value =
  | { readonly kind: "object"; readonly members: ReadonlyMap<string, Value> }
  | { readonly kind: "array"; readonly items: readonly Value[] }
  /** `from` and `to` enclose the text between the quotes, or the literal. */
  | { readonly kind: "string" | "literal"; readonly from: number; readonly to: number };

/**
 * A provider's JSON answer that may hold a secret anywhere, read on bytes: only a value that is asked for by its path
 * is looked at, and only `text` makes a string of it. Wiping the Buffer wipes everything that was not copied out.
 */
export class JsonBytes {
  readonly #bytes: Buffer;
  readonly #value: Value;

  private constructor(bytes: Buffer, value: Value) {
    this.#bytes = bytes;
    this.#value = value;
  }

  /**
   * Keeps a reference to `bytes`.
   * @throws JsonBytesError when it is not JSON (RFC 8259), has a name twice in one object, or is too deep or too large
   */
  static parse(bytes: Buffer): JsonBytes {
    return new JsonBytes(bytes, new Parser(bytes).document());
  }

  /** The value at a path of member names; null when there is none. */
  at(...path: readonly string[]): JsonBytes | null {
    const value = this.#find(path);
    return value === undefined ? null : new JsonBytes(this.#bytes, value);
  }

  /** The elements of the array at `path`; empty when there is none. */
  items(...path: readonly string[]): JsonBytes[] {
    const value = this.#find(path);
    return value?.kind === "array" ? value.items.map((item) => new JsonBytes(this.#bytes, item)) : [];
  }

  /** The string at `path` as a Secret that the caller wipes; null when there is none or it is empty. */
  secret(...path: readonly string[]): Secret | null {
    const text = this.#stringAt(path);
    return text === null || text.length === 0 ? null : Secret.adopt(text);
  }

  /** The string at `path`, for what is no secret: a name or an id. Null when there is none or it is longer than 1 KiB. */
  text(...path: readonly string[]): string | null {
    const value = this.#find(path);
    if (value?.kind !== "string" || value.to - value.from > MAX_TEXT_BYTES) return null;
    const text = unescaped(this.#bytes, value.from, value.to);
    try {
      return text.toString("utf8");
    } finally {
      text.fill(0);
    }
  }

  /** The number at `path`, also when it stands in quotes as some token endpoints write it; null when there is none. */
  number(...path: readonly string[]): number | null {
    const value = this.#find(path);
    if (value === undefined || value.kind === "object" || value.kind === "array" || value.to - value.from > 32) {
      return null;
    }
    const text = this.#bytes.toString("latin1", value.from, value.to);
    return NUMBER.test(text) ? Number(text) : null;
  }

  /** True only for the literal `true`. */
  isTrue(...path: readonly string[]): boolean {
    const value = this.#find(path);
    return value?.kind === "literal" && this.#bytes.toString("latin1", value.from, value.to) === "true";
  }

  #find(path: readonly string[]): Value | undefined {
    let value: Value | undefined = this.#value;
    for (const name of path) value = value?.kind === "object" ? value.members.get(name) : undefined;
    return value;
  }

  #stringAt(path: readonly string[]): Buffer | null {
    const value = this.#find(path);
    return value?.kind === "string" ? unescaped(this.#bytes, value.from, value.to) : null;
  }
}

class Parser {
  readonly #bytes: Buffer;
  #at = 0;
  #values = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  document(): Value {
    const value = this.#value(0);
    this.#blanks();
    if (this.#at !== this.#bytes.length) fail("has something behind its value");
    return value;
  }

  #value(depth: number): Value {
    if (depth > MAX_DEPTH) fail(`nests deeper than ${MAX_DEPTH} levels`);
    this.#values += 1;
    if (this.#values > MAX_VALUES) fail(`has more than ${MAX_VALUES} values`);
    this.#blanks();
    const first = this.#bytes[this.#at];
    if (first === OPEN_OBJECT) return this.#object(depth);
    if (first === OPEN_ARRAY) return this.#array(depth);
    if (first === QUOTE) return { kind: "string", ...this.#string() };
    return { kind: "literal", ...this.#literal() };
  }

  #object(depth: number): Value {
    const members = new Map<string, Value>();
    this.#at += 1;
    if (this.#took(CLOSE_OBJECT)) return { kind: "object", members };
    do {
      this.#blanks();
      if (this.#bytes[this.#at] !== QUOTE) fail("has a member without a name");
      const name = this.#name();
      if (!this.#took(COLON)) fail("has a name without a value");
      if (members.has(name)) fail("has the same name twice in one object");
      members.set(name, this.#value(depth + 1));
    } while (this.#took(COMMA));
    if (!this.#took(CLOSE_OBJECT)) fail("has an object that does not end");
    return { kind: "object", members };
  }

  #name(): string {
    const { from, to } = this.#string();
    if (to - from > MAX_TEXT_BYTES) fail("has a name longer than 1 KiB");
    return unescaped(this.#bytes, from, to).toString("utf8");
  }

  #array(depth: number): Value {
    const items: Value[] = [];
    this.#at += 1;
    if (this.#took(CLOSE_ARRAY)) return { kind: "array", items };
    do items.push(this.#value(depth + 1));
    while (this.#took(COMMA));
    if (!this.#took(CLOSE_ARRAY)) fail("has an array that does not end");
    return { kind: "array", items };
  }

  #string(): { from: number; to: number } {
    const from = this.#at + 1;
    let at = from;
    for (let byte = this.#bytes[at]; byte !== QUOTE; byte = this.#bytes[at]) {
      if (byte === undefined || byte < 0x20) fail("has a string that does not end");
      at += byte === BACKSLASH ? 2 : 1;
    }
    this.#at = at + 1;
    return { from, to: at };
  }

  #literal(): { from: number; to: number } {
    const from = this.#at;
    while (isLiteralByte(this.#bytes[this.#at])) this.#at += 1;
    const text = this.#at - from > 64 ? "" : this.#bytes.toString("latin1", from, this.#at);
    if (text !== "true" && text !== "false" && text !== "null" && !NUMBER.test(text)) fail("is not JSON");
    return { from, to: this.#at };
  }

  #took(byte: number): boolean {
    this.#blanks();
    if (this.#bytes[this.#at] !== byte) return false;
    this.#at += 1;
    return true;
  }

  #blanks(): void {
    for (let byte = this.#bytes[this.#at]; byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09; ) {
      byte = this.#bytes[++this.#at];
    }
  }
}

function isLiteralByte(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  const letter = byte | 0x20;
  return (letter >= 0x61 && letter <= 0x7a) || (byte >= 0x30 && byte <= 0x39) || [0x2b, 0x2d, 0x2e].includes(byte);
}

/** The text of a JSON string as UTF-8 bytes in a Buffer of its own. */
function unescaped(bytes: Buffer, from: number, to: number): Buffer {
  // An escape is never shorter than what it stands for.
  const text = secretBuffer(to - from);
  let length = 0;
  for (let at = from; at < to; ) {
    const byte = bytes[at] ?? 0;
    if (byte !== BACKSLASH) {
      text[length++] = byte;
      at += 1;
      continue;
    }
    const short = SHORT_ESCAPES.get(bytes[at + 1] ?? 0);
    if (short !== undefined) {
      text[length++] = short;
      at += 2;
      continue;
    }
    const point = codePoint(bytes, at);
    length += text.write(String.fromCodePoint(point.value), length, "utf8");
    at += point.bytes;
  }
  const exact = secretBuffer(length);
  text.copy(exact);
  text.fill(0);
  return exact;
}

/** `\uXXXX`, or two of them that are one character. */
function codePoint(bytes: Buffer, at: number): { value: number; bytes: number } {
  const first = unit(bytes, at);
  if (first >= 0xd800 && first < 0xdc00 && bytes[at + 6] === BACKSLASH) {
    const second = unit(bytes, at + 6);
    if (second >= 0xdc00 && second < 0xe000) {
      return { value: 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), bytes: 12 };
    }
  }
  if (first >= 0xd800 && first < 0xe000) fail("has half a character");
  return { value: first, bytes: 6 };
}

function unit(bytes: Buffer, at: number): number {
  const digits = bytes.toString("latin1", at + 2, at + 6);
  if (bytes[at + 1] !== 0x75 || !/^[0-9a-fA-F]{4}$/.test(digits)) fail("has an escape that JSON does not know");
  return Number.parseInt(digits, 16);
}

function fail(what: string): never {
  throw new JsonBytesError(`the answer ${what}`);
}
