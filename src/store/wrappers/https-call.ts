import { type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { connect as connectPlain, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { type Secret, secretBuffer } from "../../secret.ts";
import { randomBytes } from "../crypto.ts";
import { UnlockError } from "../errors.ts";
import { joinBytes } from "../join-bytes.ts";

/** One request to a key service. Never redirected, never through a proxy, one connection each. */
export interface HttpsCall {
  readonly method: "GET" | "POST" | "PUT";
  /** https; http only for the instance metadata services, which have fixed link-local addresses, and for loopback */
  readonly url: URL;
  /** `{name}` in a value stands for the secret of that name. */
  readonly fields?: readonly (readonly [name: string, value: string])[];
  readonly secrets?: ReadonlyMap<string, Secret>;
  /** The caller wipes it. */
  readonly body?: Buffer;
  /** PEM of the only authority to trust; null for the public ones */
  readonly ca: string | null;
}

export interface HttpsAnswer {
  readonly status: number;
  /** The caller wipes it. */
  readonly body: Buffer;
}

const MAX_ANSWER_BYTES = 64 * 1024;
const LINK_LOCAL =
  /^(?:169\.254\.\d{1,3}\.\d{1,3}|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\]|\[fd00:ec2::[0-9a-f]{1,4}\])$/;

/**
 * @param signal ends the call; the connection is then gone
 * @throws UnlockError unreachable (network, certificate), lying (too long an answer) or malformed (an address that is not https)
 */
export async function httpsCall(call: HttpsCall, signal: AbortSignal): Promise<HttpsAnswer> {
  const { url } = call;
  assertSafe(url);
  try {
    const socket = await connected(call, signal);
    try {
      return await exchange(call, socket);
    } finally {
      socket.destroy();
    }
  } catch (error) {
    throw error instanceof UnlockError ? error : unreachable(url, error);
  }
}

function assertSafe(url: URL): void {
  if (url.protocol === "https:") return;
  if (url.protocol === "http:" && LINK_LOCAL.test(url.hostname)) return;
  throw new UnlockError("malformed", `${url.origin} is not https; keys are fetched over TLS only`);
}

/** Resolves once the peer's certificate has been verified, so that nothing is written before. */
function connected({ url, ca }: HttpsCall, signal: AbortSignal): Promise<Socket> {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const secure = url.protocol === "https:";
  const port = url.port === "" ? (secure ? 443 : 80) : Number(url.port);
  const name = isIP(host) === 0 ? { servername: host } : {};
  const trust = ca === null ? {} : { ca };
  const tls = { minVersion: "TLSv1.2", rejectUnauthorized: true, ALPNProtocols: ["http/1.1"] } as const;
  const socket = secure ? connectTls({ host, port, ...name, ...trust, ...tls }) : connectPlain({ host, port });
  const abort = (): void => {
    socket.destroy(new UnlockError("timeout", `${url.host} did not answer in time`));
  };
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  socket.once("close", () => signal.removeEventListener("abort", abort));
  return new Promise((resolve, reject) => {
    // It stays, so that an error between two listeners ends nothing but this call.
    socket.on("error", reject);
    socket.once(secure ? "secureConnect" : "connect", () => {
      resolve(socket);
    });
  });
}

function exchange(call: HttpsCall, socket: Socket): Promise<HttpsAnswer> {
  const { method, url, body } = call;
  const secrets = new Map<string, Secret>();
  const headers: Record<string, string> = { Host: url.host, Connection: "close" };
  for (const [name, value] of call.fields ?? []) headers[name] = marked(value, call.secrets ?? new Map(), secrets);
  if (body !== undefined) headers["Content-Length"] = String(body.length);
  spliceSecrets(socket, secrets);
  return new Promise((resolve, reject) => {
    const path = `${url.pathname}${url.search}`;
    const options = { method, path, headers, setHost: false, createConnection: () => socket };
    const sent: ClientRequest = httpRequest(options, (answer) => {
      collect(answer, url).then(resolve, reject);
    });
    sent.once("error", reject);
    sent.end(body);
  });
}

/** The value with a random marker for each `{name}`; what they stand for goes into `slots`. */
function marked(value: string, secrets: ReadonlyMap<string, Secret>, slots: Map<string, Secret>): string {
  return value.replace(/\{(\w+)\}/g, (_, name: string) => {
    const secret = secrets.get(name);
    if (secret === undefined) throw new Error(`internal: no secret ${name} for a header field`);
    const marker = `skm${randomBytes(16).toString("hex")}`;
    slots.set(marker, secret);
    return marker;
  });
}

/**
 * Replaces the markers by the secrets' bytes when the request head is written: in a header field they would be
 * strings, which nobody can wipe.
 */
function spliceSecrets(socket: Socket, slots: ReadonlyMap<string, Secret>): void {
  // Head and body one by one: written together, they would be copied into memory that nobody wipes.
  socket.cork = () => undefined;
  if (slots.size === 0) return;
  const write = socket.write.bind(socket) as (chunk: Uint8Array | string, ...rest: unknown[]) => boolean;
  socket.write = (chunk: Uint8Array | string, ...rest: unknown[]): boolean => {
    if (typeof chunk !== "string" || !chunk.includes("skm")) return write(chunk, ...rest);
    const head = withSecrets(chunk, slots);
    const done = rest.find((one) => typeof one === "function");
    return write(head, (...result: unknown[]) => {
      head.fill(0);
      done?.(...result);
    });
  };
}

function withSecrets(head: string, slots: ReadonlyMap<string, Secret>): Buffer {
  const parts = head.split(/(skm[0-9a-f]{32})/).map((part) => slots.get(part) ?? part);
  return joinBytes(parts);
}

async function collect(answer: IncomingMessage, url: URL): Promise<HttpsAnswer> {
  const own = secretBuffer(MAX_ANSWER_BYTES);
  let length = 0;
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      if (length + chunk.length > own.length) throw tooLong(url);
      own.set(chunk, length);
      length += chunk.length;
      chunk.fill(0);
    }
    return { status: answer.statusCode ?? 0, body: own.subarray(0, length) };
  } catch (error) {
    own.fill(0);
    throw error;
  }
}

function tooLong(url: URL): UnlockError {
  return new UnlockError(
    "lying",
    `${url.host} answered with more than ${MAX_ANSWER_BYTES} bytes; is it the right address?`,
  );
}

function unreachable(url: URL, error: unknown): UnlockError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "no answer";
  if (/CERT|SIGNATURE|ISSUER/.test(code)) {
    const next = "name its authority with `ca:`, or correct the address";
    return new UnlockError("unreachable", `${url.host}: its TLS certificate is not accepted (${code}); ${next}`);
  }
  if (/^ERR_(?:TLS|SSL)|^EPROTO/.test(code)) {
    return new UnlockError(
      "unreachable",
      `${url.host} does not speak TLS 1.2 or newer (${code}); is it the right port?`,
    );
  }
  return new UnlockError("unreachable", `${url.host} cannot be reached (${code}); check the address and the network`);
}
