import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { type ClientHttp2Session, type ClientHttp2Stream, constants, connect as http2Connect } from "node:http2";
import { type Socket, connect as tcpConnect } from "node:net";
import type { Duplex, Readable, Writable } from "node:stream";
import type { TestContext } from "node:test";
import { type TLSSocket, connect as tlsConnect } from "node:tls";

/** The ways a request can take through sidekey. */
export const FORMS = ["absolute", "origin", "connect-h1", "connect-h2"] as const;
export type Form = (typeof FORMS)[number];

export interface Ask {
  readonly method?: string;
  /** Path and query at the provider. */
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Uint8Array;
  /** False: the token is not shown in Proxy-Authorization. */
  readonly token?: boolean;
}

type Fields = readonly (readonly [name: string, value: string])[];

/** The head of an answer, and its body as it comes. */
export interface OpenAnswer {
  readonly status: number;
  readonly fields: Fields;
  readonly body: Readable;
  values(name: string): string[];
}

export interface Answer extends Omit<OpenAnswer, "body"> {
  readonly body: Buffer;
  readonly trailers: Fields;
  /** False when the answer broke off. */
  readonly complete: boolean;
}

/** A request whose body the test writes itself. */
export interface OpenExchange {
  readonly request: Writable;
  readonly answer: Promise<OpenAnswer>;
  /** Status codes of interim answers, with their fields. */
  readonly interim: readonly { readonly status: number; readonly fields: Fields }[];
  whole(): Promise<Answer>;
  /** Goes away as a client does that is killed. */
  abort(): void;
}

/** A service that reaches one host through sidekey, always on the same connection when it may. */
export interface FormClient {
  readonly form: Form;
  /** Resolves once the request can be written; its head may not be out before the body begins or ends. */
  open(ask: Ask): Promise<OpenExchange>;
  ask(ask?: Ask): Promise<Answer>;
}

export interface FormTarget {
  readonly port: number;
  readonly caPem: string;
  readonly tokens: Readonly<Record<string, string>>;
  readonly host: string;
  /** First segment of base URLs. */
  readonly route: string;
  readonly client?: string;
}

export function formClient(t: TestContext, form: Form, target: FormTarget): FormClient {
  const open = form === "connect-h2" ? h2Opener(t, target) : h1Opener(t, form, target);
  return {
    form,
    open,
    ask: async (ask = {}) => {
      const exchange = await open(ask);
      exchange.request.end(ask.body);
      return exchange.whole();
    },
  };
}

export function proxyAuthorization({ tokens, client = "app" }: FormTarget): string {
  return `Basic ${Buffer.from(`${client}:${tokens[client]}`).toString("base64")}`;
}

/** Opens a CONNECT and, with `alpn`, TLS inside it. */
export async function tunnelSocket(t: TestContext, target: FormTarget, alpn: string): Promise<TLSSocket> {
  const raw = tcpConnect({ host: "127.0.0.1", port: target.port });
  t.after(() => raw.destroy());
  raw.on("error", () => {});
  raw.write(`CONNECT ${target.host}:443 HTTP/1.1\r\nHost: ${target.host}:443\r\n\r\n`);
  await new Promise<void>((resolve, reject) => {
    raw.once("data", (bytes) => (bytes.includes("200") ? resolve() : reject(new Error(bytes.toString("latin1")))));
    raw.once("close", () => reject(new Error("closed before the CONNECT was answered")));
  });
  raw.pause();
  const socket = tlsConnect({ socket: raw, ca: target.caPem, servername: target.host, ALPNProtocols: [alpn] });
  raw.once("close", () => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.once("error", reject);
  });
  socket.on("error", () => {});
  return socket;
}

function requestFields(ask: Ask, target: FormTarget): Record<string, string | string[]> {
  const fields: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(ask.headers ?? {})) {
    fields[name] = typeof value === "string" ? value : [...value];
  }
  if (ask.token !== false) fields["proxy-authorization"] = proxyAuthorization(target);
  return fields;
}

function h1Opener(t: TestContext, form: Form, target: FormTarget): (ask: Ask) => Promise<OpenExchange> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  if (form === "connect-h1") {
    const connectThrough = (_options: unknown, done: (error: Error | null, socket?: Duplex) => void): void => {
      tunnelSocket(t, target, "http/1.1").then((socket) => done(null, socket), done);
    };
    agent.createConnection = connectThrough as unknown as Agent["createConnection"];
  }
  return async (ask) => {
    const { method = "GET", path = "/v1/data" } = ask;
    const url = { absolute: `http://${target.host}${path}`, origin: `/${target.route}${path}` }[form as "absolute"];
    const host = form === "origin" ? `127.0.0.1:${target.port}` : target.host;
    const request = httpRequest({
      host: "127.0.0.1",
      port: target.port,
      agent,
      method,
      path: url ?? path,
      headers: { host, ...requestFields(ask, target) },
    });
    return h1Exchange(request);
  };
}

function h1Exchange(request: ClientRequest): OpenExchange {
  const interim: { status: number; fields: Fields }[] = [];
  let message: IncomingMessage | null = null;
  let broken = false;
  request.on("continue", () => interim.push({ status: 100, fields: [] }));
  request.on("information", (info) => {
    if (info.statusCode !== 100) interim.push({ status: info.statusCode, fields: pairs(info.rawHeaders) });
  });
  const answer = new Promise<OpenAnswer>((resolve, reject) => {
    request.once("response", (response) => {
      message = response;
      response.once("error", () => {
        broken = true;
      });
      const fields = pairs(response.rawHeaders);
      resolve({ status: response.statusCode ?? 0, fields, body: response, values: (name) => valuesOf(fields, name) });
    });
    request.on("error", reject);
  });
  answer.catch(() => {});
  return {
    request,
    answer,
    interim,
    abort: () => request.destroy(),
    whole: async () => {
      const { body, ...head } = await answer;
      const bytes = await drained(body);
      return {
        ...head,
        body: bytes,
        trailers: pairs(message?.rawTrailers ?? []),
        complete: !broken && message?.complete === true,
      };
    },
  };
}

function h2Opener(t: TestContext, target: FormTarget): (ask: Ask) => Promise<OpenExchange> {
  let session: Promise<ClientHttp2Session> | null = null;
  const connected = (): Promise<ClientHttp2Session> => {
    session ??= tunnelSocket(t, target, "h2").then((socket) => {
      const made = http2Connect(`https://${target.host}`, { createConnection: () => socket as Socket });
      made.on("error", () => {});
      t.after(() => made.destroy());
      return made;
    });
    return session;
  };
  return async (ask) => {
    const { method = "GET", path = "/v1/data" } = ask;
    const headers = { ":method": method, ":path": path, ...requestFields(ask, target) };
    return h2Exchange((await connected()).request(headers, { endStream: ask.body === undefined && method === "GET" }));
  };
}

function h2Exchange(stream: ClientHttp2Stream): OpenExchange {
  const interim: { status: number; fields: Fields }[] = [];
  let trailers: Fields = [];
  stream.on("error", () => {});
  stream.on("headers", (headers, _flags, raw) => {
    interim.push({ status: Number(headers[":status"]), fields: pairs(rawOf(raw)) });
  });
  stream.once("trailers", (_headers, _flags, raw) => {
    trailers = pairs(rawOf(raw));
  });
  const answer = new Promise<OpenAnswer>((resolve, reject) => {
    stream.once("response", (headers, _flags, raw) => {
      const fields = pairs(rawOf(raw)).filter(([name]) => !name.startsWith(":"));
      const status = Number(headers[":status"]);
      resolve({ status, fields, body: stream, values: (name) => valuesOf(fields, name) });
    });
    stream.once("close", () => reject(new Error(`the stream was closed with code ${stream.rstCode}`)));
  });
  answer.catch(() => {});
  return {
    request: stream,
    answer,
    interim,
    abort: () => stream.close(constants.NGHTTP2_CANCEL),
    whole: async () => {
      const { body, ...head } = await answer;
      const bytes = await drained(body);
      if (!stream.closed) await new Promise((resolve) => stream.once("close", resolve));
      return { ...head, body: bytes, trailers, complete: stream.rstCode === constants.NGHTTP2_NO_ERROR };
    },
  };
}

async function drained(body: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  body.on("data", (chunk: Buffer) => chunks.push(chunk));
  await new Promise<void>((resolve) => {
    body
      .once("end", resolve)
      .once("close", resolve)
      .once("error", () => resolve());
    if (body.readableEnded || body.destroyed) resolve();
  });
  return Buffer.concat(chunks);
}

function rawOf(raw: unknown): string[] {
  return Array.isArray(raw) ? raw.map(String) : [];
}

function pairs(raw: readonly string[]): Fields {
  const list: [string, string][] = [];
  for (let i = 0; i < raw.length; i += 2) list.push([raw[i] ?? "", raw[i + 1] ?? ""]);
  return list;
}

function valuesOf(fields: Fields, name: string): string[] {
  return fields.filter(([own]) => own.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
}
