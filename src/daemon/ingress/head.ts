import { ProxyError } from "../pipeline/errors.ts";
import type { Fields } from "../pipeline/exchange.ts";

/**
 * What the parser lets through and we do not (guarantee G15). Node's parser is sound; these are the
 * checks above it: one Host, one framing, one reading of everything that decides where a request goes.
 */

export const MAX_FIELDS = 100;
/** Bytes of request line and fields; the parser enforces it. */
export const MAX_HEAD_BYTES = 16 * 1024;
export const MAX_URL_LENGTH = 8 * 1024;

export interface RequestHead {
  readonly method: string;
  /** Request target as sent: origin-form, absolute-form or authority-form. */
  readonly url: string;
  readonly fields: Fields;
  /** Null on HTTP/1.0 without one. */
  readonly host: string | null;
  readonly hasBody: boolean;
  /** Bytes; null when chunked or without a body. */
  readonly bodyLength: number | null;
  readonly expectContinue: boolean;
  /** True for `Connection: upgrade` with `Upgrade: websocket`. */
  readonly websocket: boolean;
}

interface Seen {
  host: string | null;
  contentLength: string | null;
  transferEncoding: string | null;
  expect: string | null;
  upgrade: string | null;
  connection: string;
}

const NAMES: ReadonlyMap<string, keyof Seen> = new Map([
  ["host", "host"],
  ["content-length", "contentLength"],
  ["transfer-encoding", "transferEncoding"],
  ["expect", "expect"],
  ["upgrade", "upgrade"],
  ["connection", "connection"],
]);
const NAME_LENGTHS = new Set([...NAMES.keys()].map((name) => name.length));

/** @throws ProxyError bad_request or headers_too_large */
export function readHead(method: string, url: string, version: string, fields: Fields): RequestHead {
  if (version !== "1.1" && version !== "1.0") throw bad("the HTTP version must be 1.1 or 1.0", "version");
  if (fields.length > MAX_FIELDS * 2) {
    throw new ProxyError("headers_too_large", `a request may have at most ${MAX_FIELDS} header fields`);
  }
  checkUrl(url);
  const seen = scan(fields);
  if (seen.host === null && version === "1.1") throw bad("the Host field is missing", "host");
  const framing = bodyFraming(seen, version);
  return {
    method,
    url,
    fields,
    host: seen.host,
    ...framing,
    expectContinue: expectsContinue(seen.expect),
    websocket: isWebSocket(seen),
  };
}

function scan(fields: Fields): Seen {
  const seen: Seen = {
    host: null,
    contentLength: null,
    transferEncoding: null,
    expect: null,
    upgrade: null,
    connection: "",
  };
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] ?? "";
    if (!NAME_LENGTHS.has(name.length)) continue;
    const key = NAMES.get(name.toLowerCase());
    if (key === undefined) continue;
    const value = fields[i + 1] ?? "";
    if (key === "connection") seen.connection += `,${value}`;
    else if (seen[key] !== null) throw bad(`${name.toLowerCase()} was sent twice`, "duplicate_field");
    else seen[key] = value;
  }
  return seen;
}

const VISIBLE_ASCII = /^[\x21-\x7e]+$/;

function checkUrl(url: string): void {
  if (url.length > MAX_URL_LENGTH) throw bad(`the URL is longer than ${MAX_URL_LENGTH} characters`, "url_length");
  if (!VISIBLE_ASCII.test(url)) throw bad("the URL has characters that must be percent-encoded", "url_characters");
  if (url.includes("#")) throw bad("the URL has a fragment", "url_fragment");
}

function bodyFraming(seen: Seen, version: string): { hasBody: boolean; bodyLength: number | null } {
  const { contentLength, transferEncoding } = seen;
  if (transferEncoding !== null) {
    if (contentLength !== null) throw bad("Content-Length and Transfer-Encoding exclude each other", "framing");
    if (transferEncoding.toLowerCase() !== "chunked") throw bad("Transfer-Encoding may only be `chunked`", "framing");
    if (version === "1.0") throw bad("Transfer-Encoding needs HTTP/1.1", "framing");
    return { hasBody: true, bodyLength: null };
  }
  if (contentLength === null) return { hasBody: false, bodyLength: null };
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(contentLength)) throw bad("Content-Length must be a plain number", "framing");
  const length = Number(contentLength);
  return { hasBody: length > 0, bodyLength: length };
}

function expectsContinue(expect: string | null): boolean {
  if (expect === null) return false;
  if (expect.toLowerCase() === "100-continue") return true;
  throw new ProxyError("expectation_failed", "only `Expect: 100-continue` is understood");
}

function isWebSocket(seen: Seen): boolean {
  if (seen.upgrade?.toLowerCase() !== "websocket") return false;
  return seen.connection.split(",").some((token) => token.trim().toLowerCase() === "upgrade");
}

function bad(message: string, reason: string): ProxyError {
  return new ProxyError("bad_request", message, { reason });
}
