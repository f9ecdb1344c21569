import { createHash } from "node:crypto";
import type { ReceivedRequest, StandInAnswer } from "../../support/stand-in.ts";

/** Small and odd, so that events and UTF-8 characters are cut at every possible place. */
const PIECE_BYTES = 37;

export function json(value: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): StandInAnswer {
  const body = Buffer.from(JSON.stringify(value), "utf8");
  return { status, headers: { "content-type": "application/json", "x-request-id": "req_1", ...headers }, body };
}

/** Server-sent events, each with its `event:` line when named, sent in pieces that ignore where events end. */
export function eventStream(events: readonly { event?: string; data: unknown }[], last = ""): StandInAnswer {
  const text = events.map(({ event, data }) => `${event ? `event: ${event}\n` : ""}data: ${JSON.stringify(data)}\n\n`);
  const bytes = Buffer.from(text.join("") + last, "utf8");
  return {
    headers: { "content-type": "text/event-stream; charset=utf-8", "x-request-id": "req_1" },
    body: pieces(bytes),
  };
}

function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
}

/** Words with the blank in front, so that they add up to `text`. */
export function words(text: string): string[] {
  return text.split(/(?= )/);
}

export function jsonBody(request: ReceivedRequest): Record<string, unknown> {
  return JSON.parse(request.body.toString("utf8")) as Record<string, unknown>;
}

export interface UploadedFile {
  readonly name: string;
  readonly size: number;
  readonly sha256: string;
}

/**
 * The file of a multipart upload (RFC 7578).
 * @throws Error when the body is not multipart or has no file in it
 */
export function uploadedFile(request: ReceivedRequest): UploadedFile {
  const boundary = /boundary="?([^";]+)/.exec(request.values("content-type")[0] ?? "")?.[1];
  if (!boundary) throw new Error("the body is not multipart");
  for (const part of request.body.toString("latin1").split(`--${boundary}`)) {
    const end = part.indexOf("\r\n\r\n");
    const name = /filename="([^"]*)"/.exec(part.slice(0, end))?.[1];
    if (name === undefined) continue;
    const content = Buffer.from(part.slice(end + 4, -2), "latin1");
    return { name, size: content.length, sha256: sha256(content) };
  }
  throw new Error("the upload has no file");
}

export function sha256(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}
