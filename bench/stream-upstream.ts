import { createInterface } from "node:readline";
import { createServer, type TLSSocket } from "node:tls";

/**
 * A provider that only holds event streams open, in a process of its own. Reads `{ key, cert }` as one JSON line from
 * stdin and prints its port; each line `event` after that sends one event into every stream, with the time in it.
 */

const HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const held = new Set<TLSSocket>();

createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "event") sendEvents();
  else serve(JSON.parse(line) as { key: string; cert: string });
});

function serve(identity: { key: string; cert: string }): void {
  const server = createServer({ ...identity, ALPNProtocols: ["http/1.1"] }, hold);
  server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
    const address = server.address();
    process.stdout.write(`${typeof address === "object" && address ? address.port : 0}\n`);
  });
}

function hold(socket: TLSSocket): void {
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  socket.once("close", () => held.delete(socket));
  socket.once("data", () => {
    held.add(socket);
    socket.write(`${HEAD}${chunk(": open\n\n")}`);
  });
  socket.resume();
}

function sendEvents(): void {
  for (const socket of held) {
    const sentAt = (performance.timeOrigin + performance.now()).toFixed(4);
    socket.write(chunk(`data: ${sentAt}\n\n`));
  }
}

function chunk(text: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n`;
}
