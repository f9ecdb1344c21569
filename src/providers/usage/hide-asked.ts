import { isSame } from "./json-syntax.ts";
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
const NAMES = [Buffer.from("usage"), Buffer.from("choices")];
const NOTHING: Buffer = Buffer.alloc(0);

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
    let back = nextReturn(chunk, lineFrom);
    for (let at = lineEnd(chunk, lineFrom, back); at < chunk.length; at = lineEnd(chunk, lineFrom, back)) {
      const end = chunk[at] === CR && chunk[at + 1] === LF ? at + 2 : at + 1;
      const isBlank = at === lineFrom && this.#lineIsEmpty;
      this.#afterReturn = chunk[end - 1] === CR;
      this.#fate = isBlank ? this.#event(chunk.subarray(eventFrom, end), passed) : null;
      if (isBlank) eventFrom = end;
      this.#lineIsEmpty = true;
      lineFrom = end;
      if (back < lineFrom) back = nextReturn(chunk, lineFrom);
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

/** @param nextReturn a carriage return before which there is none behind `from`; the length when there is none at all */
function lineEnd(bytes: Buffer, from: number, nextReturn: number): number {
  const feed = bytes.indexOf(LF, from);
  return Math.min(feed === -1 ? bytes.length : feed, nextReturn);
}

function nextReturn(bytes: Buffer, from: number): number {
  const found = bytes.indexOf(CR, from);
  return found === -1 ? bytes.length : found;
}

/** What is shown of an event, its blank line included. */
function withoutAsked(event: Buffer): Buffer[] {
  if (!event.includes(USAGE)) return [event];
  const data = dataOf(event);
  const members = data && objectMembers(event, data.from, data.to, NAMES);
  const at = members?.findIndex(({ name }) => name === "usage") ?? -1;
  const usage = members?.[at];
  if (!members || !usage) return [event];
  const value = event.toString("latin1", usage.valueFrom, Math.min(usage.to, usage.valueFrom + 5));
  if (value === "null") return withoutMember(event, members, at);
  const choices = members.find(({ name }) => name === "choices");
  const isExtra = value.startsWith("{") && choices !== undefined && isEmptyArray(event, choices);
  return isExtra ? commentsOf(event) : [event];
}

interface Line {
  readonly from: number;
  /** Where its line end begins, and where the next line does. */
  readonly to: number;
  readonly next: number;
}

function linesOf(event: Buffer): Line[] {
  const lines: Line[] = [];
  let back = nextReturn(event, 0);
  for (let from = 0; from < event.length; ) {
    if (back < from) back = nextReturn(event, from);
    const to = lineEnd(event, from, back);
    const next = Math.min(event.length, event[to] === CR && event[to + 1] === LF ? to + 2 : to + 1);
    lines.push({ from, to, next });
    from = next;
  }
  return lines;
}

/** The JSON of an event whose data is one line, as all of them are; null for any other. */
function dataOf(event: Buffer): { from: number; to: number } | null {
  const data = linesOf(event).filter(({ from }) =>
    isSame(event, from, Math.min(from + DATA.length, event.length), DATA),
  );
  const [line] = data;
  return line && data.length === 1 ? { from: line.from + DATA.length, to: line.to } : null;
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
  return linesOf(event)
    .filter(({ from }) => event[from] === COMMENT)
    .map(({ from, next }) => event.subarray(from, next));
}
