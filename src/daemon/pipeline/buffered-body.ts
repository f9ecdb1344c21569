import type { Readable } from "node:stream";
import { ProxyError } from "./errors.ts";

/** Largest body that is held in memory, for bodies that carry the key themselves. */
export const MAX_BUFFERED_BODY = 1024 * 1024;
/** All buffered bodies together; a flood of half-sent bodies must not fill the memory (threats L2). */
const MAX_BUFFERED_TOTAL = 64 * 1024 * 1024;

let bufferedTotal = 0;

/**
 * Reads a whole body of at most 1 MiB.
 * @throws ProxyError body_too_large, overloaded, or client_closed when the client stops half-way
 */
export async function bufferBody(body: Readable, length: number | null): Promise<Buffer> {
  if (length !== null && length > MAX_BUFFERED_BODY) throw tooLarge();
  if (bufferedTotal >= MAX_BUFFERED_TOTAL) {
    throw new ProxyError("overloaded", "too many request bodies are waiting; try again", {
      fields: ["Retry-After", "1"],
    });
  }
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      bufferedTotal += chunk.length;
      if (size > MAX_BUFFERED_BODY) throw tooLarge();
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof ProxyError) throw error;
    throw new ProxyError("client_closed", "the request body broke off", { cause: error });
  } finally {
    bufferedTotal -= size;
  }
  return Buffer.concat(chunks);
}

function tooLarge(): ProxyError {
  return new ProxyError("body_too_large", "this route's body carries the key, so it may be at most 1 MiB", {
    reason: "buffered_body",
  });
}
