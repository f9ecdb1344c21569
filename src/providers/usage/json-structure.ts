import { CLOSE_ARRAY, CLOSE_OBJECT, OPEN_ARRAY, OPEN_OBJECT, QUOTE } from "./json-syntax.ts";

const STRUCTURE = [QUOTE, OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] as const;
const UNKNOWN = -1;

/**
 * Finds the next quote or bracket in a chunk. A native search for one byte is a hundred times as fast as a loop, and the
 * five places are remembered, so that the chunk is searched once for each of them however many stretches are asked for.
 */
export class StructureSearch {
  readonly #places = STRUCTURE.map(() => UNKNOWN);

  /** Another chunk follows. */
  reset(): void {
    this.#places.fill(UNKNOWN);
  }

  /** Index of the first quote or bracket at or behind `from`, which never goes back within a chunk; `to` when none is before it. */
  next(chunk: Buffer, from: number, to: number): number {
    let first = to;
    for (let n = 0; n < STRUCTURE.length; n++) {
      let place = this.#places[n] ?? UNKNOWN;
      if (place < from) {
        const found = chunk.indexOf(STRUCTURE[n] ?? 0, from);
        place = found === -1 ? Number.POSITIVE_INFINITY : found;
        this.#places[n] = place;
      }
      if (place < first) first = place;
    }
    return first;
  }
}
