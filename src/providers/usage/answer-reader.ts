import { type EventSink, EventStream } from "./event-stream.ts";
import { JsonMembers } from "./json-members.ts";
import type { MemberSet } from "./member-set.ts";
import type { AnswerHead, UsageFigure, UsageReader } from "./usage.ts";

/** How an answer ended. */
export interface AnswerEnd {
  /** False when it broke off. */
  readonly complete: boolean;
  /** Length of the decoded body in bytes. */
  readonly bytes: number;
  /** The stream said by `[DONE]` that nothing more would come. */
  readonly done: boolean;
  /** Whether the body, when it is one JSON document, was whole. */
  readonly whole: boolean;
}

/** Puts together what the JSON documents of an answer tell: one, or one for each event. */
export interface Tally<K extends string> {
  document(members: JsonMembers<K>): void;
  figure(end: AnswerEnd): UsageFigure;
}

interface Framing {
  write(chunk: Buffer): void;
  end(): void;
  readonly done: boolean;
  readonly whole: boolean;
}

/** Never JSON, whatever the first byte is. */
const BINARY = /^(?:audio|image|video|font|multipart)\/|^application\/(?:octet-stream|pdf|zip)\b/;
const LINES = /ndjson|jsonl|stream\+json/;
const DONE = Buffer.from("[DONE]");
const OPEN_ARRAY = 0x5b;
const OPEN_OBJECT = 0x7b;

/**
 * Reads an answer that is JSON, JSON in lines or server-sent events, by its Content-Type, else by its first byte.
 * @param window how many bytes of a single document are looked at; the rest passes unread
 */
export function answerReader<K extends string>(
  answer: AnswerHead,
  set: MemberSet<K>,
  tally: Tally<K>,
  window = Number.POSITIVE_INFINITY,
): UsageReader {
  let framing = framingByType(answer.contentType, set, tally, window);
  let bytes = 0;
  return {
    data(chunk) {
      bytes += chunk.length;
      framing ??= framingByByte(chunk, set, tally, window);
      framing?.write(chunk);
    },
    end(complete) {
      framing?.end();
      return tally.figure({ complete, bytes, done: framing?.done ?? false, whole: framing?.whole ?? false });
    },
  };
}

function framingByType<K extends string>(
  type: string,
  set: MemberSet<K>,
  tally: Tally<K>,
  window: number,
): Framing | null {
  if (type.startsWith("text/event-stream")) return new Events(set, tally);
  if (BINARY.test(type)) return UNREAD;
  if (LINES.test(type)) return new Lines(set, tally);
  return /^application\/(?:[\w.+-]+\+)?json\b/.test(type) ? new Document(set, tally, window) : null;
}

/** Null while there were only blanks. A stream of events never begins with a bracket, a document always does. */
function framingByByte<K extends string>(
  chunk: Buffer,
  set: MemberSet<K>,
  tally: Tally<K>,
  window: number,
): Framing | null {
  const first = chunk.find((byte) => byte > 0x20);
  if (first === undefined) return null;
  if (first === OPEN_ARRAY || first === OPEN_OBJECT) return new Document(set, tally, window);
  return new Events(set, tally);
}

const UNREAD: Framing = { write: () => undefined, end: () => undefined, done: false, whole: false };

class Document<K extends string> implements Framing {
  readonly #members: JsonMembers<K>;
  readonly #tally: Tally<K>;
  #left: number;
  readonly done = false;

  constructor(set: MemberSet<K>, tally: Tally<K>, window: number) {
    this.#members = new JsonMembers(set);
    this.#tally = tally;
    this.#left = window;
  }

  get whole(): boolean {
    return this.#members.complete;
  }

  write(chunk: Buffer): void {
    if (this.#left <= 0) return;
    this.#members.write(chunk, 0, Math.min(chunk.length, this.#left));
    this.#members.settle();
    this.#left -= chunk.length;
  }

  end(): void {
    this.#tally.document(this.#members);
  }
}

class Lines<K extends string> implements Framing {
  readonly #members: JsonMembers<K>;
  readonly #tally: Tally<K>;
  readonly done = false;
  readonly whole = true;

  constructor(set: MemberSet<K>, tally: Tally<K>) {
    this.#members = new JsonMembers(set);
    this.#tally = tally;
  }

  write(chunk: Buffer): void {
    for (let at = 0; at < chunk.length && !this.#members.broken; ) {
      at = this.#members.write(chunk, at);
      if (!this.#members.complete) continue;
      this.#tally.document(this.#members);
      this.#members.reset();
    }
    this.#members.settle();
  }

  end(): void {}
}

class Events<K extends string> implements Framing, EventSink {
  readonly #members: JsonMembers<K>;
  readonly #tally: Tally<K>;
  readonly #stream = new EventStream(this);
  /** How many bytes of `[DONE]` the event's data has had and nothing else; -1 when it is something else. */
  #matched = 0;
  done = false;
  readonly whole = true;

  constructor(set: MemberSet<K>, tally: Tally<K>) {
    this.#members = new JsonMembers(set);
    this.#tally = tally;
  }

  write(chunk: Buffer): void {
    this.#stream.write(chunk);
    this.#members.settle();
  }

  data(chunk: Buffer, from: number, to: number): void {
    for (let at = from; at < to && this.#matched !== -1; at++) {
      this.#matched = chunk[at] === DONE[this.#matched] ? this.#matched + 1 : -1;
    }
    this.#members.write(chunk, from, to);
  }

  /** An event that is no whole JSON document tells a client nothing, and so nothing here. */
  event(): void {
    if (this.#matched === DONE.length) this.done = true;
    else if (this.#members.complete) this.#tally.document(this.#members);
    this.#matched = 0;
    this.#members.reset();
  }

  end(): void {}
}
