const FIRST_CAPACITY = 8;

/** Times in ascending order (integer microseconds), oldest first; grows with what it holds. */
export class GrantRing {
  #times = new Float64Array(FIRST_CAPACITY);
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Time number `index`, counted from the oldest. */
  at(index: number): number {
    if (index < 0 || index >= this.#length) throw new Error("internal: no such grant");
    return this.#times[this.#slot(index)] ?? 0;
  }

  /** `time` must not be before the newest. */
  push(time: number): void {
    if (this.#length === this.#times.length) this.#grow();
    this.#times[this.#slot(this.#length)] = time;
    this.#length++;
  }

  /** Removes and returns the oldest. */
  shift(): number {
    const time = this.at(0);
    this.#head = this.#slot(1);
    this.#length--;
    return time;
  }

  /** Removes one grant of exactly this time; false when there is none. */
  remove(time: number): boolean {
    const index = this.countUpTo(time) - 1;
    if (index < 0 || this.at(index) !== time) return false;
    for (let i = index; i < this.#length - 1; i++) this.#times[this.#slot(i)] = this.at(i + 1);
    this.#length--;
    return true;
  }

  /** How many times are at or before `time`. */
  countUpTo(time: number): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.at(middle) <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  toArray(): number[] {
    return Array.from({ length: this.#length }, (_, index) => this.at(index));
  }

  #slot(index: number): number {
    return (this.#head + index) % this.#times.length;
  }

  #grow(): void {
    const larger = new Float64Array(this.#times.length * 2);
    larger.set(this.toArray());
    this.#times = larger;
    this.#head = 0;
  }
}
