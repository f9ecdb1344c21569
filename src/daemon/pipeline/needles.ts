import {
  type Escape,
  EscapeStarts,
  INTRODUCERS,
  LONGEST_ESCAPE,
  readEscape,
  type StartsIn,
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
/** Bytes that are looked at one after the other before native code looks for the next introducer of an escape. */
const STRETCH = 2048;
/** Places for what two bytes a sequence begins with. */
const STARTS = 4096;

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
  /** 1 for bytes that stand anywhere in a sequence, or in an escape. */
  readonly #member = new Uint8Array(256);
  /** 1 for bytes that begin a sequence. */
  readonly #first = new Uint8Array(256);
  /** 1 for what two bytes a sequence begins with (`startOf`), so that few places are looked at more closely. */
  readonly #starts = new Uint8Array(STARTS);
  /** Where an escape of one of our characters may begin. */
  #escapeStarts = new EscapeStarts(new Set());
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
    const tables = [this.#shift, this.#head, this.#next, this.#member, this.#first, this.#starts, this.#escapes];
    for (const table of tables) table.fill(0);
    this.#escapeStarts.wipe();
    this.#places.clear();
    this.#wiped = true;
  }

  /** All matches in order, none inside another. Null when there is none, which is the common case. */
  search(data: Buffer): Found[] | null {
    if (this.#wiped) throw new Error("internal: the sequences to search for have been wiped");
    if (this.empty || data.length < this.#window) return null;
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
    while (from > least && this.#member[data[from - 1] ?? 0] === 1) from--;
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
      this.#starts[startOf(sequence[0] ?? 0, sequence[1] ?? 0)] = 1;
      for (const byte of sequence) this.#member[byte] = 1;
    }
    for (const byte of ESCAPING) this.#member[byte] = 1;
    for (const sequence of this.#escapable)
      for (let index = 0; index < sequence.length; index++) this.#place(sequence, index);
    this.#escapeStarts = new EscapeStarts(new Set(this.#escapable.flatMap((sequence) => [...sequence])));
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

  /**
   * Matches that have at least one escape in them. All bytes of a match are `#member`s, and it covers one of the places
   * that are looked at; in most data no run of members is long enough to be one.
   */
  #escaped(data: Buffer): Found[] | null {
    const found: Found[] = [];
    const starts = this.#escapeStarts.in(data);
    const member = this.#member;
    const window = this.#window;
    let until = 0;
    for (let at = window - 1; at < data.length; at += window) {
      if (at >= until) {
        // No match that is still to be found begins before this.
        const introducer = starts.introducer(at - window + 1);
        if (introducer === data.length) break;
        at = Math.max(at, introducer);
        until = at + STRETCH;
      }
      if (member[data[at] as number] !== 1) continue;
      const from = this.#runStart(data, at);
      at = this.#runEnd(data, at);
      if (at - from >= window) this.#escapedBetween(starts, data, from, at, found);
    }
    return found.length === 0 ? null : merged(found, []);
  }

  /** Where the members around `at` begin. */
  #runStart(data: Buffer, at: number): number {
    let start = at;
    while (start > 0 && this.#member[data[start - 1] as number] === 1) start--;
    return start;
  }

  /** Behind the last of the members around `at`. */
  #runEnd(data: Buffer, at: number): number {
    let end = at + 1;
    while (end < data.length && this.#member[data[end] as number] === 1) end++;
    return end;
  }

  #escapedBetween(starts: StartsIn, data: Buffer, from: number, end: number, found: Found[]): void {
    for (let at = starts.next(from, end); at !== -1; at = starts.next(at, end)) at = this.#take(data, at, found);
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

  /** Whether what stands from `start` to the end is the beginning of a sequence. */
  #mayBegin(data: Buffer, start: number): boolean {
    const byte = data[start] ?? 0;
    const next = data[start + 1];
    if (!INTRODUCERS.includes(byte)) {
      if (this.#first[byte] === 0) return false;
      if (next !== undefined && this.#starts[startOf(byte, next)] === 0 && !INTRODUCERS.includes(next)) return false;
    }
    if (this.#first[byte] === 1 && this.#sequences.some((sequence) => begins(data, start, sequence))) return true;
    return this.#escapable.some((sequence) => this.#follow(data, start, sequence, 0) === -1);
  }
}

function placeOf(bytes: Buffer, at: number): number {
  return ((bytes[at - 2] ?? 0) ^ ((bytes[at - 1] ?? 0) << 4) ^ ((bytes[at] ?? 0) << 6)) & (TABLE - 1);
}

function startOf(first: number, second: number): number {
  return ((first << 5) ^ second) & (STARTS - 1);
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

/** Bytes that escapes are written with. */
const ESCAPING = Buffer.from("%&\\#;0123456789abcdefABCDEFuxXlmptgqosinrdwbv", "latin1");

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
