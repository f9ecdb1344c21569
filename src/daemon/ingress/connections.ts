import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { classifyAddress } from "../../policy/address.ts";

/**
 * The clients' connections, before anybody knows whose they are (threats L1, L5). There are so many and so many per
 * address; when all places are taken, a new connection takes the place of one that is idle: whoever only opens
 * connections cannot keep others out.
 */

/** A connection without an exchange is closed after this time, whatever else it sends (an HTTP/2 ping, say). */
const LONGEST_IDLE_MS = 300_000;
/**
 * What a connection may send between two looks without an exchange: a head, a handshake and a little more. Beyond it are
 * only frames that ask for nothing (HTTP/2 window updates, say).
 */
const MOST_NOISE_BYTES = 64 * 1024;
/** A connection that has just begun or ended an exchange is not taken away. */
const SAFE_MS = 50;
/** Part of all places that is given up at a time when room is needed: to find the idle ones costs a look at all. */
const GIVEN_UP_SHARE = 1 / 64;

export interface ConnectionsOptions {
  readonly max: number;
  /** From one address of another machine; on loopback all clients have the same one, so there `max` alone counts. */
  readonly maxPerAddress: number;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly refused: (reason: "connection_limit" | "connection_evicted" | "connection_noise") => void;
}

/** One TCP connection, with what runs over it. */
export interface Connection {
  readonly socket: Socket;
  /** Null when it counts for no address. */
  readonly address: string | null;
  /** Exchanges in flight; a tunnel or a WebSocket counts for ever. */
  exchanges: number;
  /** Whether it has ever carried one. */
  used: boolean;
  idleSinceMs: number;
  /** Bytes that it had sent at the last look. */
  received: number;
}

/** A property of the socket, because an HTTP/2 session shows its socket only through a proxy object. */
const CONNECTION = Symbol("connection");
type Tagged = { [CONNECTION]?: Connection };

/** The connection that a socket, or the TLS inside it, belongs to. */
export function connectionOf(socket: Duplex): Connection | null {
  return (socket as Duplex & Tagged)[CONNECTION] ?? null;
}

/** Says that `inner` (TLS) runs over `outer`. */
export function carriedBy(inner: Duplex, outer: Duplex): void {
  const connection = connectionOf(outer);
  if (connection) (inner as Duplex & Tagged)[CONNECTION] = connection;
}

export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #open = new Set<Connection>();
  readonly #perAddress = new Map<string, number>();
  #lookedAtMs = 0;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Takes a new connection in, or destroys it when there is no place for it. */
  accept(socket: Socket): void {
    const { max, maxPerAddress, now, refused } = this.#options;
    const address = countedAddress(socket.remoteAddress);
    const mine = address === null ? 0 : (this.#perAddress.get(address) ?? 0);
    const full =
      (mine >= maxPerAddress && !this.#giveUp((each) => each.address === address, maxPerAddress)) ||
      (this.#open.size >= max && !this.#giveUp(() => true, max));
    if (full) {
      refused("connection_limit");
      socket.destroy();
      return;
    }
    const connection: Connection = { socket, address, exchanges: 0, used: false, idleSinceMs: now(), received: 0 };
    (socket as Socket & Tagged)[CONNECTION] = connection;
    this.#open.add(connection);
    if (address !== null) this.#perAddress.set(address, (this.#perAddress.get(address) ?? 0) + 1);
    socket.once("close", () => this.#forget(connection));
  }

  /** An exchange begins on it. */
  began(connection: Connection | null): void {
    if (connection === null) return;
    connection.exchanges++;
    connection.used = true;
  }

  ended(connection: Connection | null): void {
    if (connection === null) return;
    connection.exchanges--;
    connection.idleSinceMs = this.#options.now();
  }

  /** Closes what has been idle for too long, or has sent much without a request in it. To be called now and then. */
  look(): void {
    const nowMs = this.#options.now();
    for (const connection of this.#open) {
      const received = connection.socket.bytesRead;
      const idle = connection.exchanges === 0 && connection.idleSinceMs < this.#lookedAtMs;
      const noisy = idle && received - connection.received > MOST_NOISE_BYTES;
      connection.received = received;
      if (noisy) this.#options.refused("connection_noise");
      if (noisy || (idle && nowMs - connection.idleSinceMs > LONGEST_IDLE_MS)) connection.socket.destroy();
    }
    this.#lookedAtMs = nowMs;
  }

  destroyAll(): void {
    for (const { socket } of this.#open) socket.destroy();
  }

  #forget(connection: Connection): void {
    if (!this.#open.delete(connection) || connection.address === null) return;
    const left = (this.#perAddress.get(connection.address) ?? 1) - 1;
    if (left === 0) this.#perAddress.delete(connection.address);
    else this.#perAddress.set(connection.address, left);
  }

  /**
   * Closes a share of the idle connections, the ones that never carried a request first, then the longest idle.
   * @returns false when there is none
   */
  #giveUp(among: (connection: Connection) => boolean, places: number): boolean {
    const before = this.#options.now() - SAFE_MS;
    const idle = [...this.#open].filter(
      (each) => each.exchanges === 0 && (!each.used || each.idleSinceMs < before) && among(each),
    );
    idle.sort((a, b) => Number(a.used) - Number(b.used) || a.idleSinceMs - b.idleSinceMs);
    for (const connection of idle.slice(0, Math.ceil(places * GIVEN_UP_SHARE))) {
      this.#options.refused("connection_evicted");
      this.#forget(connection);
      connection.socket.destroy();
    }
    return idle.length > 0;
  }
}

/** The address that connections are counted for; null for this machine's own. */
function countedAddress(address: string | undefined): string | null {
  if (address === undefined || classifyAddress(address) === "loopback") return null;
  return address;
}
