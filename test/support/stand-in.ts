import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import type { TestContext } from "node:test";
import { createServer as createTlsServer, TLSSocket } from "node:tls";
import { type RawRequest, takeRequest } from "./http1-reader.ts";
import { type Leaf, makeAuthority, selfSigned, type TestAuthority } from "./test-authority.ts";

const DAY_MS = 86_400_000;

/** A request with what is known about the connection that brought it. */
export interface ReceivedRequest extends RawRequest {
  /** 1 for the first connection that the stand-in accepted, and so on: tells whether a socket was reused. */
  readonly connection: number;
  /** The name that the TLS client asked for; null without SNI or without TLS. */
  readonly servername: string | null;
}

/** What the stand-in answers: bytes as they are, or the parts of a well-formed response. */
export type StandInAnswer =
  | string
  | Uint8Array
  | {
      readonly status?: number;
      readonly headers?: Readonly<Record<string, string | readonly string[]>>;
      /** An iterable is sent chunked, one chunk for each item; anything else with a Content-Length. */
      readonly body?: string | Uint8Array | Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>;
      /** Closes the connection afterwards. */
      readonly close?: boolean;
    };

/**
 * Answers one request. Returning nothing means that the handler writes to the socket itself, and from then on owns
 * it: an upgrade, a hang, a reset. Strings are latin1: one character is one byte.
 */
export type StandInHandler = (
  request: ReceivedRequest,
  socket: Socket,
  // biome-ignore lint/suspicious/noConfusingVoidType: a handler that takes the socket over returns nothing
) => StandInAnswer | undefined | void | Promise<StandInAnswer | undefined | void>;

export interface StandInOptions {
  readonly hostnames: readonly string[];
  readonly handler?: StandInHandler;
  /** When it says no, the answer is 401 and the handler is not called. */
  readonly requireKey?: (request: ReceivedRequest) => boolean;
  /** Defaults to a good certificate for `hostnames`, signed by `authority`. */
  readonly certificate?: "good" | "wrong-name" | "expired" | "not-yet-valid" | "self-signed";
  /** Share one to make several stand-ins trusted by the same file. */
  readonly authority?: TestAuthority;
  /** False: plain HTTP, for routes with `upstream: http`. */
  readonly tls?: boolean;
  /** Only for a stand-in on a port that a test has to know beforehand. */
  readonly port?: number;
}

export interface StandIn {
  readonly port: number;
  readonly caPem: string;
  /** Every complete request, oldest first. */
  readonly requests: readonly ReceivedRequest[];
  /** Everything that each connection sent, decrypted, oldest connection first; also what never became a request. */
  received(): Buffer[];
  /** Bytes that could not be read as requests, one message each. Empty when all is well. */
  readonly problems: readonly string[];
  /** How many connections were accepted (with TLS: completed the handshake). */
  connections(): number;
  /** Failed handshakes: what a client that refuses our certificate leaves behind. */
  readonly handshakeErrors: readonly string[];
  /** Closes every connection that is open, as a provider does that has waited long enough; new ones are welcome. */
  dropConnections(): void;
  close(): Promise<void>;
}

/** Starts a stand-in provider on a free loopback port. It closes, with all its connections, when the test ends. */
export async function startStandIn(t: TestContext, options: StandInOptions): Promise<StandIn> {
  const authority = options.authority ?? makeAuthority();
  const requests: ReceivedRequest[] = [];
  const streams: Buffer[][] = [];
  const problems: string[] = [];
  const handshakeErrors: string[] = [];
  const sockets = new Set<Socket>();

  const accept = (socket: Socket): void => {
    const chunks: Buffer[] = [];
    const connection = streams.push(chunks);
    const servername = socket instanceof TLSSocket ? socket.servername || null : null;
    const reader = converse(socket, options, (request) => {
      const received = { ...request, connection, servername };
      requests.push(received);
      return received;
    });
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      reader(chunk).catch((error: Error) => {
        problems.push(error.message);
        socket.destroy();
      });
    });
  };

  const server = makeServer(options, authority, accept);
  server.on("connection", (socket: Socket) => {
    socket.setNoDelay(true);
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("tlsClientError", (error: Error) => handshakeErrors.push(error.message));
  await listen(server, options.port ?? 0);

  const dropConnections = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      dropConnections();
      server.close(() => resolve());
    });
  t.after(close);
  return {
    port: portOf(server),
    caPem: authority.caPem,
    requests,
    received: () => streams.map((chunks) => Buffer.concat(chunks)),
    problems,
    connections: () => streams.length,
    handshakeErrors,
    dropConnections,
    close,
  };
}

/** Reads requests one after another and answers each before the next. Returns what takes the socket's chunks. */
function converse(
  socket: Socket,
  options: StandInOptions,
  record: (request: RawRequest) => ReceivedRequest,
): (chunk: Buffer) => Promise<void> {
  let pending: Buffer = Buffer.alloc(0);
  let answering = false;
  return async (chunk) => {
    pending = Buffer.concat([pending, chunk]);
    if (answering) return;
    answering = true;
    for (let next = takeRequest(pending); next; next = takeRequest(pending)) {
      pending = next.rest;
      const request = record(next.request);
      const answer = await answerTo(request, socket, options);
      // `answering` stays true: the handler owns the socket now.
      if (answer === undefined) return;
      await send(socket, answer, request.method === "HEAD");
    }
    answering = false;
  };
}

async function answerTo(
  request: ReceivedRequest,
  socket: Socket,
  options: StandInOptions,
): Promise<StandInAnswer | undefined> {
  if (options.requireKey && !options.requireKey(request)) return { status: 401, body: "the key is missing or wrong" };
  if (!options.handler) return { body: "ok" };
  return (await options.handler(request, socket)) ?? undefined;
}

async function send(socket: Socket, answer: StandInAnswer, headOnly: boolean): Promise<void> {
  if (typeof answer === "string" || answer instanceof Uint8Array) return write(socket, answer);
  const { status = 200, headers = {}, body = "", close = false } = answer;
  const whole = typeof body === "string" || body instanceof Uint8Array ? asBytes(body) : null;
  const lines = [`HTTP/1.1 ${status} Stand-In`];
  for (const [name, value] of Object.entries(headers)) {
    for (const one of typeof value === "string" ? [value] : value) lines.push(`${name}: ${one}`);
  }
  lines.push(whole ? `content-length: ${whole.length}` : "transfer-encoding: chunked");
  if (close) lines.push("connection: close");
  await write(socket, `${lines.join("\r\n")}\r\n\r\n`);
  if (!headOnly && whole) await write(socket, whole);
  if (!headOnly && !whole) await sendChunks(socket, body as Iterable<string | Uint8Array>);
  if (close) socket.end();
}

async function sendChunks(
  socket: Socket,
  items: Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>,
): Promise<void> {
  for await (const item of items) {
    const bytes = asBytes(item);
    if (bytes.length === 0) continue;
    await write(socket, Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]));
  }
  await write(socket, "0\r\n\r\n");
}

// Resolves also when the peer is gone: a stand-in outlives the clients that hang up on it.
function write(socket: Socket, bytes: string | Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    if (!socket.writable) return resolve();
    socket.write(asBytes(bytes), () => resolve());
  });
}

function makeServer(options: StandInOptions, authority: TestAuthority, accept: (socket: Socket) => void): Server {
  if (options.tls === false) return createTcpServer(accept);
  const leaf = leafFor(options, authority);
  return createTlsServer({ cert: leaf.certPem, key: leaf.keyPem, ALPNProtocols: ["http/1.1"] }, accept);
}

function leafFor({ hostnames, certificate }: StandInOptions, authority: TestAuthority): Leaf {
  const now = Date.now();
  switch (certificate) {
    case "wrong-name":
      return authority.issue({ hostnames: ["another.example"] });
    case "expired":
      return authority.issue({ hostnames, notBefore: new Date(now - 2 * DAY_MS), notAfter: new Date(now - DAY_MS) });
    case "not-yet-valid":
      return authority.issue({ hostnames, notBefore: new Date(now + DAY_MS), notAfter: new Date(now + 2 * DAY_MS) });
    case "self-signed":
      return selfSigned({ hostnames });
    default:
      return authority.issue({ hostnames });
  }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      server.removeListener("error", reject);
      resolve();
    });
  });
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("stand-in: the server does not listen");
  return address.port;
}

function asBytes(item: string | Uint8Array): Uint8Array {
  return typeof item === "string" ? Buffer.from(item, "latin1") : item;
}
