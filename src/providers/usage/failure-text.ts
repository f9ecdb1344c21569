import { asObject, memberOf, parsed } from "./reported.ts";

/** The most of an error's text that is told, in characters. */
export const MAX_FAILURE_CHARACTERS = 200;
/** Runs of so many letters and digits may be a key: some providers repeat it in their errors. */
const MIN_KEY_LENGTH = 12;
const MASK = Buffer.from("[masked]");
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SMALL_U = 0x75;
const MAX_ITEMS = 20;

/**
 * What an `error`, `errors` or message member of an answer says, in printable ASCII; null when it says that there is no
 * error: null, false, empty. Whatever looks like a key is masked while it is still bytes, because a key must not become
 * a string.
 */
export function failureText(raw: Buffer | null): string | null {
  if (raw === null) return null;
  const text = sentence(parsed(withoutKeys(raw)), 0);
  const printable = text
    .replace(/[\s\p{Cc}]+/gu, " ")
    .replace(/[^\x20-\x7e]/g, "?")
    .trim();
  return printable === "" ? null : printable.slice(0, MAX_FAILURE_CHARACTERS);
}

function sentence(value: unknown, depth: number): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return value === 0 ? "" : String(value);
  if (depth === 2) return "";
  if (Array.isArray(value)) {
    const told = value.slice(0, MAX_ITEMS).map((item) => sentence(item, depth + 1));
    return told.find((text) => text !== "") ?? "";
  }
  const object = asObject(value);
  if (object === null) return value === true ? "error" : "";
  const kind = ["type", "code", "status"].map((name) => memberOf(object, name)).find(isWord);
  const message = ["message", "detail", "error", "info"].map((name) => memberOf(object, name)).find(isWord);
  return [kind, message].filter((part) => part !== undefined).join(": ");
}

function isWord(value: unknown): boolean {
  return (typeof value === "string" && value !== "") || typeof value === "number";
}

/** The same JSON text without runs that could be keys in its strings. */
function withoutKeys(raw: Buffer): Buffer {
  const kept: Buffer[] = [];
  let inString = false;
  for (let at = 0; at < raw.length; ) {
    const end = inString ? runEnd(raw, at) : at;
    if (end > at) {
      kept.push(mayBeKey(raw, at, end) ? MASK : raw.subarray(at, end));
      at = end;
      continue;
    }
    if (raw[at] === QUOTE) inString = !inString;
    // An escape stays whole: its letters are not part of a run.
    const step = raw[at] !== BACKSLASH ? 1 : raw[at + 1] === SMALL_U ? 6 : 2;
    kept.push(raw.subarray(at, at + step));
    at += step;
  }
  return Buffer.concat(kept);
}

/** Where a run of the characters that keys are made of ends: letters, digits and `+/=_-`. */
function runEnd(raw: Buffer, from: number): number {
  let at = from;
  for (; at < raw.length; at++) {
    const byte = raw[at] ?? 0;
    const letter = byte | 0x20;
    const isKeyByte =
      (letter >= 0x61 && letter <= 0x7a) || (byte >= 0x2f && byte <= 0x39) || [0x2b, 0x2d, 0x3d, 0x5f].includes(byte);
    if (!isKeyByte) break;
  }
  return at;
}

/** Long, and with a digit or without a small letter, which words have. */
function mayBeKey(raw: Buffer, from: number, end: number): boolean {
  if (end - from < MIN_KEY_LENGTH) return false;
  const run = raw.subarray(from, end);
  return run.some((byte) => byte >= 0x30 && byte <= 0x39) || !run.some((byte) => byte >= 0x61 && byte <= 0x7a);
}
