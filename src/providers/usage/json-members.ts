/**
 * Reads a few members out of a JSON document (RFC 8259) while its bytes pass, split anywhere. A member counts at exactly
 * the path that was asked for and nowhere else: text that a model or a user wrote can imitate a name, but not a place.
 * Kept are the captured bytes, the names on the way and one number per open bracket, all of them bounded; what no path
 * leads into is skipped and checked for its brackets only. What cannot be JSON ends the reading; what was complete stays.
 */

import { jsonText, NOT_HERE, NOT_JSON, StringEnd } from "./json-string.ts";
import type { MemberNode, MemberSet } from "./member-set.ts";

/** The longest value that is captured, in bytes; a longer one counts as absent. */
export const MAX_CAPTURE_BYTES = 16 * 1024;
const MAX_DEPTH = 512;
/** Longer names match no path: 40 characters, each of them written as an escape. */
const MAX_NAME_BYTES = 240;

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON_BYTE = 0x3a;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

type State =
  | "value"
  | "first value"
  | "name"
  | "first name"
  | "in name"
  | "colon"
  | "after"
  | "text"
  | "literal"
  | "skipped"
  | "skipped text"
  | "complete"
  | "broken";

interface Level {
  readonly node: MemberNode;
  /** The byte that ends it. */
  readonly close: number;
  /** Tells this object from all others, so that a name is noticed when it comes twice. */
  readonly serial: number;
}

export class JsonMembers<K extends string> {
  readonly #set: MemberSet<K>;
  #state: State = "value";
  #values: (Buffer | null)[];
  #sizes: number[];
  #counts: number[];
  #doubtful = false;
  /** The serial of the object in which a node was last seen, by the node's id. */
  readonly #seen: number[] = [];
  #serial = 0;
  /** Open arrays and objects that a path leads into. */
  #levels: Level[] = [];
  /** The node of the value that is open or comes next. */
  #node: MemberNode | null;
  /** Closing bytes of the brackets that are open inside a value that no path leads into. */
  #brackets: number[] = [];
  readonly #string = new StringEnd();
  /** Where the open value, or the open name, begins in this chunk, and how much of it came before. */
  #from = 0;
  #length = 0;
  #pieces: Buffer[] = [];

  constructor(set: MemberSet<K>) {
    this.#set = set;
    this.#node = set.root;
    this.#values = set.members.map(() => null);
    this.#sizes = set.members.map(() => 0);
    this.#counts = set.members.map(() => 0);
  }

  /** The bytes of the last value at a path; null when there was none, or it is longer than 16 KiB. */
  value(name: K): Buffer | null {
    return this.#values[this.#at(name)] ?? null;
  }

  /** Bytes of all strings at a path as they were written, without their quotes. */
  size(name: K): number {
    const member = this.#at(name);
    const open = this.#state === "text" && this.#node?.members.includes(member) ? Math.max(0, this.#length - 1) : 0;
    return (this.#sizes[member] ?? 0) + open;
  }

  /** How many values there were at a path; for a `size`, how many strings. */
  count(name: K): number {
    return this.#counts[this.#at(name)] ?? 0;
  }

  /** Whether another reader may see something else: a name that came twice in an object, a value that was too long. */
  get doubtful(): boolean {
    return this.#doubtful;
  }

  get complete(): boolean {
    return this.#state === "complete";
  }

  get broken(): boolean {
    return this.#state === "broken";
  }

  /** Begins with another document. */
  reset(): void {
    this.#state = "value";
    this.#values.fill(null);
    this.#sizes.fill(0);
    this.#counts.fill(0);
    this.#doubtful = false;
    this.#levels = [];
    this.#node = this.#set.root;
    this.#brackets = [];
    this.#string.reset();
    this.#length = 0;
    this.#pieces = [];
  }

  /** @returns the index behind the last byte that belongs to the document */
  write(chunk: Buffer, from = 0, to = chunk.length): number {
    let at = from;
    this.#from = from;
    while (at < to && this.#state !== "complete" && this.#state !== "broken") at = this.#step(chunk, at, to);
    const isOpen = this.#state === "in name" || this.#state === "text" || this.#state === "literal";
    if (isOpen || this.#state === "skipped" || this.#state === "skipped text") this.#keep(chunk, to);
    return at;
  }

  #at(name: K): number {
    return this.#set.index.get(name) ?? -1;
  }

  #step(chunk: Buffer, at: number, to: number): number {
    switch (this.#state) {
      case "skipped":
        return this.#skip(chunk, at, to);
      case "skipped text":
      case "text":
      case "in name":
        return this.#text(chunk, at, to);
      case "literal":
        return this.#literal(chunk, at, to);
      default: {
        const next = behindBlanks(chunk, at, to);
        return next === to ? to : this.#structure(chunk, next);
      }
    }
  }

  #structure(chunk: Buffer, at: number): number {
    const byte = chunk[at] ?? 0;
    switch (this.#state) {
      case "colon":
        if (byte !== COLON_BYTE) return this.#fail(at);
        this.#state = "value";
        return at + 1;
      case "name":
      case "first name":
        if (byte === QUOTE) return this.#begin(at + 1, "in name");
        return byte === CLOSE_OBJECT && this.#state === "first name" ? this.#closeLevel(byte, at) : this.#fail(at);
      case "after":
        return byte === COMMA ? this.#comma(at) : this.#closeLevel(byte, at);
      default:
        if (byte === CLOSE_ARRAY && this.#state === "first value") return this.#closeLevel(byte, at);
        return this.#open(byte, at);
    }
  }

  #open(byte: number, at: number): number {
    const node = this.#node;
    if (byte === QUOTE) return this.#begin(at, "text") + 1;
    if (byte === OPEN_OBJECT && node && (node.named.size > 0 || node.other)) {
      this.#levels.push({ node, close: CLOSE_OBJECT, serial: ++this.#serial });
      this.#state = "first name";
      return at + 1;
    }
    if (byte === OPEN_ARRAY && node?.each) {
      this.#levels.push({ node, close: CLOSE_ARRAY, serial: 0 });
      this.#node = node.each;
      this.#state = "first value";
      return at + 1;
    }
    if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) return this.#begin(at, "skipped");
    return isLiteralByte(byte) ? this.#begin(at, "literal") : this.#fail(at);
  }

  #begin(at: number, state: State): number {
    this.#state = state;
    this.#from = at;
    this.#length = 0;
    this.#pieces = [];
    return at;
  }

  #comma(at: number): number {
    const level = this.#levels[this.#levels.length - 1];
    this.#state = level?.close === CLOSE_OBJECT ? "name" : "value";
    this.#node = level?.node.each ?? null;
    return at + 1;
  }

  #closeLevel(byte: number, at: number): number {
    const level = this.#levels.pop();
    if (level?.close !== byte) return this.#fail(at);
    this.#node = level.node;
    for (const member of level.node.members)
      if (this.#set.members[member]?.take === "count") this.#add(member, 1, null);
    this.#ended();
    return at + 1;
  }

  #ended(): void {
    this.#state = this.#levels.length === 0 ? "complete" : "after";
  }

  #fail(at: number): number {
    this.#state = "broken";
    this.#pieces = [];
    return at;
  }

  #text(chunk: Buffer, at: number, to: number): number {
    const quote = this.#string.find(chunk, at, to);
    if (quote === NOT_HERE) return to;
    if (quote === NOT_JSON) return this.#fail(at);
    if (this.#state === "skipped text") this.#state = "skipped";
    else if (this.#state === "in name") this.#named(this.#taken(chunk, quote, MAX_NAME_BYTES));
    else this.#endLeaf(chunk, quote + 1, true);
    return quote + 1;
  }

  #literal(chunk: Buffer, from: number, to: number): number {
    let at = from;
    while (at < to && isLiteralByte(chunk[at] ?? 0)) at++;
    if (at < to) this.#endLeaf(chunk, at, false);
    return at;
  }

  /** The rest of a value that no path leads into. */
  #skip(chunk: Buffer, from: number, to: number): number {
    const brackets = this.#brackets;
    for (let at = from; at < to; at++) {
      const byte = chunk[at] ?? 0;
      // Nothing below this but a quote means anything here: digits, commas, blanks.
      if (byte < OPEN_ARRAY && byte !== QUOTE) continue;
      if (byte === QUOTE) {
        const quote = this.#string.find(chunk, at + 1, to);
        if (quote === NOT_JSON) return this.#fail(at);
        if (quote === NOT_HERE) this.#state = "skipped text";
        at = quote === NOT_HERE ? to : quote;
      } else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) {
        if (brackets.length === MAX_DEPTH) return this.#fail(at);
        brackets.push(byte + 2);
      } else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) {
        if (brackets.pop() !== byte) return this.#fail(at);
        if (brackets.length > 0) continue;
        this.#endLeaf(chunk, at + 1, false);
        return at + 1;
      }
    }
    return to;
  }

  /** Keeps the part of the open value that is in this chunk, when somebody wants it and it is not too long. */
  #keep(chunk: Buffer, to: number): void {
    const wanted = this.#state === "in name" || this.#node?.captures === true;
    const most = this.#state === "in name" ? MAX_NAME_BYTES : MAX_CAPTURE_BYTES;
    this.#length += to - this.#from;
    if (!wanted || this.#length > most) this.#pieces = [];
    else this.#pieces.push(Buffer.from(chunk.subarray(this.#from, to)));
    this.#from = to;
  }

  /** The open value whole, in bytes of its own; null when it is longer than `most`. */
  #taken(chunk: Buffer, to: number, most: number): Buffer | null {
    if (this.#length + to - this.#from > most) return null;
    const rest = chunk.subarray(this.#from, to);
    return this.#pieces.length === 0 ? Buffer.from(rest) : Buffer.concat([...this.#pieces, rest]);
  }

  #endLeaf(chunk: Buffer, to: number, isString: boolean): void {
    const node = this.#node;
    if (node && node.members.length > 0) {
      const raw = node.captures ? this.#taken(chunk, to, MAX_CAPTURE_BYTES) : null;
      if (node.captures && raw === null) this.#doubtful = true;
      const size = this.#length + to - this.#from - 2;
      for (const member of node.members) {
        const take = this.#set.members[member]?.take;
        if (take === "value") this.#values[member] = raw;
        else if (take === "count") this.#add(member, 1, raw);
        else if (isString) {
          this.#add(member, 1, raw);
          this.#sizes[member] = (this.#sizes[member] ?? 0) + size;
        }
      }
    }
    this.#pieces = [];
    this.#ended();
  }

  #add(member: number, count: number, raw: Buffer | null): void {
    const equals = this.#set.members[member]?.equals ?? null;
    if (equals === null || raw?.toString("latin1") === equals)
      this.#counts[member] = (this.#counts[member] ?? 0) + count;
  }

  #named(raw: Buffer | null): void {
    const level = this.#levels[this.#levels.length - 1];
    const name = raw === null ? null : jsonText(raw);
    const known = name === null ? undefined : level?.node.named.get(name);
    this.#state = "colon";
    this.#pieces = [];
    this.#node = known ?? level?.node.other ?? null;
    if (!known || !level) return;
    if (this.#seen[known.id] === level.serial) {
      this.#doubtful = true;
      for (const member of known.values) this.#values[member] = null;
    }
    this.#seen[known.id] = level.serial;
  }
}

function behindBlanks(chunk: Buffer, from: number, to: number): number {
  let at = from;
  for (; at < to; at++) {
    const byte = chunk[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return at;
  }
  return at;
}

/** Digits, letters, and the three signs of numbers. */
function isLiteralByte(byte: number): boolean {
  if (byte >= 0x30 && byte <= 0x39) return true;
  const letter = byte | 0x20;
  return (letter >= 0x61 && letter <= 0x7a) || byte === 0x2b || byte === 0x2d || byte === 0x2e;
}
