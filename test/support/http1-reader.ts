/** One header field as received: name and value without the surrounding whitespace, case kept. */
export type HeaderField = readonly [name: string, value: string];

/** A request exactly as it came out of the socket. */
export interface RawRequest {
  readonly method: string;
  readonly target: string;
  /** In the order and spelling received. */
  readonly headers: readonly HeaderField[];
  /** Request line and fields with the empty line that ends them. */
  readonly headBytes: Buffer;
  /** Body without chunk framing. */
  readonly body: Buffer;
  /** Everything, framing included. */
  readonly bytes: Buffer;
  /** All values of the field `name`, in order; `name` in any case. */
  values(name: string): string[];
}

const HEAD_END = "\r\n\r\n";

/**
 * Cuts the first request off the front of `buffer`: null when it is not complete yet. Deliberately simple and strict
 * (RFC 9112): a stand-in provider must not repair what sidekey sent.
 * @throws Error when the bytes cannot be the start of a well-framed request.
 */
export function takeRequest(buffer: Buffer): { request: RawRequest; rest: Buffer } | null {
  const head = takeHead(buffer);
  if (!head) return null;
  const { headers, bodyStart } = head;
  const chunked = values(headers, "transfer-encoding");
  const lengths = values(headers, "content-length");
  if (chunked.length > 0 && lengths.length > 0) throw new Error("both Content-Length and Transfer-Encoding");
  if (chunked.length > 1 || lengths.length > 1) throw new Error("repeated framing field");
  const framed = chunked.length > 0 ? takeChunks(buffer, bodyStart) : takeLength(buffer, bodyStart, lengths[0] ?? "0");
  if (!framed) return null;
  const bytes = buffer.subarray(0, framed.end);
  return {
    request: {
      method: head.method,
      target: head.target,
      headers,
      headBytes: buffer.subarray(0, bodyStart),
      body: framed.body,
      bytes,
      values: (name) => values(headers, name),
    },
    rest: buffer.subarray(framed.end),
  };
}

interface Head {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly HeaderField[];
  readonly bodyStart: number;
}

function takeHead(buffer: Buffer): Head | null {
  const end = buffer.indexOf(HEAD_END);
  if (end < 0) return null;
  const [first = "", ...lines] = buffer.toString("latin1", 0, end).split("\r\n");
  const line = /^([!-~]+) ([!-~]+) HTTP\/1\.1$/.exec(first);
  if (!line) throw new Error(`not a request line: ${JSON.stringify(first.slice(0, 80))}`);
  const headers = lines.map((text): HeaderField => {
    const field = /^([!#-'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(text);
    if (!field) throw new Error(`not a header field: ${JSON.stringify(text.slice(0, 80))}`);
    return [field[1] ?? "", field[2] ?? ""];
  });
  return { method: line[1] ?? "", target: line[2] ?? "", headers, bodyStart: end + HEAD_END.length };
}

function takeLength(buffer: Buffer, start: number, length: string): { body: Buffer; end: number } | null {
  if (!/^\d+$/.test(length)) throw new Error(`Content-Length is ${JSON.stringify(length)}`);
  const end = start + Number(length);
  return buffer.length < end ? null : { body: buffer.subarray(start, end), end };
}

// RFC 9112 7.1
function takeChunks(buffer: Buffer, start: number): { body: Buffer; end: number } | null {
  const parts: Buffer[] = [];
  let at = start;
  for (;;) {
    const lineEnd = buffer.indexOf("\r\n", at);
    if (lineEnd < 0) return null;
    const size = /^([0-9a-fA-F]+)[ \t]*(;.*)?$/.exec(buffer.toString("latin1", at, lineEnd))?.[1];
    if (size === undefined) throw new Error("not a chunk size");
    const length = Number.parseInt(size, 16);
    const data = lineEnd + 2;
    if (length === 0) return takeTrailers(buffer, data, parts);
    if (buffer.length < data + length + 2) return null;
    if (buffer.toString("latin1", data + length, data + length + 2) !== "\r\n") throw new Error("chunk does not end");
    parts.push(buffer.subarray(data, data + length));
    at = data + length + 2;
  }
}

function takeTrailers(buffer: Buffer, start: number, parts: Buffer[]): { body: Buffer; end: number } | null {
  let at = start;
  for (;;) {
    const lineEnd = buffer.indexOf("\r\n", at);
    if (lineEnd < 0) return null;
    if (lineEnd === at) return { body: Buffer.concat(parts), end: at + 2 };
    at = lineEnd + 2;
  }
}

function values(headers: readonly HeaderField[], name: string): string[] {
  return headers.filter(([own]) => own.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
}
