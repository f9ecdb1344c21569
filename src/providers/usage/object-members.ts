import { jsonText, stringEnd } from "./json-string.ts";
import {
  BACKSLASH,
  behindBlanks,
  CLOSE_ARRAY,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  isLiteralByte,
  isSame,
  OPEN_ARRAY,
  OPEN_OBJECT,
  QUOTE,
} from "./json-syntax.ts";

/** Where a member of a JSON object stands in its bytes; each range is from its first byte to behind its last. */
export interface MemberPlace {
  /** Null when it is none of those that were asked for. */
  readonly name: string | null;
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
 * one, or has one of `names` twice. Values are followed by their brackets and strings only.
 */
export function objectMembers(bytes: Buffer, from: number, to: number, names: readonly Buffer[]): MemberPlace[] | null {
  const places: MemberPlace[] = [];
  let at = behindBlanks(bytes, from, to);
  if (bytes[at] !== OPEN_OBJECT) return null;
  at = behindBlanks(bytes, at + 1, to);
  if (bytes[at] === CLOSE_OBJECT) return behindBlanks(bytes, at + 1, to) === to ? places : null;
  for (;;) {
    const place = memberAt(bytes, at, to, names);
    if (place === null || places.length === MAX_MEMBERS) return null;
    if (place.name !== null && places.some(({ name }) => name === place.name)) return null;
    places.push(place);
    at = behindBlanks(bytes, place.to, to);
    if (at < to && bytes[at] === CLOSE_OBJECT) return behindBlanks(bytes, at + 1, to) === to ? places : null;
    if (at >= to || bytes[at] !== COMMA) return null;
    at = behindBlanks(bytes, at + 1, to);
  }
}

function memberAt(bytes: Buffer, from: number, to: number, names: readonly Buffer[]): MemberPlace | null {
  if (from >= to || bytes[from] !== QUOTE) return null;
  const nameEnd = stringEnd(bytes, from + 1, to);
  if (nameEnd < 0) return null;
  const name = nameAmong(bytes, from + 1, nameEnd, names);
  const colon = behindBlanks(bytes, nameEnd + 1, to);
  if (colon >= to || bytes[colon] !== COLON) return null;
  const valueFrom = behindBlanks(bytes, colon + 1, to);
  const end = valueEnd(bytes, valueFrom, to);
  return end === -1 ? null : { name, from, valueFrom, to: end };
}

/** The name, when it is one of these, however it is written. */
function nameAmong(bytes: Buffer, from: number, to: number, names: readonly Buffer[]): string | null {
  for (const name of names) if (isSame(bytes, from, to, name)) return name.toString();
  for (let at = from; at < to; at++) {
    if (bytes[at] !== BACKSLASH) continue;
    const text = jsonText(bytes.subarray(from, to));
    return names.map(String).find((name) => name === text) ?? null;
  }
  return null;
}

/** Index behind the value that begins at `from`; -1 when it does not end before `to`. */
function valueEnd(bytes: Buffer, from: number, to: number): number {
  const first = bytes[from];
  if (from >= to) return -1;
  if (first === QUOTE) return stringEnd(bytes, from + 1, to) + 1 || -1;
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
      at = stringEnd(bytes, at + 1, to);
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
