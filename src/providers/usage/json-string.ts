import { BACKSLASH, QUOTE } from "./json-syntax.ts";

/** What `find` says when the string goes on in the next chunk, and when these bytes cannot be in a JSON string. */
export const NOT_HERE = -1;
export const NOT_JSON = -2;

/** How far a string is read byte by byte before the faster search pays for its call. */
const NEAR_BYTES = 8;

/** Finds the quote that ends a JSON string whose bytes come in chunks. */
export class StringEnd {
  /** Whether the last byte that was read takes its meaning from the next one. */
  #escaped = false;

  reset(): void {
    this.#escaped = false;
  }

  /**
   * @param from where the string, or the rest of it, begins
   * @returns the index of the quote, `NOT_HERE` or `NOT_JSON`
   */
  find(chunk: Buffer, from: number, to: number): number {
    let at = this.#escaped && from < to ? from + 1 : from;
    if (from < to) this.#escaped = false;
    for (const near = Math.min(to, at + NEAR_BYTES); at < near; at++) {
      const byte = chunk[at] ?? 0;
      if (byte === QUOTE) return at;
      // A line end in a string would join what the provider kept apart (RFC 8259 section 7).
      if (byte < 0x20) return NOT_JSON;
      if (byte !== BACKSLASH) continue;
      this.#escaped = at + 1 === to;
      at++;
    }
    return at < to ? this.#far(chunk, at, to) : NOT_HERE;
  }

  /** A quote behind an odd number of backslashes is part of the text. */
  #far(chunk: Buffer, from: number, to: number): number {
    for (let at = from; ; ) {
      const found = chunk.indexOf(QUOTE, at);
      const quote = found === -1 || found >= to ? to : found;
      const escaped = backslashesBefore(chunk, at, quote) % 2 === 1;
      if (quote === to) {
        this.#escaped = escaped;
        return NOT_HERE;
      }
      if (!escaped) return quote;
      at = quote + 1;
      if (at === to) return NOT_HERE;
    }
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
