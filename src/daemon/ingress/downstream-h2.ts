import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import type { Downstream, Fields } from "../pipeline/exchange.ts";
import type { RequestBody } from "./request-body.ts";
import type { Paced } from "./slow-clients.ts";

/** The way back over HTTP/2. */
export class DownstreamH2 implements Downstream, Paced {
  readonly #stream: ServerHttp2Stream;
  #trailers: Fields = [];
  #ended = false;
  #body: RequestBody | null = null;
  #waitsForContinue = false;
  handed = 0;

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream;
    // A reset is the peer's right and is reported by `close`; without a listener it would end the process.
    stream.on("error", () => {});
  }

  get headSent(): boolean {
    return this.#stream.headersSent;
  }

  /** What the client has to send; told once its head has been read. */
  expectBody(body: RequestBody, afterContinue: boolean): void {
    this.#body = body;
    this.#waitsForContinue = afterContinue;
  }

  get requestBody(): RequestBody | null {
    return this.#waitsForContinue ? null : this.#body;
  }

  get pending(): number {
    return this.#stream.writableLength;
  }

  hangUp(): void {
    this.#stream.close(constants.NGHTTP2_CANCEL);
    // The reset itself may be stuck behind what is not read.
    this.#stream.destroy();
  }

  sendInformational(status: number, fields: Fields): void {
    if (status === 103 || status === 102)
      this.#stream.additionalHeaders({ ":status": status, ...headerObject(fields) });
  }

  sendContinue(): void {
    this.#waitsForContinue = false;
    this.#stream.additionalHeaders({ ":status": 100 });
  }

  sendHead(status: number, _reason: string, fields: Fields, _reuse: boolean): void {
    if (this.#stream.destroyed) return;
    const headers = { ":status": status, ...headerObject(fields) };
    this.#stream.respond(headers, { waitForTrailers: true, sendDate: false } as { waitForTrailers: boolean });
    if ("proxy-authenticate" in headers) this.#endSession();
    // Without any, this sends an empty DATA frame that ends the stream; `close` would send a reset instead.
    this.#stream.once("wantTrailers", () => {
      this.#stream.sendTrailers(headerObject(this.#trailers));
      this.#stopUpload();
    });
  }

  write(chunk: Buffer): boolean {
    this.handed += chunk.length;
    return this.#stream.destroyed || this.#stream.write(chunk);
  }

  onDrain(resume: () => void): void {
    this.#stream.once("drain", resume);
  }

  end(trailers: Fields): void {
    this.#ended = true;
    this.#trailers = trailers;
    // Node has ended the answers that have no content (HEAD, 204, 304); they want no trailers.
    if (this.#stream.writableEnded) this.#stopUpload();
    else this.#stream.end();
  }

  /**
   * Only a new CONNECT can carry what a challenge asks for: clients that wait to be asked (git, curl with any
   * authentication) would repeat the request in this session and give up. Other streams end as they are.
   */
  #endSession(): void {
    this.#stream.session?.close();
  }

  /** After a whole answer the rest of the request is not wanted (RFC 9113 section 8.1). */
  #stopUpload(): void {
    const stream = this.#stream;
    if (endsWithHead(stream) || stream.readableEnded) return;
    setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR));
  }

  abort(): void {
    this.#ended = true;
    this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }

  onClose(gone: () => void): void {
    this.#stream.once("close", () => {
      if (!this.#ended) gone();
    });
  }

  switchProtocols(): Duplex {
    throw new Error("internal: an upgrade over HTTP/2 was not refused");
  }
}

/** Node marks a stream whose HEADERS frame carried END_STREAM, but types do not know it. */
export function endsWithHead(stream: ServerHttp2Stream): boolean {
  return (stream as ServerHttp2Stream & { readonly endAfterHeaders?: boolean }).endAfterHeaders === true;
}

function headerObject(fields: Fields): OutgoingHttpHeaders {
  const headers: Record<string, string | string[]> = Object.create(null);
  for (let i = 0; i < fields.length; i += 2) {
    const name = (fields[i] ?? "").toLowerCase();
    const value = fields[i + 1] ?? "";
    const before = headers[name];
    if (before === undefined) headers[name] = value;
    else headers[name] = Array.isArray(before) ? [...before, value] : [before, value];
  }
  return headers;
}
