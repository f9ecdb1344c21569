import type { Readable } from "node:stream";
import type { BodyWindow } from "../../providers/usage/usage.ts";
import { ProxyError } from "./errors.ts";

/** Largest part of a body that is looked at before the request is sent, in bytes. A body that is no longer is held whole. */
export const WINDOW_BYTES = 1024 * 1024;
/** All windows together; a flood of half-sent bodies must not fill the memory (threats L2). */
const MAX_WINDOWS_TOTAL = 64 * 1024 * 1024;

let windowsTotal = 0;

/**
 * Reads the beginning of a body. What was read goes back to the front of `body`, unless it is all of it: then the
 * window is the body, and `body` has ended.
 * @param length of the whole body in bytes, null when it is not known
 * @throws ProxyError overloaded, or client_closed when the client stops half-way
 */
export async function readWindow(body: Readable, length: number | null): Promise<BodyWindow> {
  if (windowsTotal >= MAX_WINDOWS_TOTAL) {
    throw new ProxyError("overloaded", "too many request bodies are waiting; try again", {
      reason: "bodies_waiting",
      fields: ["Retry-After", "1"],
    });
  }
  const { chunks, size, ended } = await readBeginning(body);
  const bytes = Buffer.concat(chunks);
  if (ended) return { bytes, whole: true, length: size };
  body.unshift(bytes);
  return { bytes, whole: false, length };
}

interface Beginning {
  readonly chunks: readonly Buffer[];
  readonly size: number;
  readonly ended: boolean;
}

function readBeginning(body: Readable): Promise<Beginning> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const settle = (end: () => void): void => {
      windowsTotal -= size;
      body.off("readable", read).off("end", onEnd).off("close", onClose).off("error", onError);
      end();
    };
    const onEnd = (): void => settle(() => resolve({ chunks, size, ended: true }));
    const onError = (cause: unknown): void => settle(() => reject(brokenOff(cause)));
    const onClose = (): void => onError(undefined);
    const read = (): void => {
      for (let chunk = body.read() as Buffer | null; chunk !== null; chunk = body.read() as Buffer | null) {
        chunks.push(chunk);
        size += chunk.length;
        windowsTotal += chunk.length;
        if (size <= WINDOW_BYTES) continue;
        settle(() => resolve({ chunks, size, ended: false }));
        return;
      }
    };
    body.on("readable", read).once("end", onEnd).once("close", onClose).once("error", onError);
    if (body.destroyed) onClose();
    else read();
  });
}

function brokenOff(cause: unknown): ProxyError {
  if (cause instanceof ProxyError) return cause;
  return new ProxyError("client_closed", "the request body broke off", { cause });
}
