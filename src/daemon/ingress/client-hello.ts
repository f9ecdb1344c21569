/**
 * Just enough of a TLS ClientHello to read its server name (RFC 8446 section 4.1.2, RFC 6066 section 3),
 * so that a tunnel carries TLS to the host it was opened for and nothing else (threats B10).
 */

export type ClientHello =
  | { readonly kind: "incomplete" }
  | { readonly kind: "not_tls" }
  | { readonly kind: "hello"; readonly serverName: string | null };

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const HOST_NAME = 0;
/** A ClientHello with every extension in use stays far below this; more is not a handshake. */
export const MAX_HELLO_BYTES = 16 * 1024 + 5;

/** Reads the first bytes of a connection. A hello split over several records is refused as `not_tls`. */
export function readClientHello(bytes: Buffer): ClientHello {
  if (bytes.length > 0 && bytes[0] !== HANDSHAKE) return { kind: "not_tls" };
  if (bytes.length < 5) return { kind: "incomplete" };
  const recordLength = bytes.readUInt16BE(3);
  if (bytes[1] !== 3 || recordLength > 16 * 1024) return { kind: "not_tls" };
  if (bytes.length < 5 + recordLength) return { kind: "incomplete" };
  try {
    return parseHello(bytes.subarray(5, 5 + recordLength));
  } catch (error) {
    if (error instanceof RangeError) return { kind: "not_tls" };
    throw error;
  }
}

/** Reads past the end throw RangeError, which the caller takes for "not a ClientHello". */
function parseHello(record: Buffer): ClientHello {
  if (record.readUInt8(0) !== CLIENT_HELLO) return { kind: "not_tls" };
  if (record.readUIntBE(1, 3) !== record.length - 4) return { kind: "not_tls" };
  let at = 4 + 2 + 32;
  at += 1 + record.readUInt8(at);
  at += 2 + record.readUInt16BE(at);
  at += 1 + record.readUInt8(at);
  if (at === record.length) return { kind: "hello", serverName: null };
  const end = at + 2 + record.readUInt16BE(at);
  at += 2;
  while (at < end) {
    const type = record.readUInt16BE(at);
    const length = record.readUInt16BE(at + 2);
    if (type === SERVER_NAME) return namedHello(record.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return { kind: "hello", serverName: null };
}

/** A list of exactly one host name. Lengths that leave room for a second reading are no hello. */
function namedHello(extension: Buffer): ClientHello {
  const length = extension.readUInt16BE(3);
  const exact = extension.readUInt16BE(0) === extension.length - 2 && length === extension.length - 5;
  if (!exact || extension.readUInt8(2) !== HOST_NAME) return { kind: "not_tls" };
  return { kind: "hello", serverName: extension.toString("latin1", 5).toLowerCase() };
}
