import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { WebSocketServer } from "ws";
import type { ReceivedRequest } from "../../support/stand-in.ts";

/**
 * Takes a WebSocket handshake for OpenAI's realtime API and answers every message with its text in capitals, bytes as
 * they are. False when the request is something else.
 */
export function acceptRealtime(request: ReceivedRequest, socket: Socket): boolean {
  if (!request.target.startsWith("/v1/realtime") || request.values("upgrade").length === 0) return false;
  const headers = Object.fromEntries(request.headers.map(([name, value]) => [name.toLowerCase(), value]));
  // The stand-in reads requests by itself; of node's own object, ws uses these three.
  const incoming = { method: request.method, url: request.target, headers } as IncomingMessage;
  const server = new WebSocketServer({ noServer: true });
  server.handleUpgrade(incoming, socket, Buffer.alloc(0), (peer) => {
    peer.send(JSON.stringify({ type: "session.created" }));
    peer.on("message", (data: Buffer, binary) => {
      if (binary) peer.send(data);
      else peer.send(data.toString("utf8").toUpperCase());
    });
  });
  return true;
}
