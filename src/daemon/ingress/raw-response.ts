import { type IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/**
 * A response on a socket that Node has handed over (CONNECT, upgrade). The socket is closed once it
 * is sent: bytes behind a refused CONNECT or upgrade are never read as a request (RFC 9931).
 * @returns null, with the socket destroyed, when the client pipelined it behind a request that is not
 * answered yet: two answers would mix on the wire
 */
export function responseOn(request: IncomingMessage, socket: Socket): ServerResponse | null {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  try {
    response.assignSocket(socket);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_HTTP_SOCKET_ASSIGNED") throw error;
    socket.destroy();
    return null;
  }
  response.once("finish", () => {
    response.detachSocket(socket);
    socket.destroySoon();
  });
  return response;
}
