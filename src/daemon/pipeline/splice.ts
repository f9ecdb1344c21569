import type { TLSSocket } from "node:tls";
import type { Secret } from "../../secret.ts";
import { randomBytes } from "../../store/crypto.ts";
import { takeHeadBuffer, wipeHeadBuffer } from "./head-buffers.ts";

/**
 * The splice: where a secret enters a request. Injectors put a marker into the head; the upstream
 * socket's own `write` replaces it with the secret's bytes in a Buffer that is zeroed once written.
 * So a secret is never a JavaScript string and never in a library's memory (guarantee G2), and the
 * last door checks that the bytes go where the slot allows (guarantee G1).
 */

/** What a socket was dialled and verified for; a slot goes out only on a socket with the same binding. */
export interface SocketBinding {
  /** `host:port` that TLS verified. */
  readonly authority: string;
  readonly route: string;
  readonly client: string;
}

export interface Slot {
  readonly marker: string;
  /** True once the bytes have been written; a response to a request that lacks its key must not be believed. */
  readonly used: boolean;
  release(): void;
}

export class SpliceRefused extends Error {
  constructor(why: string) {
    super(`internal: the splice refused to write a secret: ${why}`);
    this.name = "SpliceRefused";
  }
}

class SlotState implements Slot {
  readonly digits: string;
  readonly marker: string;
  readonly secret: Secret;
  readonly binding: SocketBinding;
  readonly hosts: ReadonlySet<string>;
  readonly place: number;
  used = false;
  readonly #places: Places;

  constructor(
    places: Places,
    place: number,
    names: { digits: string; marker: string },
    bound: { secret: Secret; binding: SocketBinding; hosts: ReadonlySet<string> },
  ) {
    this.#places = places;
    this.place = place;
    this.digits = names.digits;
    this.marker = names.marker;
    this.secret = bound.secret;
    this.binding = bound.binding;
    this.hosts = bound.hosts;
  }

  release(): void {
    this.#places.leave(this);
  }
}

/**
 * The open slots, in an array whose places are used again. (In a Map that changes with every request, what was deleted
 * stays reachable from older tables of the Map until a full garbage collection.)
 */
class Places {
  readonly #slots: (SlotState | null)[] = [];
  readonly #free: number[] = [];

  get open(): number {
    return this.#slots.length - this.#free.length;
  }

  take(): number {
    return this.#free.pop() ?? this.#slots.push(null) - 1;
  }

  fill(slot: SlotState): void {
    this.#slots[slot.place] = slot;
  }

  /** The slot at a place, when it is the one that these digits name. */
  find(place: number, digits: string): SlotState | null {
    const slot = this.#slots[place];
    return slot?.digits === digits ? slot : null;
  }

  leave(slot: SlotState): void {
    if (this.#slots[slot.place] !== slot) return;
    this.#slots[slot.place] = null;
    this.#free.push(slot.place);
  }
}

type WriteCallback = (error?: Error | null) => void;

const QUOTE = 0x22;
const BLANK = 0x20;
/** Hex digits of a slot's place, and of the running number that is never given twice (a trillion per process). */
const PLACE_DIGITS = 6;
const SLOT_DIGITS = PLACE_DIGITS + 10;

export class Splice {
  /** Unguessable, so nothing that a client sends can be taken for a marker. */
  readonly #prefix = `sidekey~${randomBytes(16).toString("hex")}~`;
  readonly #prefixBytes = Buffer.from(this.#prefix, "latin1");
  readonly #markerLength = this.#prefix.length + SLOT_DIGITS;
  readonly #places = new Places();
  #opened = 0;
  /** Bodies on their way that hold a marker; while zero, body bytes are not looked at. */
  #bodies = 0;

  /**
   * Makes a one-use place for `secret` on a socket with exactly this binding.
   * @param hosts every `host:port` the credential may go to
   */
  open(secret: Secret, binding: SocketBinding, hosts: ReadonlySet<string>): Slot {
    const place = this.#places.take();
    // A late marker must not find a later exchange's secret in the same place, so the number goes on.
    const number = (this.#opened++).toString(16).padStart(SLOT_DIGITS - PLACE_DIGITS, "0");
    const digits = place.toString(16).padStart(PLACE_DIGITS, "0") + number;
    const slot = new SlotState(
      this.#places,
      place,
      { digits, marker: this.#prefix + digits },
      { secret, binding, hosts },
    );
    this.#places.fill(slot);
    return slot;
  }

  /** Slots in use; zero when no exchange is running. */
  get openSlots(): number {
    return this.#places.open;
  }

  /**
   * What stands for `slot` inside a JSON string of a body. A body's length is announced before its
   * secret is known, so the marker takes at least the secret's room; what a shorter secret leaves over
   * becomes blanks behind the closing quote, which JSON ignores.
   * @returns the marker to put between quotes, and the function that ends the watch over body bytes
   */
  watchBody(slot: Slot, secretLength: number): { marker: string; done: () => void } {
    this.#bodies++;
    let watching = true;
    const done = (): void => {
      if (watching) this.#bodies--;
      watching = false;
    };
    return { marker: slot.marker.padEnd(secretLength, "~"), done };
  }

  /** Makes `socket` replace markers as it writes. Call once, after TLS has verified the peer. */
  attach(socket: TLSSocket, binding: SocketBinding): void {
    const write = socket.write.bind(socket) as (
      chunk: Uint8Array | string,
      encoding?: BufferEncoding,
      callback?: WriteCallback,
    ) => boolean;
    const splicing = (chunk: Uint8Array | string, encoding?: BufferEncoding | WriteCallback, done?: WriteCallback) => {
      const charset = typeof encoding === "string" ? encoding : undefined;
      const callback = typeof encoding === "function" ? encoding : done;
      const bytes =
        typeof chunk === "string" ? this.#spliceHead(chunk, socket, binding) : this.#spliceBody(chunk, socket, binding);
      return bytes === null ? write(chunk, charset, callback) : writeAlone(socket, write, bytes, callback);
    };
    socket.write = splicing as typeof socket.write;
  }

  /** Splits a request head at its markers; null when it holds none, which is the common case. */
  #cut(text: string): (string | SlotState)[] | null {
    let at = text.indexOf(this.#prefix);
    if (at === -1) return null;
    const parts: (string | SlotState)[] = [];
    let from = 0;
    while (at !== -1) {
      const end = at + this.#markerLength;
      parts.push(text.slice(from, at), this.#slotOf(text.slice(at + this.#prefix.length, end)));
      from = end;
      at = text.indexOf(this.#prefix, from);
    }
    parts.push(text.slice(from));
    return parts;
  }

  #slotOf(digits: string): SlotState {
    const slot = this.#places.find(Number.parseInt(digits.slice(0, PLACE_DIGITS), 16), digits);
    if (!slot) throw new SpliceRefused("the marker names no open slot");
    return slot;
  }

  #spliceHead(text: string, socket: TLSSocket, binding: SocketBinding): Buffer | null {
    const parts = this.#cut(text);
    if (parts === null) return null;
    let length = 0;
    for (const [index, part] of parts.entries()) {
      if (parts.indexOf(part) !== index && typeof part !== "string") throw new SpliceRefused("the slot is there twice");
      length += typeof part === "string" ? part.length : checked(part, socket, binding).length;
    }
    const bytes = takeHeadBuffer(length);
    let at = 0;
    for (const part of parts) {
      if (typeof part === "string") at += bytes.write(part, at, "latin1");
      else at += copySecret(part, bytes, at);
    }
    return bytes;
  }

  #spliceBody(chunk: Uint8Array, socket: TLSSocket, binding: SocketBinding): Buffer | null {
    if (this.#bodies === 0 || chunk.length < this.#markerLength) return null;
    const source = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    const at = source.indexOf(this.#prefixBytes);
    if (at === -1) return null;
    const digitsAt = at + this.#prefix.length;
    const slot = this.#slotOf(source.toString("latin1", digitsAt, digitsAt + SLOT_DIGITS));
    checked(slot, socket, binding);
    const bytes = takeHeadBuffer(source.length);
    source.copy(bytes);
    const spare = this.#markerLength - copySecret(slot, bytes, at);
    if (spare > 0) {
      bytes.fill(BLANK, at + this.#markerLength - spare, at + this.#markerLength + 1);
      bytes[at + this.#markerLength - spare] = QUOTE;
    }
    return bytes;
  }
}

/** The last door (guarantee G1): the peer is verified, and it is the one this secret is for. */
function checked(slot: SlotState, socket: TLSSocket, binding: SocketBinding): Secret {
  const { secret, binding: wanted } = slot;
  if (secret.wiped) throw new SpliceRefused("the secret has been wiped");
  if (slot.used) throw new SpliceRefused("the slot has been used");
  if (!socket.encrypted || !socket.authorized) throw new SpliceRefused("the peer is not verified");
  if (wanted.authority !== binding.authority || !slot.hosts.has(binding.authority)) {
    throw new SpliceRefused("the socket leads to another host");
  }
  if (wanted.route !== binding.route || wanted.client !== binding.client) {
    throw new SpliceRefused("the socket belongs to another route or client");
  }
  return secret;
}

function copySecret(slot: SlotState, into: Buffer, at: number): number {
  slot.used = true;
  return slot.secret.use((bytes) => bytes.copy(into, at));
}

/**
 * Writes `bytes` as a write of its own and zeroes them afterwards. A corked socket would hand the head
 * and the body to TLS together, which then joins them in memory that nobody wipes.
 */
function writeAlone(
  socket: TLSSocket,
  write: (chunk: Uint8Array, encoding?: BufferEncoding, callback?: WriteCallback) => boolean,
  bytes: Buffer,
  callback?: WriteCallback,
): boolean {
  const corked = socket.writableCorked;
  for (let i = 0; i < corked; i++) socket.uncork();
  let written = false;
  const room = write(bytes, undefined, (error) => {
    if (!written) wipeHeadBuffer(bytes);
    written = true;
    callback?.(error);
  });
  for (let i = 0; i < corked; i++) socket.cork();
  return room;
}
