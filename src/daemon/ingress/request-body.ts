import { Readable } from "node:stream";
import { ProxyError } from "../pipeline/errors.ts";

/**
 * The body as a stream of its own: who reads it destroys it when done with it, and the client's
 * connection (or stream) must stay alive for the answer.
 */
export class RequestBody extends Readable {
  readonly #source: Readable;
  /** Bytes that have come from the client. */
  received = 0;
  #flowing = true;
  #ended = false;

  constructor(source: Readable) {
    super();
    this.#source = source;
    // A request that was refused has nobody who reads its body, and so nobody who hears of its end.
    this.on("error", ignore);
    const broken = (): void => {
      if (!this.#ended) this.destroy(new ProxyError("client_closed", "the client broke off its request"));
    };
    source.once("aborted", broken).once("error", broken).once("close", broken);
    source.on("data", this.#take).once("end", this.#end);
  }

  /** True while there is room for more and the client has not sent it. */
  get waiting(): boolean {
    return this.#flowing && !this.#ended && !this.destroyed;
  }

  /** Ends a body that comes too slowly; the request is answered with what it waits for. */
  tooSlow(): void {
    this.destroy(
      new ProxyError("bad_request", "the request body comes too slowly; send at least 1 KiB in the time allowed", {
        status: 408,
        reason: "slow_body",
      }),
    );
  }

  override _read(): void {
    if (this.#flowing || this.#ended) return;
    this.#flowing = true;
    this.#source.resume();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#source.off("data", this.#take).off("end", this.#end);
    // What nobody wants is not read any further: the way back decides what becomes of it.
    if (!this.#ended) this.#source.pause();
    done(error);
  }

  readonly #take = (chunk: Buffer): void => {
    this.received += chunk.length;
    if (this.push(chunk)) return;
    this.#flowing = false;
    this.#source.pause();
  };

  readonly #end = (): void => {
    this.#ended = true;
    this.push(null);
  };
}

function ignore(): void {}
