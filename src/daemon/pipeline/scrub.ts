import { secretBuffer } from "../../secret.ts";
import type { Found, Needles } from "./needles.ts";

/**
 * Takes secrets out of bytes on their way to the client (guarantee G6). What has passed is gone, so what may become a
 * match with the next chunk is held back, and nothing else: a server-sent event ends with a line break, which no key
 * has, and leaves at once.
 */

const STAR = 0x2a;

/** What stands in the place of a secret: `[sidekey:fmp-main]`. */
export function replacementFor(credential: string): Buffer {
  return Buffer.from(`[sidekey:${credential}]`, "latin1");
}

export interface ScrubberOptions {
  readonly needles: Needles;
  readonly replacement: Buffer;
  /** The replacement is cut or filled up to the length of what it replaces: in binary data every byte has its place. */
  readonly sameLength: boolean;
}

/** One stream of bytes. */
export class Scrubber {
  readonly #options: ScrubberOptions;
  #held: Buffer | null = null;
  /** How many secrets were taken out. */
  count = 0;

  constructor(options: ScrubberOptions) {
    this.#options = options;
  }

  /**
   * The bytes that may go on now, in order. `chunk` is owned from here on: secrets in it are overwritten, and it may be
   * one of the pieces itself.
   * @param last nothing comes behind it, so nothing is held back
   * @throws Error when the needles have been wiped
   */
  push(chunk: Buffer, last: boolean): Buffer[] {
    const data = this.#joined(chunk);
    const { needles } = this.#options;
    const found = needles.search(data);
    const end = last ? data.length : this.#hold(data, found);
    if (found === null) return end === 0 ? [] : [end === data.length ? data : data.subarray(0, end)];
    this.count += found.length;
    return this.#without(data, found, end);
  }

  /** What was held back for more, when nothing more comes. */
  end(): Buffer[] {
    const held = this.#held;
    this.#held = null;
    return held === null ? [] : [held];
  }

  #joined(chunk: Buffer): Buffer {
    const held = this.#held;
    if (held === null) return chunk;
    this.#held = null;
    const data = Buffer.concat([held, chunk]);
    // A key that was cut lies in both of them.
    held.fill(0);
    chunk.fill(0);
    return data;
  }

  /** Keeps what may go on with the next chunk in a Buffer of its own; returns where it began. */
  #hold(data: Buffer, found: readonly Found[] | null): number {
    const from = Math.max(this.#options.needles.tail(data), found?.at(-1)?.end ?? 0);
    if (from === data.length) return from;
    this.#held = secretBuffer(data.length - from);
    data.copy(this.#held, 0, from);
    data.fill(0, from);
    return from;
  }

  #without(data: Buffer, found: readonly Found[], end: number): Buffer[] {
    const { replacement, sameLength } = this.#options;
    const pieces: Buffer[] = [];
    let from = 0;
    for (const match of found) {
      const place = data.subarray(match.start, match.end);
      place.fill(STAR);
      if (sameLength) {
        replacement.copy(place);
        continue;
      }
      if (match.start > from) pieces.push(data.subarray(from, match.start));
      pieces.push(replacement);
      from = match.end;
    }
    if (end > from) pieces.push(data.subarray(from, end));
    return pieces;
  }
}

/** All at once, for what is whole: a header's value, a reason phrase. Null when nothing was found. */
export function scrubWhole(bytes: Buffer, needles: Needles, replacement: Buffer): Buffer | null {
  if (needles.search(bytes) === null) return null;
  return Buffer.concat(new Scrubber({ needles, replacement, sameLength: false }).push(bytes, true));
}
