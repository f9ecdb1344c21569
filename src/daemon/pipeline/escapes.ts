/**
 * One character written as an escape: percent (RFC 3986 section 2.1), JSON and JavaScript backslashes (RFC 8259
 * section 7), HTML character references. Only those that stand for one byte of 0x00 to 0x7f, as keys are made of.
 */

/** Longest escape that is read, in bytes: `&#0000047;`, leading zeros included. */
export const LONGEST_ESCAPE = 10;

const PERCENT = 0x25;
const AMPERSAND = 0x26;
const BACKSLASH = 0x5c;
const SEMICOLON = 0x3b;
const HASH = 0x23;

/** What an escape may begin with. */
export const INTRODUCERS: readonly number[] = [PERCENT, AMPERSAND, BACKSLASH];

/** The bytes may become an escape once more of them are there. */
export const UNFINISHED = -2;
const NONE = -1;

const SHORT: ReadonlyMap<number, number> = new Map([
  [0x22, 0x22],
  [0x27, 0x27],
  [0x2f, 0x2f],
  [0x5c, 0x5c],
  [0x60, 0x60],
]);

const NAMED: readonly (readonly [name: Buffer, byte: number])[] = (
  [
    ["amp", 0x26],
    ["lt", 0x3c],
    ["gt", 0x3e],
    ["quot", 0x22],
    ["apos", 0x27],
    ["sol", 0x2f],
    ["plus", 0x2b],
    ["equals", 0x3d],
    ["lowbar", 0x5f],
    ["period", 0x2e],
    ["num", 0x23],
    ["colon", 0x3a],
  ] as const
).map(([name, byte]) => [Buffer.from(`${name};`, "latin1"), byte]);

/** An escape and its size; one object that is used again, because this is asked for many bytes. */
export interface Escape {
  byte: number;
  size: number;
}

/**
 * Reads the escape at `at` into `found`.
 * @returns its byte; `UNFINISHED` when the data ends inside what may be one; another negative number when there is none
 */
export function readEscape(data: Buffer, at: number, found: Escape): number {
  const first = data[at];
  found.byte = NONE;
  if (first === PERCENT) digits(data, at + 1, 2, found, at);
  else if (first === BACKSLASH) afterBackslash(data, at, found);
  else if (first === AMPERSAND) reference(data, at, found);
  if (found.byte > 0x7f) found.byte = NONE;
  return found.byte;
}

/**
 * Finds where an escape of one of the wanted bytes may begin: by two bytes, because where introducers are everywhere
 * (JSON inside JSON), most of their escapes stand for something else.
 */
export class EscapeStarts {
  /** A bit for each introducer. */
  readonly #first = new Uint8Array(256);
  /** The bits of those introducers that the byte may stand behind. */
  readonly #second = new Uint8Array(256);

  constructor(wanted: ReadonlySet<number>) {
    for (const [index, introducer] of INTRODUCERS.entries()) {
      this.#first[introducer] = 1 << index;
      for (const byte of secondBytes(introducer, wanted)) this.#second[byte] = (this.#second[byte] ?? 0) | (1 << index);
    }
  }

  /** What the wanted bytes were must not be left in the table. */
  wipe(): void {
    this.#second.fill(0);
  }

  in(data: Buffer): StartsIn {
    return new StartsIn(data, this.#first, this.#second);
  }
}

/** The starts in one piece of data. */
export class StartsIn {
  readonly #data: Buffer;
  readonly #first: Uint8Array;
  readonly #second: Uint8Array;
  /** By introducer: where the next one stands; past the end when there is none. */
  readonly #introducers = [-1, -1, -1];

  constructor(data: Buffer, first: Uint8Array, second: Uint8Array) {
    this.#data = data;
    this.#first = first;
    this.#second = second;
  }

  /** The first start from `from` on and before `end`; -1 when there is none. `from` must never go back. */
  next(from: number, end: number): number {
    const first = this.#first;
    const second = this.#second;
    const data = this.#data;
    const last = Math.min(end, data.length - 1);
    let at = this.introducer(from);
    if (at >= last) return -1;
    for (let next = data[at] as number; at < last; at++) {
      const byte = next;
      next = data[at + 1] as number;
      if (((first[byte] as number) & (second[next] as number)) !== 0) return at;
    }
    return -1;
  }

  /**
   * The first introducer from `from` on, which must never go back; the length of the data when there is none. One
   * native search for each of them, as far as it goes: in most data there are few.
   */
  introducer(from: number): number {
    let nearest = this.#data.length;
    for (let index = 0; index < INTRODUCERS.length; index++) {
      let at = this.#introducers[index] as number;
      if (at < from) {
        at = this.#data.indexOf(INTRODUCERS[index] as number, from);
        if (at === -1) at = this.#data.length;
        this.#introducers[index] = at;
      }
      if (at < nearest) nearest = at;
    }
    return nearest;
  }
}

function secondBytes(introducer: number, wanted: ReadonlySet<number>): number[] {
  const meant = ([, byte]: readonly [unknown, number]): boolean => wanted.has(byte);
  if (introducer === PERCENT) return [...wanted].flatMap((byte) => hexDigits(byte >> 4));
  if (introducer === BACKSLASH) return [0x75, 0x78, ...[...SHORT].filter(meant).map(([kind]) => kind)];
  return [HASH, ...NAMED.filter(meant).map(([name]) => name[0] ?? 0)];
}

function hexDigits(value: number): number[] {
  const digit = value.toString(16);
  return [...Buffer.from(digit + digit.toUpperCase(), "latin1")];
}

function afterBackslash(data: Buffer, at: number, found: Escape): void {
  const kind = data[at + 1];
  if (kind === undefined) found.byte = UNFINISHED;
  else if (kind === 0x75) digits(data, at + 2, 4, found, at);
  else if (kind === 0x78) digits(data, at + 2, 2, found, at);
  else {
    found.byte = SHORT.get(kind) ?? NONE;
    found.size = 2;
  }
}

/** Exactly `count` hexadecimal digits at `from`. */
function digits(data: Buffer, from: number, count: number, found: Escape, start: number): void {
  let value = 0;
  for (let index = from; index < from + count; index++) {
    const byte = data[index];
    if (byte === undefined) {
      found.byte = UNFINISHED;
      return;
    }
    const digit = hexDigit(byte);
    if (digit === -1) return;
    value = value * 16 + digit;
  }
  found.byte = value;
  found.size = from + count - start;
}

function reference(data: Buffer, at: number, found: Escape): void {
  if (data[at + 1] === undefined) found.byte = UNFINISHED;
  else if (data[at + 1] === HASH) numeric(data, at, found);
  else for (const [name, byte] of NAMED) if (startsWith(data, at + 1, name, byte, found, at)) return;
}

/** @returns whether `name` decides what stands there, be it only begun */
function startsWith(data: Buffer, from: number, name: Buffer, byte: number, found: Escape, start: number): boolean {
  for (let index = 0; index < name.length; index++) {
    const there = data[from + index];
    if (there === undefined) {
      found.byte = UNFINISHED;
      return true;
    }
    if (there !== name[index]) return false;
  }
  found.byte = byte;
  found.size = from + name.length - start;
  return true;
}

function numeric(data: Buffer, at: number, found: Escape): void {
  const isHex = data[at + 2] === 0x78 || data[at + 2] === 0x58;
  const from = at + (isHex ? 3 : 2);
  let value = 0;
  for (let index = from; index < at + LONGEST_ESCAPE; index++) {
    const byte = data[index];
    if (byte === undefined) {
      found.byte = UNFINISHED;
      return;
    }
    if (byte === SEMICOLON && index > from) {
      found.byte = value;
      found.size = index + 1 - at;
      return;
    }
    const digit = hexDigit(byte);
    if (digit === -1 || (!isHex && digit > 9)) return;
    value = value * (isHex ? 16 : 10) + digit;
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}
