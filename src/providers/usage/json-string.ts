import { BACKSLASH, QUOTE } from "./json-syntax.ts";

/** What `find` says when the string goes on in the next chunk. */
export const NOT_HERE = -1;

const UNKNOWN = -1;
/** How far a string is read byte by byte before the faster search pays for its call. */
const NEAR_BYTES = 8;

/**
 * Finds the quote that ends a JSON string whose bytes come in chunks. Of what JSON forbids in a string, control
 * characters, nothing is noticed: it would take another look at every byte.
 */
export class StringEnd {
  /** Whether the last byte that was read takes its meaning from the next one. */
  #escaped = false;
  /** The last quote that was searched for, so that a chunk is not searched anew for every string in front of it. */
  #quote = UNKNOWN;

  /** Another document follows. */
  reset(): void {
    this.#escaped = false;
  }

  /** Another chunk follows. */
  turn(): void {
    this.#quote = UNKNOWN;
  }

  /**
   * @param from where the string, or the rest of it, begins; never goes back within a chunk
   * @returns the index of the quote, or `NOT_HERE`
   */
  find(chunk: Buffer, from: number, to: number): number {
    let at = this.#escaped && from < to ? from + 1 : from;
    if (from < to) this.#escaped = false;
    for (const near = Math.min(to, at + NEAR_BYTES); at < near; at++) {
      const byte = chunk[at];
      if (byte === QUOTE) return at;
      if (byte !== BACKSLASH) continue;
      this.#escaped = at + 1 === to;
      at++;
    }
    return at < to ? this.#far(chunk, at, to) : NOT_HERE;
  }

  /** A quote behind an odd number of backslashes is part of the text. */
  #far(chunk: Buffer, from: number, to: number): number {
    for (let at = from; at < to; ) {
      const quote = Math.min(to, this.#nextQuote(chunk, at));
      const escaped = backslashesBefore(chunk, at, quote) % 2 === 1;
      if (quote === to) this.#escaped = escaped;
      if (quote < to && !escaped) return quote;
      at = quote + 1;
    }
    return NOT_HERE;
  }

  #nextQuote(chunk: Buffer, from: number): number {
    if (this.#quote < from) {
      const found = chunk.indexOf(QUOTE, from);
      this.#quote = found === -1 ? Number.POSITIVE_INFINITY : found;
    }
    return this.#quote;
  }
}

function backslashesBefore(chunk: Buffer, from: number, end: number): number {
  let at = end;
  while (at > from && chunk[at - 1] === BACKSLASH) at--;
  return end - at;
}

/** Index of the quote that ends the string which begins at `from`; `NOT_HERE` when there is none before `to`. */
export function stringEnd(bytes: Buffer, from: number, to: number): number {
  return new StringEnd().find(bytes, from, to);
}

/** The text of a JSON string between its quotes; null when it has an escape that JSON does not know. */
export function jsonText(raw: Buffer): string | null {
  const text = raw.toString("utf8");
  if (!text.includes("\\")) return text;
  try {
    return String(JSON.parse(`"${text}"`));
  } catch {
    return null;
  }
}
