/** Reads exact numbers of bytes from a stream of Buffers, keeping no more of it in memory than was asked for. */
export class ByteReader {
  readonly #source: AsyncIterator<Buffer | string>;
  #pending: Buffer = Buffer.alloc(0);
  #taken = 0;
  #ended = false;

  constructor(source: AsyncIterable<Buffer | string>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Bytes handed out so far. */
  get taken(): number {
    return this.#taken;
  }

  /** Exactly `bytes`, or what is left when the source ends before. */
  async take(bytes: number): Promise<Buffer> {
    if (this.#pending.length >= bytes) return this.#split(bytes);
    const parts: Buffer[] = [];
    let missing = bytes;
    while (missing > 0) {
      const part = await this.some(missing);
      if (part.length === 0) break;
      parts.push(part);
      missing -= part.length;
    }
    return Buffer.concat(parts);
  }

  /** At least one byte and at most `most`; none at the end. */
  async some(most: number): Promise<Buffer> {
    while (this.#pending.length === 0 && !this.#ended) await this.#pull();
    return this.#split(Math.min(most, this.#pending.length));
  }

  /** Lets go of the source; safe to call twice. */
  async close(): Promise<void> {
    this.#ended = true;
    this.#pending = Buffer.alloc(0);
    await this.#source.return?.();
  }

  async #pull(): Promise<void> {
    const next = await this.#source.next();
    if (typeof next.value === "string") throw new Error("internal: bytes were decoded to text on the way");
    if (next.done === true) this.#ended = true;
    else this.#pending = next.value;
  }

  #split(bytes: number): Buffer {
    const part = this.#pending.subarray(0, bytes);
    this.#pending = this.#pending.subarray(bytes);
    this.#taken += part.length;
    return part;
  }
}
