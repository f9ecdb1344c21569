import { createServer, type TLSSocket } from "node:tls";
import { gzipSync } from "node:zlib";

/**
 * The upstream of every benchmark, in a process of its own: TLS, keep-alive, answers prepared in advance, so that
 * it costs as little as possible. The path chooses the answer: `/1k`, `/gz` (1 KB, gzip), `/late` (1 KB after 100 ms), `/10m`, `/sse`,
 * `/10g` (a download of 10 GB), or `/in` (reads an upload to its end and tells its length).
 * Reads `{ key, cert }` as one JSON line from stdin and prints its port.
 */

const HEAD_END = Buffer.from("\r\n\r\n");
const QUOTE = '{"symbol":"AAPL","price":187.44,"volume":51005900,"name":"Apple Inc.","open":185.02},';
const SMALL = answer(Buffer.alloc(1024, QUOTE));
const LARGE = answer(Buffer.alloc(10 * 1024 * 1024, QUOTE));
const ZIPPED = answer(gzipSync(Buffer.alloc(1024, QUOTE)), "Content-Encoding: gzip\r\n");
const SSE_EVENTS = 5;
const SSE_GAP_MS = 50;
const LATE_MS = 100;

function answer(body: Buffer, more = ""): Buffer {
  const head = `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n${more}Content-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

process.stdin.once("data", (line) => {
  const { key, cert } = JSON.parse(line.toString()) as { key: string; cert: string };
  const server = createServer({ key, cert, ALPNProtocols: ["http/1.1"] }, (socket) => {
    socket.setNoDelay(true);
    socket.on("error", () => socket.destroy());
    let rest: Buffer = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (let end = rest.indexOf(HEAD_END); end !== -1; end = rest.indexOf(HEAD_END)) {
        const head = rest.toString("latin1", 0, end);
        const path = head.slice(head.indexOf("/"), head.indexOf("/") + 5);
        rest = rest.subarray(end + HEAD_END.length);
        if (path.startsWith("/in")) {
          swallow(socket, head, rest);
          return;
        }
        if (path.startsWith("/10g")) void pour(socket);
        else if (path.startsWith("/sse")) void stream(socket.write.bind(socket) as (text: string) => boolean);
        else if (path.startsWith("/gz")) socket.write(ZIPPED);
        else if (path.startsWith("/late")) setTimeout(() => socket.write(SMALL), LATE_MS);
        else socket.write(path.startsWith("/10m") ? LARGE : SMALL);
      }
    });
  });
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    process.stdout.write(`${typeof address === "object" && address ? address.port : 0}\n`);
  });
});

const HUGE = 10 * 1024 ** 3;
const PIECE = Buffer.alloc(256 * 1024, "z");

async function pour(socket: TLSSocket): Promise<void> {
  socket.write(`HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: ${HUGE}\r\n\r\n`);
  for (let sent = 0; sent < HUGE; sent += PIECE.length) {
    if (!socket.write(PIECE)) await new Promise((resolve) => socket.once("drain", resolve));
    if (socket.destroyed) return;
  }
}

/** Takes the connection over until its upload is complete. */
function swallow(socket: TLSSocket, head: string, first: Buffer): void {
  const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
  let received = first.length;
  socket.removeAllListeners("data");
  const take = (): void => {
    if (received < length) return;
    const body = String(received);
    socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
  };
  socket.on("data", (chunk: Buffer) => {
    received += chunk.length;
    take();
  });
  take();
}

/** Each event carries the time when it was sent, in milliseconds since the epoch with fractions. */
async function stream(write: (text: string) => boolean): Promise<void> {
  write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (let i = 0; i < SSE_EVENTS; i++) {
    const event = `data: ${(performance.timeOrigin + performance.now()).toFixed(4)}\n\n`;
    write(`${event.length.toString(16)}\r\n${event}\r\n`);
    await new Promise((resolve) => setTimeout(resolve, SSE_GAP_MS));
  }
  write("0\r\n\r\n");
}
