import type { Dispatcher, Pool } from "undici";
import { ProxyError } from "./errors.ts";

/**
 * The pools of upstream sockets, one for each (client, route, authority), with what the HTTP library does not bound:
 * how many requests wait for a socket, and how many pools there are.
 */

/**
 * Requests that may wait in a pool for each of its sockets. With the default bounds this is as many as one client may
 * have in flight, so only requests whose client has gone already, or an operator's smaller pool, ever fill it.
 */
const WAITING_PER_SOCKET = 3;
/** Live pools; the ones without a request are dropped first. */
const MAX_POOLS = 1024;

/** What a request needs of its pool. */
export type Upstream = Pick<Dispatcher, "dispatch">;

export interface UpstreamPoolsOptions {
  readonly socketsPerPool: number;
  readonly maxPools?: number;
}

export class UpstreamPools {
  readonly #pools = new Map<string, CountedPool>();
  readonly #maxInFlight: number;
  readonly #maxPools: number;

  constructor(options: UpstreamPoolsOptions) {
    this.#maxInFlight = options.socketsPerPool * (1 + WAITING_PER_SOCKET);
    this.#maxPools = options.maxPools ?? MAX_POOLS;
  }

  get size(): number {
    return this.#pools.size;
  }

  /**
   * The pool of this name, made when there is none.
   * @throws ProxyError overloaded: it has no room for another request, or there is none for another pool
   */
  get(key: string, make: () => Pool): Upstream {
    const found = this.#pools.get(key);
    if (found) {
      if (found.inFlight >= this.#maxInFlight) {
        throw overloaded("too many requests wait for a connection to this provider", "upstream_queue");
      }
      return found;
    }
    if (this.#pools.size >= this.#maxPools) this.#dropIdle();
    const created = new CountedPool(make(), () => this.#forget(key, created));
    this.#pools.set(key, created);
    return created;
  }

  async close(): Promise<void> {
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(pools.map((counted) => counted.pool.destroy()));
  }

  /** Makes room for a new pool. @throws ProxyError overloaded */
  #dropIdle(): void {
    for (const [key, counted] of this.#pools) {
      if (counted.inFlight > 0) continue;
      this.#forget(key, counted);
      return;
    }
    throw overloaded("connections to too many places are in use", "upstream_pools");
  }

  #forget(key: string, counted: CountedPool): void {
    if (this.#pools.get(key) === counted) this.#pools.delete(key);
    counted.pool.close().catch(() => {});
  }
}

/**
 * Knows how many requests and sockets its pool has. The library counts by asking every one of its connections, which
 * for thousands of them costs more than the request.
 */
class CountedPool implements Upstream {
  readonly pool: Pool;
  readonly #unused: () => void;
  inFlight = 0;
  #sockets = 0;

  /** @param unused called when neither a request nor a socket is left, so that pools follow live traffic */
  constructor(pool: Pool, unused: () => void) {
    this.pool = pool;
    this.#unused = unused;
    pool.on("connect", () => this.#sockets++);
    pool.on("disconnect", () => {
      this.#sockets--;
      this.#mayBeUnused();
    });
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    this.inFlight++;
    return this.pool.dispatch(
      options,
      new CountedHandler(handler, () => {
        this.inFlight--;
        this.#mayBeUnused();
      }),
    );
  }

  #mayBeUnused(): void {
    if (this.#sockets === 0 && this.inFlight === 0) this.#unused();
  }
}

/** Passes everything on, and says once that the request has ended. */
class CountedHandler implements Dispatcher.DispatchHandler {
  readonly #handler: Dispatcher.DispatchHandler;
  #ended: (() => void) | null;

  constructor(handler: Dispatcher.DispatchHandler, ended: () => void) {
    this.#handler = handler;
    this.#ended = ended;
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    this.#handler.onRequestStart?.(controller, context);
  }

  onBodySent(chunk: Buffer): void {
    this.#handler.onBodySent?.(chunk);
  }

  onResponseStart(...head: Parameters<NonNullable<Dispatcher.DispatchHandler["onResponseStart"]>>): void {
    this.#handler.onResponseStart?.(...head);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#handler.onResponseData?.(controller, chunk);
  }

  onRequestUpgrade(...upgrade: Parameters<NonNullable<Dispatcher.DispatchHandler["onRequestUpgrade"]>>): void {
    this.#end();
    this.#handler.onRequestUpgrade?.(...upgrade);
  }

  onResponseEnd(...end: Parameters<NonNullable<Dispatcher.DispatchHandler["onResponseEnd"]>>): void {
    this.#end();
    this.#handler.onResponseEnd?.(...end);
  }

  onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    this.#end();
    this.#handler.onResponseError?.(controller, error);
  }

  #end(): void {
    const ended = this.#ended;
    this.#ended = null;
    ended?.();
  }
}

function overloaded(message: string, reason: string): ProxyError {
  return new ProxyError("overloaded", message, { reason, fields: ["Retry-After", "1"] });
}
