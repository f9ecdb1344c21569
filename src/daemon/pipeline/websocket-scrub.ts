import { Transform, type TransformCallback } from "node:stream";
import type { ScrubRule } from "./answer-head.ts";
import { ProxyError, toProxyError } from "./errors.ts";
import { Scrubber } from "./scrub.ts";

/**
 * Takes secrets out of what a provider sends over a WebSocket (RFC 6455 section 5.2). Frames keep their length, and the
 * last byte of a frame is never held back. Sidekey offers no extension, so a frame that is masked or compressed is none
 * that a client may accept, and could not be searched.
 */

const MASKED = 0x80;
const RESERVED = 0x70;
const LENGTH = 0x7f;
const SHORT_HEADER = 2;

export class WebSocketScrub extends Transform {
  readonly #scrubber: Scrubber;
  /** Of the frame that begins; empty while a payload passes. */
  #header: Buffer = Buffer.alloc(0);
  /** Bytes of the payload that are still to come. */
  #left = 0n;

  constructor(rule: ScrubRule) {
    super();
    this.#scrubber = new Scrubber({ ...rule, sameLength: true });
  }

  /** Secrets taken out. */
  get scrubbed(): number {
    return this.#scrubber.count;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    try {
      for (let rest = chunk; rest.length > 0; ) {
        rest = this.#left > 0n ? this.#payload(rest) : this.#begin(rest);
      }
      done();
    } catch (error) {
      done(toProxyError(error));
    }
  }

  /** Takes what belongs to the header; returns what comes behind. */
  #begin(chunk: Buffer): Buffer {
    const known = Buffer.concat([this.#header, chunk.subarray(0, headerSize(this.#header) - this.#header.length)]);
    const rest = chunk.subarray(known.length - this.#header.length);
    this.#header = known;
    // The second byte says how long the header is.
    if (known.length < SHORT_HEADER || known.length < headerSize(known)) return rest;
    const [first = 0, second = 0] = known;
    if ((first & RESERVED) !== 0 || (second & MASKED) !== 0) {
      throw new ProxyError("upstream_protocol", "the provider's WebSocket frame is masked or compressed", {
        reason: "websocket_frame",
      });
    }
    this.#left = payloadLength(known);
    this.#header = Buffer.alloc(0);
    this.push(known);
    return rest;
  }

  #payload(chunk: Buffer): Buffer {
    const size = this.#left < BigInt(chunk.length) ? Number(this.#left) : chunk.length;
    this.#left -= BigInt(size);
    for (const piece of this.#scrubber.push(chunk.subarray(0, size), this.#left === 0n)) this.push(piece);
    return chunk.subarray(size);
  }
}

/** How long a header is, as far as its bytes tell. */
function headerSize(header: Buffer): number {
  if (header.length < SHORT_HEADER) return SHORT_HEADER;
  const length = (header[1] ?? 0) & LENGTH;
  return length === 127 ? SHORT_HEADER + 8 : length === 126 ? SHORT_HEADER + 2 : SHORT_HEADER;
}

function payloadLength(header: Buffer): bigint {
  const length = (header[1] ?? 0) & LENGTH;
  if (length === 127) return header.readBigUInt64BE(SHORT_HEADER);
  return BigInt(length === 126 ? header.readUInt16BE(SHORT_HEADER) : length);
}
