/**
 * Reads a few members out of a JSON document (RFC 8259) while its bytes pass, split anywhere. A member counts at exactly
 * the path that was asked for and nowhere else: text that a model or a user wrote can imitate a name, but not a place.
 * Kept are the captured bytes, the names on the way and one number per open bracket, all of them bounded; what no path
 * leads into is skipped and checked for its brackets only. What cannot be JSON ends the reading; what was complete stays.
 */

import { NOT_HERE, StringEnd } from "./json-string.ts";
import { StructureSearch } from "./json-structure.ts";
import {
  behindBlanks,
  CLOSE_ARRAY,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  isLiteralByte,
  isOneOf,
  OPEN_ARRAY,
  OPEN_OBJECT,
  QUOTE,
} from "./json-syntax.ts";
import { childNamed, type MemberNode, type MemberSet } from "./member-set.ts";
import { MemberValues } from "./member-values.ts";

/** The longest value that is captured, in bytes; a longer one counts as absent. */
export const MAX_CAPTURE_BYTES = 16 * 1024;
/** How far is looked byte by byte before the faster search pays for its calls. */
const NEAR_BYTES = 32;
const MAX_DEPTH = 512;
/** Longer names match no path: 40 characters, each of them written as an escape. */
const MAX_NAME_BYTES = 240;

const NO_MEMBER = { take: null, equals: null };

/** Where the reading stands: between values, inside one, or at the end. */
const VALUE = 0;
const FIRST_VALUE = 1;
const NAME = 2;
const FIRST_NAME = 3;
const BEFORE_VALUE = 4;
const AFTER = 5;
const IN_NAME = 6;
const IN_TEXT = 7;
const IN_LITERAL = 8;
const SKIPPED = 9;
const SKIPPED_TEXT = 10;
const COMPLETE = 11;
const BROKEN = 12;

export class JsonMembers<K extends string> {
  readonly #set: MemberSet<K>;
  readonly #found: MemberValues;
  readonly #string = new StringEnd();
  readonly #structures = new StructureSearch();
  #state = VALUE;
  #doubtful = false;
  /** The serial of the object in which a node was last seen, by the node's id. */
  readonly #seen: number[] = [];
  #serial = 0;
  /** Open arrays and objects that a path leads into: their nodes, closing bytes, and what tells them apart. */
  readonly #nodes: MemberNode[] = [];
  readonly #closes: number[] = [];
  readonly #serials: number[] = [];
  /** The node of the value that is open or comes next. */
  #node: MemberNode | null;
  /** Closing bytes of the brackets that are open inside a value that no path leads into. */
  readonly #brackets: number[] = [];
  /** Where the open value, or the open name, begins in this chunk, and how much of it came before. */
  #from = 0;
  #length = 0;
  #pieces: Buffer[] = [];

  constructor(set: MemberSet<K>) {
    this.#set = set;
    this.#node = set.root;
    this.#found = new MemberValues(set.members.length);
  }

  /** The bytes of the last value at a path, good until anything is written; null when there was none, or more than 16 KiB. */
  value(name: K): Buffer | null {
    return this.#found.value(this.#at(name));
  }

  /** The first byte of that value, 0 when there is none: tells an object from a null without looking further. */
  firstByte(name: K): number {
    return this.#found.firstByte(this.#at(name));
  }

  /** Bytes of all strings at a path as they were written, without their quotes. */
  size(name: K): number {
    return (this.#found.sizes[this.#at(name)] ?? 0) + (this.isOpen(name) ? Math.max(0, this.#length - 1) : 0);
  }

  /** Whether what was written ends inside a string at a path. */
  isOpen(name: K): boolean {
    return this.#state === IN_TEXT && this.#node?.members.includes(this.#at(name)) === true;
  }

  /** How many values there were at a path; for a `size`, how many strings. */
  count(name: K): number {
    return this.#found.counts[this.#at(name)] ?? 0;
  }

  /** Whether another reader may see something else: a name that came twice in an object, a value that was too long. */
  get doubtful(): boolean {
    return this.#doubtful;
  }

  get complete(): boolean {
    return this.#state === COMPLETE;
  }

  get broken(): boolean {
    return this.#state === BROKEN;
  }

  /** Begins with another document. */
  reset(): void {
    this.#found.reset();
    this.#string.reset();
    this.#state = VALUE;
    this.#doubtful = false;
    this.#nodes.length = 0;
    this.#closes.length = 0;
    this.#serials.length = 0;
    this.#node = this.#set.root;
    this.#brackets.length = 0;
    this.#length = 0;
    this.#pieces = [];
  }

  /**
   * @param chunk has to stay as it is until `settle` is called
   * @returns the index behind the last byte that belongs to the document
   */
  write(chunk: Buffer, from = 0, to = chunk.length): number {
    if (this.#found.read(chunk)) {
      this.#structures.reset();
      this.#string.turn();
    }
    let at = from;
    this.#from = from;
    while (at < to && this.#state < COMPLETE) at = this.#step(chunk, at, to);
    if (this.#state >= IN_NAME && this.#state < COMPLETE) this.#keep(chunk, to);
    return at;
  }

  /** The chunk goes: what was captured of it is copied. */
  settle(): void {
    this.#found.settle();
  }

  #at(name: K): number {
    return this.#set.index.get(name) ?? -1;
  }

  #step(chunk: Buffer, at: number, to: number): number {
    switch (this.#state) {
      case SKIPPED:
        return this.#skip(chunk, at, to);
      case SKIPPED_TEXT:
      case IN_TEXT:
      case IN_NAME:
        return this.#text(chunk, at, to);
      case IN_LITERAL:
        return this.#literal(chunk, at, to);
      default: {
        const next = behindBlanks(chunk, at, to);
        return next === to ? to : this.#structure(chunk[next] ?? 0, next);
      }
    }
  }

  #structure(byte: number, at: number): number {
    switch (this.#state) {
      case BEFORE_VALUE:
        if (byte !== COLON) return this.#fail(at);
        this.#state = VALUE;
        return at + 1;
      case NAME:
      case FIRST_NAME:
        if (byte === QUOTE) return this.#begin(at + 1, IN_NAME);
        return byte === CLOSE_OBJECT && this.#state === FIRST_NAME ? this.#closeLevel(byte, at) : this.#fail(at);
      case AFTER:
        return byte === COMMA ? this.#comma(at) : this.#closeLevel(byte, at);
      default:
        if (byte === CLOSE_ARRAY && this.#state === FIRST_VALUE) return this.#closeLevel(byte, at);
        return this.#open(byte, at);
    }
  }

  #open(byte: number, at: number): number {
    const node = this.#node;
    if (byte === QUOTE) return this.#begin(at, IN_TEXT) + 1;
    if (byte === OPEN_OBJECT && node?.opensObject) {
      this.#openLevel(node, CLOSE_OBJECT);
      this.#state = FIRST_NAME;
      return at + 1;
    }
    if (byte === OPEN_ARRAY && node?.each) {
      this.#openLevel(node, CLOSE_ARRAY);
      this.#node = node.each;
      this.#state = FIRST_VALUE;
      return at + 1;
    }
    if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) return this.#begin(at, SKIPPED);
    return isLiteralByte(byte) ? this.#begin(at, IN_LITERAL) : this.#fail(at);
  }

  #openLevel(node: MemberNode, close: number): void {
    this.#nodes.push(node);
    this.#closes.push(close);
    this.#serials.push(++this.#serial);
  }

  #begin(at: number, state: number): number {
    this.#state = state;
    this.#from = at;
    this.#length = 0;
    if (this.#pieces.length > 0) this.#pieces = [];
    return at;
  }

  #comma(at: number): number {
    const last = this.#nodes.length - 1;
    this.#state = this.#closes[last] === CLOSE_OBJECT ? NAME : VALUE;
    this.#node = this.#nodes[last]?.each ?? null;
    return at + 1;
  }

  #closeLevel(byte: number, at: number): number {
    const node = this.#nodes.pop();
    this.#serials.pop();
    if (!node || this.#closes.pop() !== byte) return this.#fail(at);
    this.#node = node;
    for (const member of node.members) {
      const { take, equals } = this.#set.members[member] ?? NO_MEMBER;
      if (take === "count" && equals === null) this.#found.add(member, 1, 0);
    }
    this.#ended();
    return at + 1;
  }

  #ended(): void {
    this.#state = this.#nodes.length === 0 ? COMPLETE : AFTER;
  }

  #fail(at: number): number {
    this.#state = BROKEN;
    this.#pieces = [];
    return at;
  }

  #text(chunk: Buffer, at: number, to: number): number {
    const quote = this.#string.find(chunk, at, to);
    if (quote === NOT_HERE) return to;
    if (this.#state === SKIPPED_TEXT) this.#state = SKIPPED;
    else if (this.#state === IN_NAME) this.#endName(chunk, quote);
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
    for (let at = from, near = from + NEAR_BYTES; at < to; at++) {
      if (at >= near) at = this.#structures.next(chunk, at, to);
      const byte = at < to ? (chunk[at] ?? 0) : 0;
      // Nothing below this but a quote means anything here: digits, commas, blanks.
      if (byte < OPEN_ARRAY && byte !== QUOTE) continue;
      near = at + NEAR_BYTES;
      if (byte === QUOTE) {
        const quote = this.#string.find(chunk, at + 1, to);
        if (quote === NOT_HERE) this.#state = SKIPPED_TEXT;
        at = quote === NOT_HERE ? to : quote;
        near = at + NEAR_BYTES;
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
    const wanted = this.#state === IN_NAME || this.#node?.captures === true;
    this.#length += to - this.#from;
    if (!wanted || this.#length > (this.#state === IN_NAME ? MAX_NAME_BYTES : MAX_CAPTURE_BYTES)) this.#pieces = [];
    else this.#pieces.push(Buffer.from(chunk.subarray(this.#from, to)));
    this.#from = to;
  }

  #endLeaf(chunk: Buffer, to: number, isString: boolean): void {
    if (this.#node !== null && this.#node.members.length > 0) this.#report(this.#node, chunk, to, isString);
    this.#ended();
  }

  #report(node: MemberNode, chunk: Buffer, to: number, isString: boolean): void {
    const length = this.#length + to - this.#from;
    const fits = !node.captures || length <= MAX_CAPTURE_BYTES;
    if (!fits) this.#doubtful = true;
    // What came in several chunks is put together; the rest stays where it is.
    const isJoined = fits && node.captures && this.#length > 0;
    const bytes = isJoined ? Buffer.concat([...this.#pieces, chunk.subarray(this.#from, to)]) : chunk;
    const from = isJoined ? 0 : this.#from;
    const end = isJoined ? length : to;
    for (const index of node.members) {
      const { take, equals } = this.#set.members[index] ?? NO_MEMBER;
      if (take === "value" && fits) this.#found.put(index, bytes, from, end);
      else if (take === "value") this.#found.drop(index);
      else if (take === "size" && isString) this.#found.add(index, 1, length - 2);
      else if (take === "count" && (equals === null || (fits && isOneOf(bytes, from, end, equals)))) {
        this.#found.add(index, 1, 0);
      }
    }
  }

  #endName(chunk: Buffer, quote: number): void {
    const length = this.#length + quote - this.#from;
    const isJoined = this.#length > 0 && length <= MAX_NAME_BYTES;
    const bytes = isJoined ? Buffer.concat([...this.#pieces, chunk.subarray(this.#from, quote)]) : chunk;
    const from = isJoined ? 0 : this.#from;
    const last = this.#nodes.length - 1;
    const level = this.#nodes[last];
    const known = level && length <= MAX_NAME_BYTES ? childNamed(level, bytes, from, from + length) : undefined;
    this.#state = BEFORE_VALUE;
    this.#node = known ?? level?.other ?? null;
    if (!known) return;
    const serial = this.#serials[last] ?? 0;
    if (this.#seen[known.id] === serial) {
      this.#doubtful = true;
      for (const member of known.values) this.#found.drop(member);
    }
    this.#seen[known.id] = serial;
  }
}
