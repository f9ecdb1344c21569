import type { RequestBody } from "./request-body.ts";

/**
 * Clients that hold an exchange, and with it a connection to the provider, by sending or reading next to nothing
 * (threats L1). Looked at from time to time and for all exchanges together, so that nothing is spent on each request.
 */

/** Bytes of a request body that must come in the time allowed, whenever sidekey waits for them. */
const LEAST_BODY_BYTES = 1024;
/**
 * Bytes of an answer that a client must take in the time allowed, whenever any wait for it: a kilobyte a second. A larger
 * piece has as much more time, because nothing can be seen of it until it is gone.
 */
const LEAST_READ_BYTES = 32 * 1024;
/** Looks within the time allowed, so that it is kept to a sixth. */
const LOOKS = 6;
const LONGEST_LOOK_MS = 5_000;

/** The way back to one client, as far as its speed is concerned. */
export interface Paced {
  /** Bytes that wait for the client to take them. */
  readonly pending: number;
  /** Bytes that it has been given so far, pending ones included. */
  readonly handed: number;
  /** What the client still sends; null when there is nothing to wait for. */
  readonly requestBody: RequestBody | null;
  /** Ends a connection or stream that is read too slowly. */
  hangUp(): void;
}

/** One exchange whose last byte has not left for the client yet. */
export interface OpenExchange {
  readonly client: Paced;
  /** Its place in the list. */
  place: number;
  readonly reading: Progress;
  readonly sending: Progress;
}

/** How long one side has been waited for, and how far it had come then. */
interface Progress {
  /** Null while nobody waits. */
  sinceMs: number | null;
  from: number;
}

export interface SlowClientsOptions {
  /** How long a client may be slow. */
  readonly allowedMs: number;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** A reader was cut off. (A slow body is an answer of its exchange, which tells of it.) */
  readonly hungUp: () => void;
}

/**
 * All open exchanges. A list whose places are used again and not a Set: a Set that changes with every request keeps
 * what was deleted from it alive through the garbage collector's generations, and with it the request (4 KB, measured).
 */
export class SlowClients {
  readonly #open: OpenExchange[] = [];
  readonly #options: SlowClientsOptions;
  readonly #timer: NodeJS.Timeout;

  constructor(options: SlowClientsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.look(), Math.min(LONGEST_LOOK_MS, Math.ceil(options.allowedMs / LOOKS)));
    this.#timer.unref();
  }

  /** Answers whose last byte has not left yet. */
  get size(): number {
    return this.#open.length;
  }

  begin(client: Paced): OpenExchange {
    const exchange: OpenExchange = {
      client,
      place: this.#open.length,
      reading: { sinceMs: null, from: 0 },
      sending: { sinceMs: null, from: 0 },
    };
    this.#open.push(exchange);
    return exchange;
  }

  end(exchange: OpenExchange): void {
    const last = this.#open.pop();
    if (last === undefined || last === exchange) return;
    last.place = exchange.place;
    this.#open[exchange.place] = last;
  }

  /** Ends what is too slow. */
  look(): void {
    const nowMs = this.#options.now();
    for (const exchange of [...this.#open]) this.#check(exchange, nowMs);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #check({ client, reading, sending }: OpenExchange, nowMs: number): void {
    const { allowedMs, hungUp } = this.#options;
    const { pending, requestBody } = client;
    const patience = allowedMs * (1 + pending / LEAST_READ_BYTES);
    if (stuck(reading, pending > 0, client.handed - pending, LEAST_READ_BYTES, patience, nowMs)) {
      hungUp();
      client.hangUp();
      return;
    }
    const waiting = requestBody?.waiting === true;
    if (stuck(sending, waiting, requestBody?.received ?? 0, LEAST_BODY_BYTES, allowedMs, nowMs)) requestBody?.tooSlow();
  }
}

/**
 * True when a side that is waited for has not come `least` bytes further within `patienceMs`. What it has done before
 * counts for nothing: who was fast for an hour must not hold on for an hour.
 */
function stuck(
  progress: Progress,
  waiting: boolean,
  at: number,
  least: number,
  patienceMs: number,
  nowMs: number,
): boolean {
  if (!waiting) {
    progress.sinceMs = null;
    return false;
  }
  if (progress.sinceMs === null || at - progress.from >= least) {
    progress.sinceMs = nowMs;
    progress.from = at;
    return false;
  }
  return nowMs - progress.sinceMs > patienceMs;
}
