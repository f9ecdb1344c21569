import type { Socket } from "node:net";
import type { Secret } from "../../secret.ts";
import { ProxyError } from "./errors.ts";

/** A corporate proxy on the way to every provider: what is said to it, on a socket that dial.ts has opened. */

export interface UpstreamProxy {
  readonly host: string;
  readonly port: number;
  /** Base64 of `user:password` for Basic authentication, or null. Stays open as long as the daemon runs. */
  readonly credentials: Secret | null;
}

/** In bytes, because it may hold the proxy's password. */
export function connectHead(authority: string, credentials: Secret | null): Buffer {
  const start = `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n`;
  if (!credentials) return Buffer.from(`${start}\r\n`, "latin1");
  const before = Buffer.from(`${start}Proxy-Authorization: Basic `, "latin1");
  return credentials.use((bytes) => Buffer.concat([before, bytes, Buffer.from("\r\n\r\n")]));
}

const PROXY_ANSWER_LIMIT = 8 * 1024;

/** Waits for the corporate proxy's 2xx; its head must end exactly where the tunnel begins. */
export function proxyAccepted(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    let head = Buffer.alloc(0);
    const settle = (error: ProxyError | null): void => {
      socket.off("data", onData).off("error", onEnd).off("close", onEnd);
      socket.pause();
      if (error) {
        socket.destroy();
        reject(error);
      } else {
        resolve();
      }
    };
    const onEnd = (): void => settle(new ProxyError("upstream_connect", "the upstream proxy closed the connection"));
    const onData = (chunk: Buffer): void => {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf("\r\n\r\n");
      if (end === -1) {
        if (head.length > PROXY_ANSWER_LIMIT) onEnd();
        return;
      }
      const accepted = /^HTTP\/1\.[01] 2\d\d[ \r]/.test(head.toString("latin1", 0, 20)) && head.length === end + 4;
      settle(accepted ? null : new ProxyError("upstream_connect", "the upstream proxy refused the tunnel"));
    };
    socket.on("data", onData).on("error", onEnd).on("close", onEnd);
  });
}
