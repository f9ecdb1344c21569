/** Takes the data of server-sent events, one event after the other. */
export interface EventSink {
  /** Bytes of the event's `data`, in order; its lines are joined by a line feed. The chunk is not kept. */
  data(chunk: Buffer, from: number, to: number): void;
  /** The event is complete. */
  event(): void;
}

const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf] as const;
const LINE_FEED = Buffer.from("\n");
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const COLON = 0x3a;
/** The only field that is read: no provider says in `event`, `id` or `retry` what its data does not say too. */
const DATA = [0x64, 0x61, 0x74, 0x61] as const;

type Place = "mark" | "name" | "colon" | "data" | "other";

/**
 * Finds the data of server-sent events in bytes that are split anywhere (WHATWG HTML section 9.2.6). Nothing is
 * collected: the sink sees the data as it passes. An event at the end of the stream without its blank line is none.
 */
export class EventStream {
  readonly #sink: EventSink;
  #place: Place = "mark";
  /** How many bytes of the byte order mark, or of the field's name, were seen. */
  #matched = 0;
  #lineIsEmpty = true;
  #hasData = false;
  /** A line feed behind a carriage return belongs to the same line end. */
  #afterReturn = false;

  constructor(sink: EventSink) {
    this.#sink = sink;
  }

  write(chunk: Buffer): void {
    let nextReturn = chunk.indexOf(CR);
    for (let at = 0; at < chunk.length; ) {
      if (this.#place === "data" || this.#place === "other") {
        if (nextReturn !== -1 && nextReturn < at) nextReturn = chunk.indexOf(CR, at);
        at = this.#toLineEnd(chunk, at, nextReturn);
      } else at = this.#lineStart(chunk[at] ?? 0, at);
    }
  }

  /** The bytes of a line that say what it is. */
  #lineStart(byte: number, at: number): number {
    if (this.#place === "mark") return this.#mark(byte, at);
    if (byte === LF || byte === CR) return this.#lineEnd(byte, at);
    this.#afterReturn = false;
    this.#lineIsEmpty = false;
    if (this.#place === "colon") {
      this.#place = "data";
      return byte === SPACE ? at + 1 : at;
    }
    if (this.#matched < DATA.length && byte === DATA[this.#matched]) this.#matched += 1;
    else if (this.#matched === DATA.length && byte === COLON) this.#beginData();
    else this.#place = "other";
    return at + 1;
  }

  #mark(byte: number, at: number): number {
    if (byte === BYTE_ORDER_MARK[this.#matched]) {
      this.#matched += 1;
      if (this.#matched === BYTE_ORDER_MARK.length) this.#nextLine();
      return at + 1;
    }
    // Part of a mark is the beginning of a line that is no field.
    const partial = this.#matched > 0;
    this.#nextLine();
    if (partial) this.#place = "other";
    this.#lineIsEmpty = !partial;
    return at;
  }

  #beginData(): void {
    if (this.#hasData) this.#sink.data(LINE_FEED, 0, 1);
    this.#hasData = true;
    this.#place = "colon";
  }

  /** @param nextReturn where the next carriage return is, -1 when there is none */
  #toLineEnd(chunk: Buffer, at: number, nextReturn: number): number {
    const feed = chunk.indexOf(LF, at);
    const first = feed === -1 ? chunk.length : feed;
    const end = nextReturn === -1 ? first : Math.min(first, nextReturn);
    if (this.#place === "data" && end > at) this.#sink.data(chunk, at, end);
    return end === chunk.length ? end : this.#lineEnd(chunk[end] ?? 0, end);
  }

  #lineEnd(byte: number, at: number): number {
    const isSecondHalf = byte === LF && this.#afterReturn && this.#lineIsEmpty;
    this.#afterReturn = byte === CR;
    if (isSecondHalf) return at + 1;
    // A field without a colon has an empty value.
    if (this.#place === "name" && this.#matched === DATA.length) this.#beginData();
    if (this.#lineIsEmpty && this.#hasData) {
      this.#hasData = false;
      this.#sink.event();
    }
    this.#nextLine();
    return at + 1;
  }

  #nextLine(): void {
    this.#place = "name";
    this.#matched = 0;
    this.#lineIsEmpty = true;
  }
}
