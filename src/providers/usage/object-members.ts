import { jsonText, StringEnd } from "./json-string.ts";
import {
  behindBlanks,
  CLOSE_ARRAY,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  isLiteralByte,
  OPEN_ARRAY,
  OPEN_OBJECT,
  QUOTE,
} from "./json-syntax.ts";

/** Where a member of a JSON object stands in its bytes; each range is from its first byte to behind its last. */
export interface MemberPlace {
  readonly name: string;
  /** Begins with the quote of the name. */
  readonly from: number;
  readonly valueFrom: number;
  readonly to: number;
}

/** Nesting that is followed; no request and no event needs more. */
const MAX_DEPTH = 512;
const MAX_MEMBERS = 1000;

/**
 * The members of the JSON object that fills `bytes` from `from` to `to`, blanks around it allowed; null when it is not
 * one, or two of its members have the same name. Values are followed by their brackets and strings only.
 */
export function objectMembers(bytes: Buffer, from: number, to: number): MemberPlace[] | null {
  const places: MemberPlace[] = [];
  let at = behindBlanks(bytes, from, to);
  if (bytes[at] !== OPEN_OBJECT) return null;
  at = behindBlanks(bytes, at + 1, to);
  if (bytes[at] === CLOSE_OBJECT) return behindBlanks(bytes, at + 1, to) === to ? places : null;
  for (;;) {
    const place = memberAt(bytes, at, to);
    if (place === null || places.length === MAX_MEMBERS) return null;
    if (places.some(({ name }) => name === place.name)) return null;
    places.push(place);
    at = behindBlanks(bytes, place.to, to);
    if (at < to && bytes[at] === CLOSE_OBJECT) return behindBlanks(bytes, at + 1, to) === to ? places : null;
    if (at >= to || bytes[at] !== COMMA) return null;
    at = behindBlanks(bytes, at + 1, to);
  }
}

function memberAt(bytes: Buffer, from: number, to: number): MemberPlace | null {
  if (from >= to || bytes[from] !== QUOTE) return null;
  const nameEnd = new StringEnd().find(bytes, from + 1, to);
  if (nameEnd < 0) return null;
  const name = jsonText(bytes.subarray(from + 1, nameEnd));
  const colon = behindBlanks(bytes, nameEnd + 1, to);
  if (name === null || colon >= to || bytes[colon] !== COLON) return null;
  const valueFrom = behindBlanks(bytes, colon + 1, to);
  const end = valueEnd(bytes, valueFrom, to);
  return end === -1 ? null : { name, from, valueFrom, to: end };
}

/** Index behind the value that begins at `from`; -1 when it does not end before `to`. */
function valueEnd(bytes: Buffer, from: number, to: number): number {
  const first = bytes[from];
  if (from >= to) return -1;
  if (first === QUOTE) return new StringEnd().find(bytes, from + 1, to) + 1 || -1;
  if (first === OPEN_OBJECT || first === OPEN_ARRAY) return bracketsEnd(bytes, from, to);
  let at = from;
  while (at < to && isLiteralByte(bytes[at] ?? 0)) at++;
  return at > from ? at : -1;
}

function bracketsEnd(bytes: Buffer, from: number, to: number): number {
  const open: number[] = [];
  for (let at = from; at < to; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === QUOTE) {
      at = new StringEnd().find(bytes, at + 1, to);
      if (at < 0) return -1;
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      if (open.push(byte + 2) > MAX_DEPTH) return -1;
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      if (open.pop() !== byte) return -1;
      if (open.length === 0) return at + 1;
    }
  }
  return -1;
}
