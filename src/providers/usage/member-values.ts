const NOWHERE = -1;
const NOTHING: Buffer = Buffer.alloc(0);

/**
 * What was found at the paths of a document. A captured value is first only a place in the chunk that is being read, and
 * gets bytes of its own when the chunk goes: most values are never looked at.
 */
export class MemberValues {
  readonly #bytes: (Buffer | null)[];
  readonly #from: number[];
  readonly #to: number[];
  #chunk: Buffer = NOTHING;
  /** How many values are places in the chunk. */
  #places = 0;
  readonly sizes: number[];
  readonly counts: number[];

  constructor(members: number) {
    this.#bytes = new Array<Buffer | null>(members).fill(null);
    this.#from = new Array<number>(members).fill(NOWHERE);
    this.#to = new Array<number>(members).fill(NOWHERE);
    this.sizes = new Array<number>(members).fill(0);
    this.counts = new Array<number>(members).fill(0);
  }

  /** Null when there is none. Good as long as nothing is changed here. */
  value(member: number): Buffer | null {
    const from = this.#from[member] ?? NOWHERE;
    return from === NOWHERE ? (this.#bytes[member] ?? null) : this.#chunk.subarray(from, this.#to[member]);
  }

  /** 0 when there is no value. */
  firstByte(member: number): number {
    const from = this.#from[member] ?? NOWHERE;
    return (from === NOWHERE ? this.#bytes[member]?.[0] : this.#chunk[from]) ?? 0;
  }

  /** @returns whether the bytes that follow are those of another chunk than before */
  read(chunk: Buffer): boolean {
    if (chunk === this.#chunk) return false;
    this.settle();
    this.#chunk = chunk;
    return true;
  }

  /** @param bytes the chunk that is being read, or bytes that nobody else has */
  put(member: number, bytes: Buffer, from: number, to: number): void {
    this.drop(member);
    if (bytes !== this.#chunk) {
      this.#bytes[member] = bytes;
      return;
    }
    this.#from[member] = from;
    this.#to[member] = to;
    this.#places += 1;
  }

  drop(member: number): void {
    this.#bytes[member] = null;
    if (this.#from[member] === NOWHERE) return;
    this.#from[member] = NOWHERE;
    this.#places -= 1;
  }

  add(member: number, count: number, size: number): void {
    this.counts[member] = (this.counts[member] ?? 0) + count;
    this.sizes[member] = (this.sizes[member] ?? 0) + size;
  }

  /** Copies what is still only a place in the chunk, which may change afterwards. */
  settle(): void {
    for (let member = 0; this.#places > 0 && member < this.#from.length; member++) {
      const from = this.#from[member] ?? NOWHERE;
      if (from === NOWHERE) continue;
      const bytes = Buffer.from(this.#chunk.subarray(from, this.#to[member]));
      this.drop(member);
      this.#bytes[member] = bytes;
    }
    this.#chunk = NOTHING;
  }

  reset(): void {
    this.#bytes.fill(null);
    this.#from.fill(NOWHERE);
    this.#places = 0;
    this.sizes.fill(0);
    this.counts.fill(0);
  }
}
