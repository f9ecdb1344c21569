import { type MemberPlace, objectMembers } from "./object-members.ts";
import type { EventFilter } from "./usage.ts";

/** An event that is longer passes as it is: no chunk of a chat comes near. */
export const MAX_HELD_BYTES = 256 * 1024;
const LF = 0x0a;
const CR = 0x0d;
const COMMENT = 0x3a;
const FIRST_HELD_BYTES = 4096;
const DATA = Buffer.from("data:");
const USAGE = Buffer.from('"usage"');
const NOTHING = Buffer.alloc(0);

/**
 * Takes the usage that was asked for out of a stream of chat chunks. OpenAI's documentation of `include_usage`: "an
 * additional chunk will be streamed before the `data: [DONE]` message", whose `choices` are "always an empty array";
 * "all other chunks will also include a `usage` field, but with a null value". Both go, and nothing else: a chunk that
 * has choices and a usage is one that the provider sends unasked, and an empty one without usage (Azure's
 * `prompt_filter_results`) too.
 */
export function hideAsked(): EventFilter {
  return new HideAsked();
}

class HideAsked implements EventFilter {
  /** The beginning of the event that is not complete yet. */
  #held = NOTHING;
  #heldLength = 0;
  #lineIsEmpty = true;
  /** The last byte was a carriage return, so that a line feed belongs to the same line end. */
  #afterReturn = false;
  /** What became of the event that this carriage return ended; null when it ended none. */
  #fate: "passed" | "dropped" | null = null;
  /** The event was too long to hold: the rest of it passes. */
  #isOpen = false;

  data(chunk: Buffer): Buffer {
    const passed: Buffer[] = [];
    const heldBefore = this.#heldLength;
    let eventFrom = this.#secondHalf(chunk, passed);
    let lineFrom = eventFrom;
    for (let at = nextLineEnd(chunk, lineFrom); at < chunk.length; at = nextLineEnd(chunk, lineFrom)) {
      const end = chunk[at] === CR && chunk[at + 1] === LF ? at + 2 : at + 1;
      const isBlank = at === lineFrom && this.#lineIsEmpty;
      this.#afterReturn = chunk[end - 1] === CR;
      this.#fate = isBlank ? this.#event(chunk.subarray(eventFrom, end), passed) : null;
      if (isBlank) eventFrom = end;
      this.#lineIsEmpty = true;
      lineFrom = end;
    }
    if (lineFrom < chunk.length) {
      this.#lineIsEmpty = false;
      this.#afterReturn = false;
    }
    this.#hold(chunk.subarray(eventFrom), passed);
    const length = passed.reduce((sum, piece) => sum + piece.length, 0);
    // Nothing is ever added: when as much passes as came, it is the same.
    return heldBefore === 0 && length === chunk.length ? chunk : Buffer.concat(passed, length);
  }

  /** A line feed at the beginning may be the second half of the last line end. */
  #secondHalf(chunk: Buffer, passed: Buffer[]): number {
    if (!this.#afterReturn || chunk[0] !== LF) return 0;
    this.#afterReturn = false;
    if (this.#fate === "passed") passed.push(chunk.subarray(0, 1));
    // Inside an event it is held with the line that it ends.
    if (this.#fate === null) this.#hold(chunk.subarray(0, 1), passed);
    this.#fate = null;
    return 1;
  }

  end(): Buffer {
    const left = this.#held.subarray(0, this.#heldLength);
    this.#heldLength = 0;
    return left;
  }

  #event(rest: Buffer, passed: Buffer[]): "passed" | "dropped" {
    if (this.#isOpen || this.#heldLength + rest.length > MAX_HELD_BYTES) {
      passed.push(Buffer.from(this.end()), rest);
      this.#isOpen = false;
      return "passed";
    }
    const event = this.#heldLength === 0 ? rest : Buffer.concat([this.#held.subarray(0, this.#heldLength), rest]);
    this.#heldLength = 0;
    const shown = withoutAsked(event);
    passed.push(...shown);
    return shown.length === 0 ? "dropped" : "passed";
  }

  #hold(rest: Buffer, passed: Buffer[]): void {
    if (rest.length === 0) return;
    const length = this.#heldLength + rest.length;
    if (this.#isOpen || length > MAX_HELD_BYTES) {
      passed.push(Buffer.from(this.end()), rest);
      this.#isOpen = true;
      return;
    }
    if (length > this.#held.length) {
      const larger = Buffer.allocUnsafe(Math.max(FIRST_HELD_BYTES, length * 2));
      this.#held.copy(larger, 0, 0, this.#heldLength);
      this.#held = larger;
    }
    rest.copy(this.#held, this.#heldLength);
    this.#heldLength = length;
  }
}

function isLineEnd(byte: number | undefined): boolean {
  return byte === LF || byte === CR;
}

function nextLineEnd(chunk: Buffer, from: number): number {
  for (let at = from; at < chunk.length; at++) {
    if (isLineEnd(chunk[at])) return at;
  }
  return chunk.length;
}

/** What is shown of an event, its blank line included. */
function withoutAsked(event: Buffer): Buffer[] {
  if (!event.includes(USAGE)) return [event];
  const data = dataOf(event);
  const members = data && objectMembers(event, data.from, data.to);
  const at = members?.findIndex(({ name }) => name === "usage") ?? -1;
  const usage = members?.[at];
  if (!members || !usage) return [event];
  const value = event.toString("latin1", usage.valueFrom, Math.min(usage.to, usage.valueFrom + 5));
  if (value === "null") return withoutMember(event, members, at);
  const choices = members.find(({ name }) => name === "choices");
  const isExtra = value.startsWith("{") && choices !== undefined && isEmptyArray(event, choices);
  return isExtra ? commentsOf(event) : [event];
}

/** The JSON of an event whose data is one line, as all of them are; null for any other. */
function dataOf(event: Buffer): { from: number; to: number } | null {
  let found: { from: number; to: number } | null = null;
  for (let at = 0; at < event.length; ) {
    const end = nextLineEnd(event, at);
    if (event.subarray(at, at + DATA.length).equals(DATA)) {
      if (found !== null) return null;
      found = { from: at + DATA.length, to: end };
    }
    at = end + 1;
  }
  return found;
}

/** With the comma that joins it to its neighbour, and the blanks around it. */
function withoutMember(event: Buffer, members: readonly MemberPlace[], at: number): Buffer[] {
  const gone = members[at];
  const before = members[at - 1];
  const after = members[at + 1];
  if (!gone) return [event];
  const from = before?.to ?? gone.from;
  const to = before ? gone.to : (after?.from ?? gone.to);
  return [event.subarray(0, from), event.subarray(to)];
}

function isEmptyArray(event: Buffer, { valueFrom, to }: MemberPlace): boolean {
  return /^\[\s*\]$/.test(event.toString("latin1", valueFrom, Math.min(to, valueFrom + 16)));
}

/** Comments stand in the stream by themselves: they would have come without the event that they happen to precede. */
function commentsOf(event: Buffer): Buffer[] {
  const comments: Buffer[] = [];
  for (let at = 0; at < event.length; ) {
    const end = nextLineEnd(event, at);
    const isPair = event[end] === CR && event[end + 1] === LF;
    const next = Math.min(event.length, end + (isPair ? 2 : 1));
    if (event[at] === COMMENT) comments.push(event.subarray(at, next));
    at = next;
  }
  return comments;
}
