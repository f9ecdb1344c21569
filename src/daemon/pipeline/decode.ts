import type { Transform } from "node:stream";
import {
  brotliDecompressSync,
  constants,
  createBrotliCompress,
  createBrotliDecompress,
  createDeflate,
  createGunzip,
  createGzip,
  createInflate,
  createInflateRaw,
  createZstdCompress,
  createZstdDecompress,
  gunzipSync,
  inflateRawSync,
  inflateSync,
  zstdDecompressSync,
} from "node:zlib";
import type { Coding } from "./content-coding.ts";
import { ProxyError } from "./errors.ts";

/** Takes a content coding off an answer, and puts one on where the client takes nothing else. */

/** An answer may become this many times as large. */
const MAX_RATIO = 100;
/** What it may become in any case, in bytes: small answers are allowed to be very regular. */
const FREE_BYTES = 1024 * 1024;
/** Windows of 8 MiB, which is what a client of HTTP has to have room for (RFC 9659). */
const ZSTD_WINDOW_LOG = 23;

const ZSTD_OPTIONS = { params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } };

/** A stage of an answer's way that may take its time. */
export interface CodingStage {
  /** False when it wants no more for now; `onDrain` tells when it does. */
  write(chunk: Buffer): boolean;
  end(): void;
  pause(): void;
  resume(): void;
  destroy(): void;
}

export interface StageEvents {
  readonly onData: (chunk: Buffer) => void;
  readonly onEnd: () => void;
  readonly onDrain: () => void;
  readonly onError: (error: ProxyError) => void;
}

/** @throws nothing; what is wrong with the bytes is told through `onError` */
export function startDecoding(coding: Coding, events: StageEvents): CodingStage {
  let received = 0;
  let given = 0;
  let stream: Transform | null = null;
  const started = (first: Buffer): Transform => {
    const decoder = decoderFor(coding, first);
    decoder.on("data", (chunk: Buffer) => {
      given += chunk.length;
      if (isBomb(received, given)) {
        decoder.destroy();
        events.onError(bomb());
      } else events.onData(chunk);
    });
    listen(decoder, events);
    stream = decoder;
    return decoder;
  };
  return {
    write: (chunk) => {
      received += chunk.length;
      return (stream ?? started(chunk)).write(chunk);
    },
    // Nothing came: an empty body is what some servers send for an empty answer, whatever its coding.
    end: () => (stream === null ? events.onEnd() : stream.end()),
    pause: () => void stream?.pause(),
    resume: () => void stream?.resume(),
    destroy: () => void stream?.destroy(),
  };
}

function listen(stream: Transform, { onDrain, onEnd, onError }: StageEvents): void {
  stream.on("drain", onDrain).once("end", onEnd);
  stream.once("error", (cause) => onError(undecodable(cause)));
}

/**
 * A whole answer at once, which costs a fraction of a stream.
 * @throws ProxyError upstream_protocol
 */
export function decodeWhole(coding: Coding, bytes: Buffer): Buffer {
  const maxOutputLength = Math.max(FREE_BYTES, bytes.length * MAX_RATIO);
  try {
    if (coding === "gzip") return gunzipSync(bytes, { maxOutputLength });
    if (coding === "br") return brotliDecompressSync(bytes, { maxOutputLength });
    if (coding === "zstd") return zstdDecompressSync(bytes, { ...ZSTD_OPTIONS, maxOutputLength });
    return hasZlibHeader(bytes) ? inflateSync(bytes, { maxOutputLength }) : inflateRawSync(bytes, { maxOutputLength });
  } catch (cause) {
    throw (cause as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE" ? bomb() : undecodable(cause);
  }
}

/** Every chunk leaves as soon as it is encoded, so that streams stay streams. */
export function startEncoding(coding: Coding, events: StageEvents): CodingStage {
  const encoder = encoderFor(coding);
  encoder.on("data", events.onData);
  listen(encoder, events);
  return {
    write: (chunk) => {
      const room = encoder.write(chunk);
      encoder.flush();
      return room;
    },
    end: () => void encoder.end(),
    pause: () => void encoder.pause(),
    resume: () => void encoder.resume(),
    destroy: () => void encoder.destroy(),
  };
}

function decoderFor(coding: Coding, first: Buffer): Transform {
  if (coding === "gzip") return createGunzip();
  if (coding === "br") return createBrotliDecompress();
  if (coding === "zstd") return createZstdDecompress(ZSTD_OPTIONS);
  return hasZlibHeader(first) ? createInflate() : createInflateRaw();
}

function encoderFor(coding: Coding): Transform & { flush(): void } {
  if (coding === "gzip") return createGzip();
  if (coding === "br") return createBrotliCompress({ params: { [constants.BROTLI_PARAM_QUALITY]: 4 } });
  if (coding === "zstd") return createZstdCompress();
  return createDeflate();
}

/** `deflate` means the zlib format (RFC 9110 section 8.4.1.2), and some servers leave its two bytes out. */
function hasZlibHeader(first: Buffer): boolean {
  const [method = 0, flags] = first;
  if ((method & 0x0f) !== 8 || method >> 4 > 7) return false;
  return flags === undefined || ((method << 8) | flags) % 31 === 0;
}

function isBomb(received: number, given: number): boolean {
  return given > FREE_BYTES && given > received * MAX_RATIO;
}

function bomb(): ProxyError {
  return new ProxyError("upstream_protocol", "the provider's answer unpacks to far more than it should", {
    reason: "coding_ratio",
  });
}

function undecodable(cause: unknown): ProxyError {
  return new ProxyError("upstream_protocol", "the provider's answer is not in the coding that it names", {
    reason: "coding_broken",
    cause,
  });
}

/** A coding that cannot be read, on a route whose answers are searched: nothing of it may pass. */
export function unreadableCoding(route: string | null): ProxyError {
  return new ProxyError(
    "upstream_protocol",
    "the provider's answer has a content coding that sidekey cannot search for its key (only one of gzip, deflate, br or zstd)",
    { reason: "coding_unknown", route },
  );
}
