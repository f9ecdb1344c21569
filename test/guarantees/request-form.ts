import { type ClientHttp2Session, constants, connect as http2Connect, type OutgoingHttpHeaders } from "node:http2";
import type { Socket } from "node:net";
import type { TestContext } from "node:test";
import { type TLSSocket, connect as tlsConnect } from "node:tls";
import { connectRaw, type RawConnection, type RawReply, wholeResponse } from "../support/raw-client.ts";

/** The ways a request can take through sidekey. */
export const FORMS = ["absolute", "origin", "connect-h1", "connect-h2"] as const;
export type Form = (typeof FORMS)[number];

/** What the senders need to know of a running sidekey. */
export interface Gateway {
  readonly port: number;
  readonly caPem: string;
  readonly tokens: Readonly<Record<string, string>>;
}

export interface FormRequest {
  readonly host: string;
  /** Route id, for base URLs. */
  readonly route: string;
  readonly method?: string;
  readonly path?: string;
  /** Flat list of more fields. */
  readonly fields?: readonly string[];
  readonly body?: string;
  /** The client whose token is shown; null shows none. Default `app`. */
  readonly client?: string | null;
  /** Shown instead of the client's token. */
  readonly token?: string;
  readonly timeoutMs?: number;
  /** Server name in the TLS inside the CONNECT; default `host`. */
  readonly servername?: string;
}

export interface FormReply {
  /** 0 when no answer came. */
  readonly status: number;
  /** `Sidekey-Error`; null for answers of a provider. */
  readonly code: string | null;
  /** Everything the client saw: head and body. */
  readonly seen: string;
}

export function proxyAuthorization(client: string, token: string): string {
  return `Basic ${Buffer.from(`${client}:${token}`).toString("base64")}`;
}

/** Sends one request in one form, on a connection of its own. */
export async function sendForm(t: TestContext, form: Form, to: Gateway, request: FormRequest): Promise<FormReply> {
  if (form === "connect-h2") return sendH2(t, to, request);
  const connection: Tunnel = form === "connect-h1" ? await tunnelTo(t, to, request) : await connectRaw(t, to);
  if (connection.tunnelRefused) return connection.tunnelRefused;
  await connection.write(headOf(form, to, request) + (request.body ?? ""));
  const reply = await connection.read(wholeAnswer, request.timeoutMs);
  connection.close();
  return replyOf(reply);
}

type Tunnel = RawConnection & { readonly tunnelRefused?: FormReply };

/** Opens CONNECT and the TLS inside it. */
export async function tunnelTo(t: TestContext, to: Gateway, request: FormRequest): Promise<Tunnel> {
  const { connection, refused } = await openConnect(t, to, request);
  if (refused) return { ...connection, tunnelRefused: refused };
  return connection.startTls({ ca: to.caPem, servername: request.host, alpn: ["http/1.1"] });
}

async function openConnect(
  t: TestContext,
  to: Gateway,
  request: FormRequest,
): Promise<{ connection: RawConnection; refused: FormReply | null }> {
  const connection = await connectRaw(t, to);
  const authority = request.host.includes(":") ? request.host : `${request.host}:443`;
  const token = tokenFields(to, request);
  await connection.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${lines(token)}\r\n`);
  const answer = await connection.read((bytes) => bytes.includes("\r\n\r\n"));
  const refused = /^HTTP\/1\.1 200 /.test(answer.text) ? null : replyOf(answer);
  connection.discard();
  return { connection, refused };
}

function headOf(form: Form, to: Gateway, request: FormRequest): string {
  const { method = "GET", path = "/v1/data", host, body, fields = [] } = request;
  const target = form === "absolute" ? `http://${host}${path}` : form === "origin" ? `/${request.route}${path}` : path;
  const own = form === "origin" ? "localhost" : host;
  const token = form === "connect-h1" ? [] : tokenFields(to, request);
  const framed = fields.some((name) => /^(content-length|transfer-encoding)$/i.test(name));
  const length = body === undefined || framed ? [] : ["Content-Length", String(Buffer.byteLength(body, "latin1"))];
  return `${method} ${target} HTTP/1.1\r\nHost: ${own}\r\n${lines([...token, ...length, ...fields])}\r\n`;
}

function tokenFields(to: Gateway, { client = "app", token }: FormRequest): string[] {
  if (client === null) return [];
  return ["Proxy-Authorization", proxyAuthorization(client, token ?? to.tokens[client] ?? "")];
}

function lines(fields: readonly string[]): string {
  let text = "";
  for (let i = 0; i < fields.length; i += 2) text += `${fields[i]}: ${fields[i + 1]}\r\n`;
  return text;
}

function wholeAnswer(bytes: Buffer): boolean {
  const text = bytes.toString("latin1");
  if (/^HTTP\/1\.1 1\d\d /.test(text)) return false;
  if (/\r\ntransfer-encoding: *chunked\r\n/i.test(text)) return text.endsWith("0\r\n\r\n");
  return wholeResponse(bytes);
}

export function replyOf({ text }: Pick<RawReply, "text">): FormReply {
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1] ?? 0);
  return { status, code: /^sidekey-error: *(\S+)/im.exec(text)?.[1] ?? null, seen: text };
}

/** An HTTP/2 session inside a CONNECT, for requests that go out side by side. */
export async function openH2(
  t: TestContext,
  to: Gateway,
  request: FormRequest,
): Promise<{ session: ClientHttp2Session; refused: null } | { session: null; refused: FormReply }> {
  const { connection, refused } = await openConnect(t, to, request);
  if (refused) return { session: null, refused };
  const socket = await secured(connection, to, request, "h2");
  const session = http2Connect(`https://${request.host}`, { createConnection: () => socket });
  session.on("error", () => {});
  t.after(() => session.destroy());
  return { session, refused: null };
}

/** TLS inside an accepted CONNECT. With a `servername` of its own the client also does not care who answers. */
async function secured(
  connection: RawConnection,
  to: Gateway,
  { host, servername }: FormRequest,
  protocol: "h2" | "http/1.1",
): Promise<TLSSocket> {
  connection.socket.removeAllListeners("data");
  const socket = tlsConnect({
    socket: connection.socket as Socket,
    ca: to.caPem,
    servername: servername ?? host,
    rejectUnauthorized: servername === undefined,
    ALPNProtocols: [protocol],
  });
  connection.socket.once("close", () => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed in the TLS handshake")));
  });
  socket.on("error", () => {});
  return socket;
}

/** Sends `bytes` in the TLS inside a CONNECT and reads one answer; for clients that name three different hosts. */
export async function sendInTunnel(
  t: TestContext,
  to: Gateway,
  request: FormRequest,
  bytes: string,
): Promise<FormReply> {
  const { connection, refused } = await openConnect(t, to, request);
  if (refused) return refused;
  const socket = await secured(connection, to, request, "http/1.1");
  socket.write(bytes, "latin1");
  const chunks: Buffer[] = [];
  await new Promise<void>((resolve) => {
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      if (wholeAnswer(Buffer.concat(chunks))) resolve();
    });
    socket.once("close", resolve);
    socket.setTimeout(request.timeoutMs ?? 2_000, resolve);
  });
  socket.destroy();
  return replyOf({ text: Buffer.concat(chunks).toString("latin1") });
}

async function sendH2(t: TestContext, to: Gateway, request: FormRequest): Promise<FormReply> {
  const { session, refused } = await openH2(t, to, request);
  if (!session) return refused;
  const { method = "GET", path = "/v1/data", fields = [] } = request;
  const headers: OutgoingHttpHeaders = {
    ":method": method,
    ":path": path,
    ":scheme": "https",
    ":authority": request.host,
  };
  for (let i = 0; i < fields.length; i += 2) {
    const name = (fields[i] ?? "").toLowerCase();
    const before = headers[name];
    const value = fields[i + 1] ?? "";
    headers[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [String(before)]), value];
  }
  const reply = await streamH2(session, headers, request.body, request.timeoutMs);
  session.destroy();
  return reply;
}

/** One stream; `headers` go out as they are, pseudo-fields included. */
export function streamH2(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body?: string,
  timeoutMs = 5_000,
): Promise<FormReply> {
  return new Promise((resolve) => {
    let status = 0;
    let code: string | null = null;
    let seen = "";
    const settle = (): void => resolve({ status, code, seen });
    const stream = session.request(headers, { endStream: body === undefined });
    stream.on("response", (answer) => {
      status = Number(answer[":status"]);
      code = (answer["sidekey-error"] as string | undefined) ?? null;
      seen += JSON.stringify(answer);
    });
    stream.on("trailers", (trailers) => {
      seen += JSON.stringify(trailers);
    });
    stream.setEncoding("latin1").on("data", (text: string) => {
      seen += text;
    });
    stream.on("error", () => {});
    stream.once("close", settle);
    stream.setTimeout(timeoutMs, () => stream.close(constants.NGHTTP2_CANCEL));
    if (body !== undefined) stream.end(Buffer.from(body, "latin1"));
  });
}
