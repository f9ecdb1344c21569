import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import type { Downstream, Fields } from "../pipeline/exchange.ts";
import type { RequestBody } from "./request-body.ts";
import type { Paced } from "./slow-clients.ts";

/** How long the rest of a request body that nobody wants is still read and dropped. */
const LINGER_MS = 2_000;
/** RFC 9112 section 4; what the provider wrote besides is left out. */
const REASON = /^[\t\x20-\x7e\x80-\xff]+$/;

const closing = new WeakSet<Duplex>();

/** True once an answer on this connection has said that it is the last: what comes behind it is not looked at. */
export function isClosing(socket: Duplex): boolean {
  return closing.has(socket);
}

/** The way back over HTTP/1.1. Framing is Node's: it re-serialises every answer (guarantee G15). */
export class DownstreamH1 implements Downstream, Paced {
  readonly #response: ServerResponse;
  #switched = false;
  #ended = false;
  #written = false;
  #closing = false;
  #waitsForContinue: boolean;
  #body: RequestBody | null = null;
  /** What an upgrade has left of the HTTP connection. */
  #raw: Socket | null = null;

  constructor(response: ServerResponse) {
    response.sendDate = false;
    this.#response = response;
    this.#waitsForContinue = response.req.headers.expect !== undefined;
  }

  get headSent(): boolean {
    return this.#response.headersSent || this.#switched;
  }

  /** What the client has to send; told once its head has been read. */
  expectBody(body: RequestBody): void {
    this.#body = body;
  }

  get requestBody(): RequestBody | null {
    return this.#waitsForContinue ? null : this.#body;
  }

  get pending(): number {
    return this.#raw ? this.#raw.writableLength : this.#response.writableLength;
  }

  get handed(): number {
    const socket = this.#raw ?? this.#response.socket;
    if (socket === null) return this.pending;
    return socket.bytesWritten + (this.pending - socket.writableLength);
  }

  hangUp(): void {
    (this.#raw ?? this.#response).destroy();
  }

  sendInformational(status: number, fields: Fields): void {
    // RFC 9110 section 15.2: a client of HTTP/1.0 would take an interim answer for the answer.
    if (this.#old) return;
    // Only 103 has a meaning for clients; Node has no call for the others and most clients ignore them.
    if (status === 103) this.#sendEarlyHints(fields);
    if (status === 102) this.#response.writeProcessing();
  }

  sendContinue(): void {
    this.#waitsForContinue = false;
    if (!this.#old) this.#response.writeContinue();
  }

  sendHead(status: number, reason: string, fields: Fields, reuse: boolean): void {
    const response = this.#response;
    this.#closing = !reuse;
    if (!reuse) closing.add(response.req.socket);
    const all = reuse ? fields : [...fields, "Connection", "close"];
    if (REASON.test(reason)) response.writeHead(status, reason, all as string[]);
    else response.writeHead(status, all as string[]);
    // Node keeps the head back for the body, which in an event stream may be long in coming.
    process.nextTick(() => {
      if (!this.#written) response.flushHeaders();
    });
  }

  write(chunk: Buffer): boolean {
    this.#written = true;
    return this.#response.write(chunk);
  }

  onDrain(resume: () => void): void {
    this.#response.once("drain", resume);
  }

  end(trailers: Fields): void {
    this.#ended = true;
    const response = this.#response;
    if (trailers.length > 0) response.addTrailers(pairs(trailers));
    if (response.req.complete || this.#waitsForContinue) {
      this.#written = true;
      response.end();
    } else if (this.#closing) {
      this.#dropRest(() => response.end());
    } else {
      this.#written = true;
      const { socket } = response;
      response.end();
      this.#dropRest(() => {
        if (!response.req.complete) socket?.destroy();
      });
    }
  }

  abort(): void {
    this.#ended = true;
    const { socket } = this.#response;
    // Without chunks and a length only a reset tells a cut answer from a complete one.
    if (this.#old && socket && !(socket instanceof TLSSocket)) socket.resetAndDestroy();
    else this.#response.destroy();
  }

  onClose(gone: () => void): void {
    const tell = (): void => {
      if (!this.#ended) gone();
    };
    if (this.#response.destroyed) queueMicrotask(tell);
    else this.#response.once("close", tell);
  }

  switchProtocols(fields: Fields): Duplex {
    const socket = this.#response.socket;
    if (!socket) throw new Error("internal: the upgrade's socket is gone");
    this.#switched = true;
    this.#ended = true;
    let head = "HTTP/1.1 101 Switching Protocols\r\n";
    for (let i = 0; i < fields.length; i += 2) head += `${fields[i]}: ${fields[i + 1]}\r\n`;
    this.#response.detachSocket(socket);
    this.#raw = socket;
    socket.write(`${head}\r\n`, "latin1");
    return socket;
  }

  /** HTTP/1.0: no chunks and no interim answers. */
  get #old(): boolean {
    return this.#response.req.httpVersion === "1.0";
  }

  /** A hint that Node takes for malformed is only a hint; the answer itself must not fail for it. */
  #sendEarlyHints(fields: Fields): void {
    try {
      this.#response.writeEarlyHints(earlyHints(fields));
    } catch {
      // Left out.
    }
  }

  /**
   * Reads the rest of the request for a while, then calls `done`. Closing while bytes come in would make
   * the kernel send a reset, which can take the answer away before it is read (RFC 9112 section 9.6).
   */
  #dropRest(done: () => void): void {
    const { req } = this.#response;
    const finish = (): void => {
      clearTimeout(timer);
      req.off("end", finish).off("close", finish);
      done();
    };
    const timer = setTimeout(finish, LINGER_MS);
    req.once("end", finish).once("close", finish);
    this.#body?.destroy();
    req.resume();
  }
}

function pairs(fields: Fields): [string, string][] {
  const list: [string, string][] = [];
  for (let i = 0; i < fields.length; i += 2) list.push([fields[i] ?? "", fields[i + 1] ?? ""]);
  return list;
}

/** Node wants an object with at least `link`; without one there is no hint worth sending. */
function earlyHints(fields: Fields): { link: string[] } {
  const link = pairs(fields)
    .filter(([name]) => name.toLowerCase() === "link")
    .map(([, value]) => value);
  return { link };
}
