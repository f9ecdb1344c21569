import { ProxyError } from "./errors.ts";
import type { Identity } from "./exchange.ts";
import { FairTurns } from "./fair-turns.ts";

/**
 * Admission (threats L6): who may begin an exchange when there is more to do than can be done. What has no place is
 * refused before anything is spent on it, and the one who takes more than its share is refused first: a client under
 * its share never notices another's flood.
 */

/** Lateness of the event loop, smoothed, from which it counts as saturated, and to which it must fall again. */
const SATURATED_MS = 250;
const RECOVERED_MS = 100;
/** Weight of the newest lateness: one long pause alone (a large policy, a garbage collection) is no overload. */
const NEWEST = 0.3;
/** Ticks in which the clients' arrivals are counted before they are compared. */
const WINDOW_TICKS = 5;
/** A client may always begin so many exchanges in a window; below that there is nothing to gain. */
const SMALLEST_SHARE = 16;
/** Windows without an exchange after which a client is forgotten: about a minute. */
const FORGOTTEN_WINDOWS = 240;
/** Clients under their share find a place even when others fill all of them, up to this multiple. */
const RESERVE = 2;

export interface OverloadOptions {
  /** Exchanges that one client may have in flight. */
  readonly maxPerClient: number;
  /** Exchanges of all clients together from which on only clients under their share begin another one. */
  readonly maxInFlight: number;
  /** Calls back in the next round of the event loop. */
  readonly nextTurn: (run: () => void) => void;
}

/** What the gate needs of an exchange. */
export interface Entrant {
  readonly identity: Identity;
  /** Among its client's exchanges in flight. */
  counted: boolean;
}

export interface OverloadGate {
  /**
   * Null when the exchange may begin at once; else resolves when its turn has come.
   * @throws ProxyError overloaded
   */
  enter(x: Entrant): Promise<void> | null;
  /** Gives the place back, if `x` has one. */
  leave(x: Entrant): void;
  /**
   * To be called `TICK_MS` apart.
   * @param lateMs by how much the event loop was late
   */
  tick(lateMs: number): void;
  readonly saturated: boolean;
  readonly inFlight: number;
}

/** Milliseconds between two measurements of the event loop. */
export const TICK_MS = 50;

interface ClientLoad {
  inFlight: number;
  /** Exchanges begun in this window. */
  begun: number;
  /** Windows since the last exchange. */
  quietWindows: number;
  readonly waiting: (() => void)[];
}

export function createOverloadGate(options: OverloadOptions): OverloadGate {
  return new Gate(options);
}

class Gate implements OverloadGate {
  readonly #options: OverloadOptions;
  readonly #turns: FairTurns;
  /** By name; as many as the policy has clients. */
  readonly #clients = new Map<string, ClientLoad>();
  #inFlight = 0;
  /** Clients with an exchange in flight. */
  #busy = 0;
  #lagMs = 0;
  #saturated = false;
  #ticks = 0;
  /** Exchanges that each client may begin in this window while the event loop is saturated. */
  #share = SMALLEST_SHARE;

  constructor(options: OverloadOptions) {
    this.#options = options;
    this.#turns = new FairTurns(options.nextTurn);
  }

  get saturated(): boolean {
    return this.#saturated;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  enter(x: Entrant): Promise<void> | null {
    const client = this.#clientOf(x.identity.client);
    this.#refuse(x.identity.client, client);
    if (client.inFlight === 0) this.#busy++;
    client.inFlight++;
    client.begun++;
    this.#inFlight++;
    x.counted = true;
    // Alone there is nobody to be fair to.
    return this.#clients.size === 1 ? null : this.#turns.take(client);
  }

  leave(x: Entrant): void {
    if (!x.counted) return;
    x.counted = false;
    this.#inFlight--;
    const client = this.#clientOf(x.identity.client);
    client.inFlight--;
    if (client.inFlight === 0) this.#busy--;
  }

  tick(lateMs: number): void {
    this.#lagMs += (lateMs - this.#lagMs) * NEWEST;
    if (this.#lagMs >= SATURATED_MS) this.#saturated = true;
    else if (this.#lagMs <= RECOVERED_MS) this.#saturated = false;
    this.#ticks++;
    if (this.#ticks % WINDOW_TICKS === 0) this.#nextWindow();
  }

  #clientOf(name: string): ClientLoad {
    let client = this.#clients.get(name);
    if (client === undefined) {
      client = { inFlight: 0, begun: 0, quietWindows: 0, waiting: [] };
      this.#clients.set(name, client);
    }
    return client;
  }

  #refuse(name: string, client: ClientLoad): void {
    const { maxPerClient, maxInFlight } = this.#options;
    if (client.inFlight >= maxPerClient) {
      throw overloaded(`client ${name} has ${maxPerClient} requests in flight already`, "client_concurrency");
    }
    if (this.#inFlight >= maxInFlight && !this.#mayExceed(client)) throw saturated(name);
    if (this.#saturated && this.#clients.size > 1 && client.begun >= this.#share) throw saturated(name);
  }

  /** Whether a client has less in flight than its equal share of all places. */
  #mayExceed(client: ClientLoad): boolean {
    const { maxInFlight } = this.#options;
    if (this.#inFlight >= maxInFlight * RESERVE) return false;
    const busy = this.#busy + (client.inFlight === 0 ? 1 : 0);
    return client.inFlight < Math.floor(maxInFlight / busy);
  }

  /**
   * While it is saturated, a window lets in half of what the last one did, in equal shares. What a client has begun
   * counts, not what it has in flight: streams that idle are no load.
   */
  #nextWindow(): void {
    let begun = 0;
    let active = 0;
    for (const [name, client] of this.#clients) {
      begun += client.begun;
      if (client.begun > 0) active++;
      client.quietWindows = client.begun > 0 || client.inFlight > 0 ? 0 : client.quietWindows + 1;
      client.begun = 0;
      if (client.quietWindows >= FORGOTTEN_WINDOWS) this.#clients.delete(name);
    }
    this.#share = Math.max(SMALLEST_SHARE, Math.floor(begun / 2 / Math.max(1, active)));
  }
}

function saturated(client: string): ProxyError {
  return overloaded(
    `sidekey has more to do than it can, and client ${client} has its share of it already`,
    "saturated",
  );
}

function overloaded(message: string, reason: string): ProxyError {
  return new ProxyError("overloaded", message, { reason, fields: ["Retry-After", "1"] });
}
