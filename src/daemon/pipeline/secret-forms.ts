import { secretBuffer } from "../../secret.ts";

/**
 * The sequences of bytes in which a secret may come back. Escapes (percent, JSON, HTML) are not among them: the search
 * reads those while it compares, in any mixture (needles.ts).
 */

/** Shorter values would blank ordinary words, in bytes. */
export const SHORTEST_SCRUBBED = 8;

const STANDARD = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", "latin1");
const URL_SAFE = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", "latin1");
const LOWER = Buffer.from("0123456789abcdef", "latin1");
const UPPER = Buffer.from("0123456789ABCDEF", "latin1");

/** One sequence of bytes to search for. */
export interface Form {
  readonly bytes: Buffer;
  /** Its characters may be written as escapes: it is text that stands inside a URL, JSON or HTML. */
  readonly escapable: boolean;
}

/**
 * The value itself, base64 and base64url wherever it begins inside a larger text (`user:key` too, RFC 4648 sections 4
 * and 5), hexadecimal in both cases, and UTF-16 in both byte orders. Each is a Buffer of its own; the caller wipes them.
 * @param secret not changed; none of its forms when it is shorter than `SHORTEST_SCRUBBED`
 */
export function formsOf(secret: Buffer): Form[] {
  if (secret.length < SHORTEST_SCRUBBED) return [];
  const text = [copied(secret)];
  for (const alphabet of [STANDARD, URL_SAFE]) {
    for (const offset of [0, 1, 2]) text.push(base64At(secret, offset, alphabet));
  }
  const other = [hex(secret, LOWER), hex(secret, UPPER), utf16(secret, 0), utf16(secret, 1)];
  return withoutTwins([
    ...text.map((bytes) => ({ bytes, escapable: true })),
    ...other.map((bytes) => ({ bytes, escapable: false })),
  ]);
}

function copied(bytes: Buffer): Buffer {
  const copy = secretBuffer(bytes.length);
  bytes.copy(copy);
  return copy;
}

function hex(bytes: Buffer, digits: Buffer): Buffer {
  const text = secretBuffer(bytes.length * 2);
  let at = 0;
  for (const byte of bytes) {
    text[at++] = digits[byte >> 4] ?? 0;
    text[at++] = digits[byte & 15] ?? 0;
  }
  return text;
}

/** @param high where in each pair the character's byte stands: 0 little-endian, 1 big-endian */
function utf16(bytes: Buffer, high: 0 | 1): Buffer {
  const text = secretBuffer(bytes.length * 2);
  for (const [index, byte] of bytes.entries()) text[index * 2 + high] = byte;
  return text;
}

/**
 * The characters that the bytes alone decide when `offset` bytes (mod 3) come before them: the first and the last
 * character may mix with the neighbours and are left out then.
 */
function base64At(bytes: Buffer, offset: number, alphabet: Buffer): Buffer {
  const firstBit = offset * 8;
  const from = Math.ceil(firstBit / 6);
  const to = Math.floor((firstBit + bytes.length * 8) / 6);
  const text = secretBuffer(to - from);
  for (let index = from; index < to; index++) text[index - from] = alphabet[sextet(bytes, index * 6 - firstBit)] ?? 0;
  return text;
}

/** The six bits that begin at `bit`. */
function sextet(bytes: Buffer, bit: number): number {
  const at = bit >> 3;
  const pair = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  return (pair >> (10 - (bit & 7))) & 63;
}

/** The first of equal ones stays; the others are zeroed. */
export function withoutTwins(forms: readonly Form[]): Form[] {
  const kept: Form[] = [];
  for (const form of forms) {
    if (kept.some((other) => other.bytes.equals(form.bytes))) form.bytes.fill(0);
    else kept.push(form);
  }
  return kept;
}
