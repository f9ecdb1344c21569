import { constants } from "node:crypto";
import type { Server as HttpServer } from "node:http";
import type { Http2Server } from "node:http2";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { createSecureContext, type SecureContext, TLSSocket } from "node:tls";
import { carriedBy } from "./connections.ts";
import type { ConnectContext } from "./requests.ts";
import type { Waits } from "./waits.ts";

/**
 * The TLS side of an intercepted CONNECT: only for hosts that the policy names, only with the server
 * name that the CONNECT named (threats A2, I4, I8). Anything else in the tunnel is closed.
 */

export interface InterceptOptions {
  /** The leaf for a policy host, or null; never mints for a name that a client made up. */
  readonly leafFor: (host: string) => SecureContext | null | Promise<SecureContext | null>;
  readonly http1: HttpServer;
  readonly http2: Http2Server;
  /** Called once for a connection that never became TLS for its host. */
  readonly refused: (reason: string) => void;
  readonly waits: Pick<Waits, "handshakeMs">;
}

/** A property of the socket, because an HTTP/2 session shows its socket only through a proxy object. */
const CONNECT = Symbol("connect");
type Tagged = { [CONNECT]?: ConnectContext };

/** The CONNECT that a connection of the inner servers belongs to; null on the proxy port itself. */
export function connectContextOf(socket: Duplex): ConnectContext | null {
  return (socket as Duplex & Tagged)[CONNECT] ?? null;
}

/** Has no certificate, so a client that sends no server name gets no handshake; tickets are off (threats I8). */
const NO_CERTIFICATE = createSecureContext({
  minVersion: "TLSv1.2",
  secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
});

/** Answers the CONNECT and speaks TLS on `raw`; the inner requests reach the inner servers. */
export function intercept(raw: Socket, head: Buffer, context: ConnectContext, options: InterceptOptions): void {
  raw.write("HTTP/1.1 200 Connection Established\r\n\r\n");
  if (head.length > 0) raw.unshift(head);
  const host = context.authority.host;
  const socket = new TLSSocket(raw, {
    isServer: true,
    secureContext: NO_CERTIFICATE,
    ALPNProtocols: ["h2", "http/1.1"],
    SNICallback: (name, done) => chooseLeaf(name, host, options, done),
  });
  let ended = false;
  const failed = (): void => {
    if (ended) return;
    ended = true;
    clearTimeout(timer);
    options.refused("tls_handshake");
    socket.destroy();
    raw.destroy();
  };
  const timer = setTimeout(failed, options.waits.handshakeMs);
  socket.on("error", failed).on("end", failed).on("close", failed);
  socket.once("secure", () => {
    if (serverNameOf(socket) !== host) return failed();
    clearTimeout(timer);
    socket.off("error", failed).off("end", failed).off("close", failed);
    const tagged = socket as TLSSocket & Tagged & { secureConnecting: boolean };
    tagged[CONNECT] = context;
    carriedBy(socket, raw);
    // What tls.Server does for its own sockets; an HTTP/2 session waits for it.
    tagged.secureConnecting = false;
    if (socket.alpnProtocol !== "h2") {
      options.http1.emit("connection", socket);
      return;
    }
    // HTTP/1.1 deals with a client's end itself; an HTTP/2 session would keep the streams of a client that is gone.
    socket.allowHalfOpen = false;
    options.http2.emit("connection", socket);
  });
}

/** Answers a CONNECT to port 80: what follows is plain HTTP/1.1; anything else is malformed and closed. */
export function interceptPlain(raw: Socket, head: Buffer, context: ConnectContext, options: InterceptOptions): void {
  raw.write("HTTP/1.1 200 Connection Established\r\n\r\n");
  if (head.length > 0) raw.unshift(head);
  (raw as Socket & Tagged)[CONNECT] = context;
  options.http1.emit("connection", raw);
}

/** Must never throw: an exception in here ends the process (threats I5). */
function chooseLeaf(
  name: string,
  host: string,
  options: InterceptOptions,
  done: (error: Error | null, context?: SecureContext) => void,
): void {
  if (name.toLowerCase() !== host) {
    done(new Error("the server name is not the CONNECT's host"));
    return;
  }
  Promise.resolve()
    .then(() => options.leafFor(host))
    .then(
      (context) => (context ? done(null, context) : done(new Error("no certificate for this host"))),
      (error: unknown) => done(error instanceof Error ? error : new Error("no certificate for this host")),
    );
}

/** Node keeps the client's server name on the server side's socket; its types only know the client's side. */
function serverNameOf(socket: TLSSocket): string | null {
  const name = (socket as TLSSocket & { readonly servername?: string | false }).servername;
  return typeof name === "string" ? name.toLowerCase() : null;
}
