/** The bytes that give JSON its structure (RFC 8259 section 2). */
export const QUOTE = 0x22;
export const COMMA = 0x2c;
export const COLON = 0x3a;
export const OPEN_ARRAY = 0x5b;
export const BACKSLASH = 0x5c;
export const CLOSE_ARRAY = 0x5d;
export const OPEN_OBJECT = 0x7b;
export const CLOSE_OBJECT = 0x7d;

/** Index of the first byte that is no blank; `to` when there is none. */
export function behindBlanks(bytes: Buffer, from: number, to: number): number {
  let at = from;
  for (; at < to; at++) {
    const byte = bytes[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return at;
  }
  return at;
}

/** Digits, letters, and the three signs of numbers. */
export function isLiteralByte(byte: number): boolean {
  if (byte >= 0x30 && byte <= 0x39) return true;
  const letter = byte | 0x20;
  return (letter >= 0x61 && letter <= 0x7a) || byte === 0x2b || byte === 0x2d || byte === 0x2e;
}

export function isSame(bytes: Buffer, from: number, to: number, other: Buffer): boolean {
  if (to - from !== other.length) return false;
  for (let at = 0; at < other.length; at++) if (bytes[from + at] !== other[at]) return false;
  return true;
}

export function isOneOf(bytes: Buffer, from: number, to: number, others: readonly Buffer[]): boolean {
  for (const other of others) if (isSame(bytes, from, to, other)) return true;
  return false;
}
