import { acceptanceOf, type Coding } from "./content-coding.ts";
import type { Fields } from "./exchange.ts";

/**
 * Makes a request ask for an answer that can be searched: in a coding that can be read, whole, and for a WebSocket
 * without compression.
 */

/** With parts of an answer a client could put a key together that no part holds, so ranges are not asked for. */
const NEVER_ASKED: ReadonlySet<string> = new Set(["range", "if-range", "sec-websocket-extensions"]);

export interface ReadableRequest {
  readonly fields: Fields;
  /** What the answer has to be encoded with for this client; null when it takes it as it is. */
  readonly mustEncode: Coding | null;
}

/** Fields of a request whose answer will be read. A provider may ignore a Range (RFC 9110 section 14.2). */
export function askReadable(fields: Fields): ReadableRequest {
  const kept: string[] = [];
  const accepted: string[] = [];
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? "";
    const lower = name.toLowerCase();
    if (NEVER_ASKED.has(lower)) continue;
    if (lower === "accept-encoding") accepted.push(fields[at + 1] ?? "");
    else kept.push(name, fields[at + 1] ?? "");
  }
  const { ask, mustEncode } = acceptanceOf(accepted.length === 0 ? null : accepted.join(","));
  if (ask !== null) kept.push("Accept-Encoding", ask);
  return { fields: kept, mustEncode };
}
