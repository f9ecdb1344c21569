import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import {
  createServer as createHttp2Server,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { SecureContext } from "node:tls";
import type { PolicySnapshot } from "../../policy/compile.ts";
import { listen } from "../listen.ts";
import type { Pipeline } from "../pipeline/pipeline.ts";
import type { TunnelRequest } from "../pipeline/tunnel.ts";
import { onConnect } from "./connect.ts";
import { type Connection, Connections, connectionOf } from "./connections.ts";
import { isClosing } from "./downstream-h1.ts";
import { limitControlFrames } from "./h2-control.ts";
import { MAX_FIELDS, MAX_HEAD_BYTES } from "./head.ts";
import { connectContextOf } from "./intercept.ts";
import { responseOn } from "./raw-response.ts";
import { incomingRequest } from "./requests.ts";
import { type Paced, SlowClients } from "./slow-clients.ts";
import { incomingStream } from "./streams.ts";
import type { Waits } from "./waits.ts";

/** The proxy port: every request form arrives here and leaves as an `Incoming` for the one pipeline. */

export interface IngressOptions {
  readonly pipeline: Pipeline;
  readonly runTunnel: (tunnel: TunnelRequest) => Promise<void>;
  readonly knows: (authorization: string, remoteAddress: string) => boolean;
  readonly policy: () => PolicySnapshot;
  readonly leafFor: (host: string) => SecureContext | null | Promise<SecureContext | null>;
  /** Names that base URLs may use for sidekey itself, lower-case. */
  readonly localNames: ReadonlySet<string>;
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  readonly waits: Waits;
  readonly draining: () => boolean;
  readonly vaultSealed: () => boolean;
  /** A connection ended before there was a request to record. */
  readonly refused: (reason: string) => void;
}

export interface Ingress {
  listen(at: { host: string; port: number }): Promise<{ host: string; port: number }>;
  /** Stops accepting and closes idle connections. */
  stopAccepting(): void;
  /** Ends every connection at once. */
  destroy(): void;
  readonly connections: number;
  /** Answers whose last byte has not left for the client yet; the exchange may have ended before. */
  readonly unfinished: number;
}

/** What the servers share of all that is open. */
interface Open {
  readonly connections: Connections;
  readonly exchanges: SlowClients;
}

/** The last answer of a connection, on its socket. */
const ANSWER = Symbol("answer");
type Answering = { [ANSWER]?: ServerResponse };

const KEEP_ALIVE_MS = 65_000;
/** After so long without a byte TCP asks whether the other side is still there: a machine that died says no goodbye. */
const PROBE_MS = 60_000;
/** An HTTP/2 session on which nothing moves for this long is told that it ends. */
const IDLE_MS = 300_000;
/** How often idle and noisy connections are looked for. */
const LOOK_MS = 1_000;
/** Most time between two looks at heads that take too long. */
const HEAD_LOOK_MS = 1_000;

export function createIngress(options: IngressOptions): Ingress {
  const open = openParts(options);
  const { connections, exchanges } = open;
  const outer = httpServer(options, open);
  const inner = httpServer(options, open);
  // It never listens itself, and without this event Node would not keep its time limits or its idle list.
  inner.emit("listening");
  const http2 = http2Server(options, open);
  outer.prependListener("connection", (socket: Socket) => {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, PROBE_MS);
    connections.accept(socket);
  });
  outer.on("connect", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const connection = connectionOf(socket);
    onConnect(request, socket, head, {
      ...options,
      http1: inner,
      http2,
      tunnelled: () => watchTunnel(socket, connection, open),
    });
  });
  const look = setInterval(() => connections.look(), LOOK_MS).unref();
  const endLooking = (): void => {
    clearInterval(look);
    exchanges.close();
  };
  return {
    listen: (at) => listen(outer, at),
    stopAccepting: () => {
      outer.close();
      outer.closeIdleConnections();
      inner.close();
    },
    destroy: () => {
      endLooking();
      connections.destroyAll();
    },
    get connections() {
      return connections.size;
    },
    get unfinished() {
      return exchanges.size;
    },
  };
}

function openParts({ maxConnections, maxConnectionsPerAddress, waits, refused }: IngressOptions): Open {
  const now = (): number => performance.now();
  return {
    connections: new Connections({ max: maxConnections, maxPerAddress: maxConnectionsPerAddress, now, refused }),
    exchanges: new SlowClients({ allowedMs: waits.slowMs, now, hungUp: () => refused("slow_reader") }),
  };
}

/** A tunnel is one exchange until it closes, and its client has to read like any other. */
function watchTunnel(socket: Socket, connection: Connection | null, { connections, exchanges }: Open): void {
  connections.began(connection);
  const exchange = exchanges.begin({
    get pending() {
      return socket.writableLength;
    },
    get handed() {
      return socket.bytesWritten;
    },
    requestBody: null,
    hangUp: () => socket.destroy(),
  });
  socket.once("close", () => exchanges.end(exchange));
}

function httpServer(options: IngressOptions, open: Open): Server {
  const server = createServer({
    maxHeaderSize: MAX_HEAD_BYTES,
    headersTimeout: options.waits.headMs,
    requestTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: Math.min(HEAD_LOOK_MS, options.waits.headMs),
    // The duty of head.ts, which answers with a problem document.
    requireHostHeader: false,
    shouldUpgradeCallback: isPlainUpgrade,
  });
  // One more than allowed, so that head.ts sees the excess instead of a silently shortened list (threats M6).
  server.maxHeadersCount = MAX_FIELDS + 1;
  // An exchange may be silent for as long as its route says; what is slow or idle is looked for elsewhere.
  server.timeout = 0;
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    const { socket } = request;
    if (isClosing(socket)) return;
    (socket as Socket & Answering)[ANSWER] = response;
    const incoming = incomingRequest(request, response, connectContextOf(socket), options.localNames, null);
    follow(incoming.downstream, response, connectionOf(socket), open);
    run(incoming, options);
  };
  server.on("request", handle);
  server.on("checkContinue", handle);
  server.on("checkExpectation", handle);
  server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on("error", () => socket.destroy());
    const response = responseOn(request, socket);
    if (!response) return options.refused("pipelined");
    const incoming = incomingRequest(request, response, connectContextOf(socket), options.localNames, head);
    // Whatever comes of it, the connection ends with it.
    follow(incoming.downstream, socket, connectionOf(socket), open);
    run(incoming, options);
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    const answer = (socket as Socket & Answering)[ANSWER];
    // Inside an answer that has begun, another one would be taken for a part of it.
    if (answer?.headersSent && !answer.writableFinished) socket.destroy();
    refuseMalformed(error, socket, options);
  });
  return server;
}

/** Keeps an exchange among the open ones until `until` closes: its answer, its stream, or the socket of an upgrade. */
function follow(client: Paced, until: Duplex | ServerResponse, connection: Connection | null, open: Open): void {
  open.connections.began(connection);
  const exchange = open.exchanges.begin(client);
  until.once("close", () => {
    open.exchanges.end(exchange);
    open.connections.ended(connection);
  });
}

/** Only this shape is handed over as a raw socket; an Upgrade with a body is refused by the pipeline instead. */
function isPlainUpgrade(request: IncomingMessage): boolean {
  const { headers } = request;
  const hasBody = headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined;
  return request.method === "GET" && headers.upgrade?.toLowerCase() === "websocket" && !hasBody;
}

const MALFORMED_STATUS: ReadonlyMap<string, string> = new Map([
  ["HPE_HEADER_OVERFLOW", "431 Request Header Fields Too Large"],
  ["HPE_CHUNK_EXTENSIONS_OVERFLOW", "400 Bad Request"],
  ["ERR_HTTP_REQUEST_TIMEOUT", "408 Request Timeout"],
]);

function refuseMalformed(error: NodeJS.ErrnoException, socket: Socket, options: IngressOptions): void {
  options.refused(error.code === "ECONNRESET" ? "reset" : "malformed");
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = MALFORMED_STATUS.get(error.code ?? "") ?? "400 Bad Request";
  const code = status.startsWith("431") ? "headers_too_large" : "bad_request";
  const body = `${JSON.stringify({ type: `urn:sidekey:error:${code}`, title: code, code, detail: "the request is not valid HTTP/1.1" })}\n`;
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/problem+json\r\nContent-Length: ${body.length}\r\n` +
      `Sidekey-Error: ${code}\r\nConnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

/** Limits against floods (threats G1, G2): streams, header list, resets per second, invalid frames. */
function http2Server(options: IngressOptions, open: Open): Http2Server {
  const server = createHttp2Server({
    settings: { maxConcurrentStreams: 100, enablePush: false, maxHeaderListSize: MAX_HEAD_BYTES },
    maxHeaderListPairs: MAX_FIELDS + 8,
    maxSessionInvalidFrames: 100,
    maxSessionRejectedStreams: 100,
    maxSendHeaderBlockLength: 64 * 1024,
    streamResetBurst: 200,
    streamResetRate: 33,
    // Some providers send a field twice that should be single; that is for the client to judge.
    strictSingleValueFields: false,
  });
  server.on("sessionError", () => options.refused("h2_session"));
  server.on("session", (session) => {
    session.setTimeout(IDLE_MS, () => session.close());
    limitControlFrames(session, () => options.refused("h2_control_flood"));
  });
  server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, raw: string[]) => {
    const connect = stream.session ? connectContextOf(stream.session.socket) : null;
    if (!connect) {
      stream.destroy();
      return;
    }
    const incoming = incomingStream(stream, headers, raw, connect);
    follow(incoming.downstream, stream, stream.session ? connectionOf(stream.session.socket) : null, open);
    run(incoming, options);
  });
  return server;
}

function run(incoming: Parameters<Pipeline>[0], options: IngressOptions): void {
  // The pipeline answers and records every failure itself; what gets here is a defect, and must not hang the client.
  options.pipeline(incoming).catch(() => incoming.downstream.abort());
}
