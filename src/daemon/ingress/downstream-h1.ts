import type { ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Downstream, Fields } from "../pipeline/exchange.ts";

/** The way back over HTTP/1.1. Framing is Node's: it re-serialises every answer (guarantee G15). */
export class DownstreamH1 implements Downstream {
  readonly #response: ServerResponse;
  #switched = false;
  #ended = false;

  constructor(response: ServerResponse) {
    response.sendDate = false;
    this.#response = response;
  }

  get headSent(): boolean {
    return this.#response.headersSent || this.#switched;
  }

  sendInformational(status: number, fields: Fields): void {
    // Only 103 has a meaning for clients; Node has no call for the others and most clients ignore them.
    if (status === 103) this.#response.writeEarlyHints(earlyHints(fields));
    if (status === 102) this.#response.writeProcessing();
  }

  sendContinue(): void {
    this.#response.writeContinue();
  }

  sendHead(status: number, reason: string, fields: Fields, reuse: boolean): void {
    const response = this.#response;
    const all = reuse ? fields : [...fields, "Connection", "close"];
    if (reason === "") response.writeHead(status, all as string[]);
    else response.writeHead(status, reason, all as string[]);
  }

  write(chunk: Buffer): boolean {
    return this.#response.write(chunk);
  }

  onDrain(resume: () => void): void {
    this.#response.once("drain", resume);
  }

  end(trailers: Fields): void {
    this.#ended = true;
    if (trailers.length > 0) this.#response.addTrailers(pairs(trailers));
    this.#response.end();
  }

  abort(): void {
    this.#ended = true;
    this.#response.destroy();
  }

  onClose(gone: () => void): void {
    this.#response.once("close", () => {
      if (!this.#ended) gone();
    });
  }

  switchProtocols(fields: Fields): Duplex {
    const socket = this.#response.socket;
    if (!socket) throw new Error("internal: the upgrade's socket is gone");
    this.#switched = true;
    this.#ended = true;
    let head = "HTTP/1.1 101 Switching Protocols\r\n";
    for (let i = 0; i < fields.length; i += 2) head += `${fields[i]}: ${fields[i + 1]}\r\n`;
    this.#response.detachSocket(socket);
    socket.write(`${head}\r\n`, "latin1");
    return socket;
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
