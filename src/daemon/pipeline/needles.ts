import {
  type Escape,
  INTRODUCERS,
  type Introducer,
  introducersOf,
  LONGEST_ESCAPE,
  readEscape,
  UNFINISHED,
} from "./escapes.ts";
import type { Form } from "./secret-forms.ts";

/**
 * Searches bytes for many sequences at once (Wu and Manber, "A fast algorithm for multi-pattern searching", 1994): a
 * table of what stands in the last three bytes of a window says how far the window may move, so that most bytes are
 * never looked at. A sequence is also found when any of its characters are written as escapes (escapes.ts).
 */

const TABLE = 8192;
/** Bytes that a window is judged by. */
const BLOCK = 3;

/** Where something was found: `end` is behind its last byte. */
export interface Found {
  readonly start: number;
  readonly end: number;
}

/** A character of an escapable sequence. */
interface Place {
  readonly sequence: Buffer;
  readonly index: number;
}

const NOWHERE: readonly Place[] = [];
/** Stands before the first byte of a sequence. */
const NOTHING = 256;
/** Distance up to which looking at each byte is faster than a call into native code. */
const NEAR = 16;

function pairOf(before: number, byte: number): number {
  return before * 256 + byte;
}

export class Needles {
  readonly #sequences: readonly Buffer[];
  readonly #escapable: readonly Buffer[];
  /** By a byte and the one before it (`pairOf`): where they stand in an escapable sequence. */
  readonly #places = new Map<number, Place[]>();
  /** 1 for bytes that stand anywhere in an escapable sequence. */
  readonly #escapes = new Uint8Array(256);
  /** Length of the shortest sequence. */
  readonly #window: number;
  /** Bytes that a match can have at most. */
  readonly longest: number;
  readonly #shift = new Uint8Array(TABLE);
  /** First sequence whose window ends with the block of a table place; others follow in `#next`; -1 ends. */
  readonly #head = new Int16Array(TABLE).fill(-1);
  readonly #next: Int16Array;
  /** 1 for bytes that stand anywhere in a sequence. */
  readonly #member = new Uint8Array(256);
  /** 1 for bytes that begin a sequence. */
  readonly #first = new Uint8Array(256);
  /** What an escape of one of our characters begins with. */
  #introducers: readonly Introducer[] = [];
  readonly #escape: Escape = { byte: 0, size: 0 };
  #wiped = false;

  /** @param forms of at least 4 bytes each; owned from here on, and zeroed by `wipe` */
  constructor(forms: readonly Form[]) {
    this.#sequences = forms.map(({ bytes }) => bytes);
    this.#escapable = forms.filter(({ escapable }) => escapable).map(({ bytes }) => bytes);
    this.#window = Math.min(...this.#sequences.map(({ length }) => length));
    const lengths = forms.map(({ bytes, escapable }) => bytes.length * (escapable ? LONGEST_ESCAPE : 1));
    this.longest = Math.max(0, ...lengths);
    this.#next = new Int16Array(forms.length).fill(-1);
    if (forms.length > 0) this.#build();
  }

  /** True once the sequences are gone: nothing can be found any more, which does not mean that nothing is there. */
  get wiped(): boolean {
    return this.#wiped;
  }

  get empty(): boolean {
    return this.#sequences.length === 0;
  }

  /** Zeroes the sequences and everything that was made of them. */
  wipe(): void {
    for (const sequence of this.#sequences) sequence.fill(0);
    for (const table of [this.#shift, this.#head, this.#next, this.#member, this.#first, this.#escapes]) table.fill(0);
    this.#places.clear();
    this.#wiped = true;
  }

  /** All matches in order, none inside another. Null when there is none, which is the common case. */
  search(data: Buffer): Found[] | null {
    if (this.#wiped) throw new Error("internal: the sequences to search for have been wiped");
    if (this.empty) return null;
    const literal = this.#literal(data);
    const escaped = this.#escaped(data);
    if (literal === null || escaped === null) return literal ?? escaped;
    return merged(literal, escaped);
  }

  /** Where the end of `data` begins that may become a match with what follows; `data.length` when nothing may. */
  tail(data: Buffer): number {
    const { length } = data;
    // A byte that no sequence has, and that begins no escape, ends every match.
    let from = length;
    const least = Math.max(0, length - this.longest);
    while (from > least && this.#mayBeInside(data[from - 1] ?? 0)) from--;
    for (let start = from; start < length; start++) if (this.#mayBegin(data, start)) return start;
    return length;
  }

  #build(): void {
    const most = Math.min(255, this.#window - BLOCK + 1);
    this.#shift.fill(most);
    for (const [index, sequence] of this.#sequences.entries()) {
      for (let at = BLOCK - 1; at < this.#window; at++) {
        const place = placeOf(sequence, at);
        this.#shift[place] = Math.min(this.#shift[place] ?? 0, this.#window - 1 - at);
      }
      const last = placeOf(sequence, this.#window - 1);
      this.#next[index] = this.#head[last] ?? -1;
      this.#head[last] = index;
      this.#first[sequence[0] ?? 0] = 1;
      for (const byte of sequence) this.#member[byte] = 1;
    }
    for (const sequence of this.#escapable)
      for (let index = 0; index < sequence.length; index++) this.#place(sequence, index);
    this.#introducers = introducersOf(new Set(this.#escapable.flatMap((sequence) => [...sequence])));
  }

  #place(sequence: Buffer, index: number): void {
    const byte = sequence[index] ?? 0;
    this.#escapes[byte] = 1;
    const pair = pairOf(index === 0 ? NOTHING : (sequence[index - 1] ?? 0), byte);
    const places = this.#places.get(pair);
    if (places) places.push({ sequence, index });
    else this.#places.set(pair, [{ sequence, index }]);
  }

  #literal(data: Buffer): Found[] | null {
    const shift = this.#shift;
    const { length } = data;
    let found: Found[] | null = null;
    let at = this.#window - 1;
    while (at < length) {
      const place =
        ((data[at - 2] as number) ^ ((data[at - 1] as number) << 4) ^ ((data[at] as number) << 6)) & (TABLE - 1);
      const step = shift[place] as number;
      if (step !== 0) {
        at += step;
        continue;
      }
      const start = at - this.#window + 1;
      const end = this.#endOf(data, start, place);
      if (end === -1) {
        at++;
        continue;
      }
      found ??= [];
      found.push({ start, end });
      at = end + this.#window - 1;
    }
    return found;
  }

  /** End of the longest sequence that stands at `start`; -1 when none does. */
  #endOf(data: Buffer, start: number, place: number): number {
    let end = -1;
    for (let index = this.#head[place] ?? -1; index !== -1; index = this.#next[index] ?? -1) {
      const sequence = this.#sequences[index];
      if (sequence && stands(data, start, sequence)) end = Math.max(end, start + sequence.length);
    }
    return end;
  }

  /** Matches that have at least one escape in them. */
  #escaped(data: Buffer): Found[] | null {
    const found: Found[] = [];
    for (const each of this.#introducers) this.#escapedBy(each, data, found);
    return found.length === 0 ? null : merged(found, []);
  }

  #escapedBy({ introducer, second }: Introducer, data: Buffer, found: Found[]): void {
    for (let at = nextOf(introducer, data, 0); at !== -1; at = nextOf(introducer, data, at)) {
      // Most escapes stand for something that no key has.
      at = second[data[at + 1] as number] === 1 ? this.#take(data, at, found) : at + 1;
    }
  }

  /** Notes a match whose first escape is the one at `at`; returns where to look on. */
  #take(data: Buffer, at: number, found: Found[]): number {
    const byte = readEscape(data, at, this.#escape);
    if (byte < 0 || this.#escapes[byte] === 0) return at + 1;
    const before = at === 0 ? NOTHING : (data[at - 1] ?? 0);
    const match = this.#around(data, at, pairOf(before, byte)) ?? this.#around(data, at, pairOf(NOTHING, byte));
    if (match === null) return at + 1;
    found.push(match);
    return match.end;
  }

  /** What comes before the first escape stands there literally. */
  #around(data: Buffer, at: number, pair: number): Found | null {
    for (const { sequence, index } of this.#places.get(pair) ?? NOWHERE) {
      if (index > at || !standsBefore(data, at, sequence, index)) continue;
      const end = this.#follow(data, at, sequence, index);
      if (end > 0) return { start: at - index, end };
    }
    return null;
  }

  /** Reads the rest of `sequence`, escaped or not, from `at`. The end; 0 for a difference, -1 when the data ends first. */
  #follow(data: Buffer, from: number, sequence: Buffer, index: number): number {
    let at = from;
    for (let rest = index; rest < sequence.length; rest++) {
      if (at >= data.length) return -1;
      const wanted = sequence[rest];
      const byte = readEscape(data, at, this.#escape);
      if (byte === wanted) at += this.#escape.size;
      else if (byte === UNFINISHED) return this.#followUnfinished(data, at, sequence, rest);
      else if (data[at] === wanted) at++;
      else return 0;
    }
    return at;
  }

  /** A `%` at the end may be the character itself, or the beginning of an escape. */
  #followUnfinished(data: Buffer, at: number, sequence: Buffer, index: number): number {
    const end = data[at] === sequence[index] ? this.#follow(data, at + 1, sequence, index + 1) : -1;
    return end > 0 ? end : -1;
  }

  #mayBeInside(byte: number): boolean {
    return this.#member[byte] === 1 || isEscaping(byte);
  }

  /** Whether what stands from `start` to the end is the beginning of a sequence. */
  #mayBegin(data: Buffer, start: number): boolean {
    const byte = data[start] ?? 0;
    if (this.#first[byte] === 1 && this.#sequences.some((sequence) => begins(data, start, sequence))) return true;
    if (this.#first[byte] === 0 && !INTRODUCERS.includes(byte)) return false;
    return this.#escapable.some((sequence) => this.#follow(data, start, sequence, 0) === -1);
  }
}

function placeOf(bytes: Buffer, at: number): number {
  return ((bytes[at - 2] ?? 0) ^ ((bytes[at - 1] ?? 0) << 4) ^ ((bytes[at] ?? 0) << 6)) & (TABLE - 1);
}

function stands(data: Buffer, start: number, sequence: Buffer): boolean {
  if (start + sequence.length > data.length) return false;
  for (let index = 0; index < sequence.length; index++) if (data[start + index] !== sequence[index]) return false;
  return true;
}

/** Whether what stands from `start` to the end is the beginning of `sequence`. */
function begins(data: Buffer, start: number, sequence: Buffer): boolean {
  if (data.length - start >= sequence.length) return false;
  for (let at = start; at < data.length; at++) if (data[at] !== sequence[at - start]) return false;
  return true;
}

/** Whether the first `count` bytes of `sequence` stand right before `at`. */
function standsBefore(data: Buffer, at: number, sequence: Buffer, count: number): boolean {
  for (let back = 1; back <= count; back++) if (data[at - back] !== sequence[count - back]) return false;
  return true;
}

/** In some data escapes are rare, in some there is one in every third byte. */
function nextOf(introducer: number, data: Buffer, from: number): number {
  const near = Math.min(data.length, from + NEAR);
  for (let at = from; at < near; at++) if (data[at] === introducer) return at;
  return near === data.length ? -1 : data.indexOf(introducer, near);
}

const ESCAPING = new Set(Buffer.from("%&\\#;0123456789abcdefABCDEFuxXlmptgqosinrdwbv", "latin1"));

/** Bytes that escapes are written with. */
function isEscaping(byte: number): boolean {
  return ESCAPING.has(byte);
}

/** In order, and of those that overlap the one that begins first, joined with the others. */
function merged(one: readonly Found[], other: readonly Found[]): Found[] {
  const all = [...one, ...other].sort((a, b) => a.start - b.start || b.end - a.end);
  const apart: { start: number; end: number }[] = [];
  for (const { start, end } of all) {
    const last = apart.at(-1);
    if (last && start < last.end) last.end = Math.max(last.end, end);
    else apart.push({ start, end });
  }
  return apart;
}
