/**
 * The DER encodings (ITU-T X.690) that the X.509 library does not offer: name constraints and the Java trust store.
 */

const LONG_FORM = 0x80;

/** One tag-length-value with a definite length. */
export function tlv(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(contents);
  return Buffer.concat([Buffer.from([tag]), lengthBytes(body.length), body]);
}

function lengthBytes(length: number): Buffer {
  if (length < LONG_FORM) return Buffer.from([length]);
  const bytes: number[] = [];
  for (let left = length; left > 0; left = Math.floor(left / 256)) bytes.unshift(left % 256);
  return Buffer.from([LONG_FORM | bytes.length, ...bytes]);
}

export function sequence(...items: readonly Uint8Array[]): Buffer {
  return tlv(0x30, ...items);
}

/** A SET with at most one item: DER would sort several. */
export function setOfOne(item: Uint8Array): Buffer {
  return tlv(0x31, item);
}

export function octetString(bytes: Uint8Array): Buffer {
  return tlv(0x04, bytes);
}

/** An INTEGER from 0 to 127. */
export function smallInteger(value: number): Buffer {
  return tlv(0x02, Buffer.from([value]));
}

/** A BMPString of ASCII text. */
export function bmpString(text: string): Buffer {
  return tlv(0x1e, Buffer.from(text, "utf16le").swap16());
}

/** A constructed context-specific tag, `[n]`. */
export function tagged(n: number, ...items: readonly Uint8Array[]): Buffer {
  return tlv(0xa0 | n, ...items);
}

/** A primitive context-specific tag, `[n] IMPLICIT`. */
export function taggedBytes(n: number, bytes: Uint8Array): Buffer {
  return tlv(0x80 | n, bytes);
}

/** An OBJECT IDENTIFIER from dotted text, such as `2.5.29.30`. */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return tlv(0x06, Buffer.from(bytes));
}
