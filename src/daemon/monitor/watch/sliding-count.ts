/** Counts of the last `slices` × `sliceMs` milliseconds, exact to a slice. A clock that goes back stands still. */
export class SlidingCount {
  readonly #sliceMs: number;
  readonly #slices: number[];
  /** Number of the newest slice, since the epoch. */
  #newest = 0;

  constructor(slices: number, sliceMs: number) {
    this.#slices = new Array<number>(slices).fill(0);
    this.#sliceMs = sliceMs;
  }

  add(nowMs: number): void {
    this.#moveTo(nowMs);
    const at = this.#newest % this.#slices.length;
    this.#slices[at] = (this.#slices[at] ?? 0) + 1;
  }

  sum(nowMs: number): number {
    this.#moveTo(nowMs);
    let sum = 0;
    for (const count of this.#slices) sum += count;
    return sum;
  }

  #moveTo(nowMs: number): void {
    const slice = Math.floor(nowMs / this.#sliceMs);
    const steps = Math.min(slice - this.#newest, this.#slices.length);
    for (let step = 0; step < steps; step++) this.#slices[(slice - step) % this.#slices.length] = 0;
    this.#newest = Math.max(this.#newest, slice);
  }
}
