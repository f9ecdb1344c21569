import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import {
  createServer as createHttp2Server,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import type { SecureContext } from "node:tls";
import type { PolicySnapshot } from "../../policy/compile.ts";
import { listen } from "../listen.ts";
import type { Pipeline } from "../pipeline/pipeline.ts";
import type { TunnelRequest } from "../pipeline/tunnel.ts";
import { onConnect } from "./connect.ts";
import { isClosing } from "./downstream-h1.ts";
import { MAX_FIELDS, MAX_HEAD_BYTES } from "./head.ts";
import { connectContextOf } from "./intercept.ts";
import { responseOn } from "./raw-response.ts";
import { incomingRequest } from "./requests.ts";
import { incomingStream } from "./streams.ts";

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

/**
 * Counted, not collected: a Set that changes with every request keeps what was deleted from it alive through the
 * garbage collector's generations, and with it the whole request (4 KB each, measured).
 */
interface Unfinished {
  count: number;
}

/** The last answer of a connection, on its socket. */
const ANSWER = Symbol("answer");
type Answering = { [ANSWER]?: ServerResponse };

const HEAD_MS = 10_000;
const KEEP_ALIVE_MS = 65_000;
/** A connection on which nothing moves for this long is closed, in the middle of a body too. */
const IDLE_MS = 300_000;

export function createIngress(options: IngressOptions): Ingress {
  const sockets = new Set<Socket>();
  const unfinished: Unfinished = { count: 0 };
  const outer = httpServer(options, unfinished);
  const inner = httpServer(options, unfinished);
  // It never listens itself, and without this event Node would not keep its time limits or its idle list.
  inner.emit("listening");
  const http2 = http2Server(options, unfinished);
  outer.maxConnections = options.maxConnections;
  outer.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.once("close", () => sockets.delete(socket));
  });
  outer.on("connect", (request: IncomingMessage, socket: Socket, head: Buffer) =>
    onConnect(request, socket, head, { ...options, http1: inner, http2 }),
  );
  return {
    listen: (at) => listen(outer, at),
    stopAccepting: () => {
      outer.close();
      outer.closeIdleConnections();
      inner.close();
    },
    destroy: () => {
      for (const socket of sockets) socket.destroy();
    },
    get connections() {
      return sockets.size;
    },
    get unfinished() {
      return unfinished.count;
    },
  };
}

function httpServer(options: IngressOptions, unfinished: Unfinished): Server {
  const server = createServer({
    maxHeaderSize: MAX_HEAD_BYTES,
    headersTimeout: HEAD_MS,
    requestTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: 1_000,
    // The duty of head.ts, which answers with a problem document.
    requireHostHeader: false,
    shouldUpgradeCallback: isPlainUpgrade,
  });
  // One more than allowed, so that head.ts sees the excess instead of a silently shortened list (threats M6).
  server.maxHeadersCount = MAX_FIELDS + 1;
  server.timeout = IDLE_MS;
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    if (isClosing(request.socket)) return;
    (request.socket as Socket & Answering)[ANSWER] = response;
    unfinished.count++;
    response.once("close", () => unfinished.count--);
    run(incomingRequest(request, response, connectContextOf(request.socket), options.localNames, null), options);
  };
  server.on("request", handle);
  server.on("checkContinue", handle);
  server.on("checkExpectation", handle);
  server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on("error", () => socket.destroy());
    const response = responseOn(request, socket);
    if (!response) return options.refused("pipelined");
    run(incomingRequest(request, response, connectContextOf(socket), options.localNames, head), options);
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    const answer = (socket as Socket & Answering)[ANSWER];
    // Inside an answer that has begun, another one would be taken for a part of it.
    if (answer?.headersSent && !answer.writableFinished) socket.destroy();
    refuseMalformed(error, socket, options);
  });
  return server;
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
function http2Server(options: IngressOptions, unfinished: Unfinished): Http2Server {
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
  server.on("session", (session) => session.setTimeout(IDLE_MS, () => session.close()));
  server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, raw: string[]) => {
    const connect = stream.session ? connectContextOf(stream.session.socket) : null;
    if (!connect) {
      stream.destroy();
      return;
    }
    unfinished.count++;
    stream.once("close", () => unfinished.count--);
    run(incomingStream(stream, headers, raw, connect), options);
  });
  return server;
}

function run(incoming: Parameters<Pipeline>[0], options: IngressOptions): void {
  // The pipeline answers and records every failure itself; what gets here is a defect, and must not hang the client.
  options.pipeline(incoming).catch(() => incoming.downstream.abort());
}
