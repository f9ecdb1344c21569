import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { PolicySnapshot } from "../../policy/compile.ts";
import { authorityKey } from "../../policy/host.ts";
import { ProxyError } from "../pipeline/errors.ts";
import type { Incoming } from "../pipeline/exchange.ts";
import type { TunnelRequest } from "../pipeline/tunnel.ts";
import { MAX_HELLO_BYTES, readClientHello } from "./client-hello.ts";
import { DownstreamH1 } from "./downstream-h1.ts";
import { readHead } from "./head.ts";
import { type InterceptOptions, intercept, interceptPlain } from "./intercept.ts";
import { responseOn } from "./raw-response.ts";
import { type Authority, connectAuthority } from "./target.ts";

const HTTP_PORT = 80;
const HTTPS_PORT = 443;

/** What a CONNECT can become. */
export interface ConnectOptions extends InterceptOptions {
  readonly policy: () => PolicySnapshot;
  readonly draining: () => boolean;
  /** While it is, there is no certificate to intercept with: the CONNECT itself is answered. */
  readonly vaultSealed: () => boolean;
  /** Whether this Proxy-Authorization belongs to a client that may come from this address. */
  readonly knows: (authorization: string, remoteAddress: string) => boolean;
  readonly runTunnel: (tunnel: TunnelRequest) => Promise<void>;
  /** The CONNECT has become a tunnel. */
  readonly tunnelled: () => void;
}

/**
 * A host that a route names is intercepted also for a client that does not say who it is: nothing is dialled yet,
 * and the inner requests must show a token. Every other CONNECT is an exchange of its own, and so is one with a wrong
 * Proxy-Authorization, which is thereby refused at once and not only inside the tunnel.
 */
export function onConnect(request: IncomingMessage, socket: Socket, head: Buffer, options: ConnectOptions): void {
  // Whoever holds the socket next adds its own; without one an early reset would end the process.
  socket.on("error", () => socket.destroy());
  const response = responseOn(request, socket);
  if (!response) {
    options.refused("pipelined");
    return;
  }
  const found = options.draining() || options.vaultSealed() ? null : interceptedAuthority(request, options.policy());
  const authorization = headerOnce(request.rawHeaders, "proxy-authorization");
  const remoteAddress = socket.remoteAddress ?? "";
  if (found && (authorization === null || options.knows(authorization, remoteAddress))) {
    response.detachSocket(socket);
    const context = { ...found, authorization, remoteAddress };
    if (found.plain) interceptPlain(socket, head, context, options);
    else intercept(socket, head, context, options);
    return;
  }
  options.runTunnel(tunnelRequest(request, response, socket, head, options)).catch(() => socket.destroy());
}

/**
 * The authority to intercept for. Node's `fetch` opens a tunnel to port 80 for `http://` URLs; sidekey takes that
 * for what an absolute-form request to the host would be, and speaks TLS upstream all the same.
 */
function interceptedAuthority(
  request: IncomingMessage,
  policy: PolicySnapshot,
): { authority: Authority; plain: boolean } | null {
  try {
    const authority = parseConnect(request);
    if (policy.byAuthority.has(authorityKey(authority.host, authority.port))) return { authority, plain: false };
    if (authority.port !== HTTP_PORT || !policy.byAuthority.has(authorityKey(authority.host, HTTPS_PORT))) return null;
    return { authority: { host: authority.host, port: HTTPS_PORT }, plain: true };
  } catch {
    // Not lost: the tunnel exchange parses again and answers with the reason.
    return null;
  }
}

function parseConnect(request: IncomingMessage): Authority {
  const head = readHead("CONNECT", request.url ?? "", request.httpVersion, request.rawHeaders);
  if (head.hasBody) throw new ProxyError("bad_request", "a CONNECT has no body", { reason: "framing" });
  return connectAuthority(head);
}

function tunnelRequest(
  request: IncomingMessage,
  response: ServerResponse,
  socket: Socket,
  head: Buffer,
  { waits, tunnelled }: ConnectOptions,
): TunnelRequest {
  const incoming: Incoming = {
    form: "tunnel",
    method: "CONNECT",
    fields: request.rawHeaders,
    parse: () => ({
      target: { form: "tunnel", ...parseConnect(request), path: "", query: "" },
      body: null,
      bodyLength: null,
      expectContinue: false,
      websocketKey: null,
    }),
    upgradeHead: head,
    remoteAddress: socket.remoteAddress ?? "",
    connectAuthorization: null,
    downstream: new DownstreamH1(response),
    arrivedAt: performance.now(),
  };
  return {
    incoming,
    accept: () => {
      response.detachSocket(socket);
      socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
      if (head.length > 0) socket.unshift(head);
      tunnelled();
      return socket;
    },
    firstBytes: (client, host) => clientHelloFor(client, host, waits.handshakeMs),
  };
}

/** Collects the ClientHello; a tunnel that carries anything else is closed (threats B10). */
function clientHelloFor(socket: Socket, host: string, withinMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let bytes = Buffer.alloc(0);
    const settle = (accepted: boolean): void => {
      clearTimeout(timer);
      socket.off("data", onData).off("end", onClose).off("close", onClose);
      socket.pause();
      if (accepted) resolve(bytes);
      else
        reject(
          new ProxyError("authority_mismatch", "the tunnel does not carry TLS for its host", { reason: "tunnel_sni" }),
        );
    };
    const onClose = (): void => settle(false);
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      const hello = readClientHello(bytes);
      if (hello.kind === "incomplete" && bytes.length <= MAX_HELLO_BYTES) return;
      settle(hello.kind === "hello" && hello.serverName === host);
    };
    const timer = setTimeout(() => settle(false), withinMs);
    socket.on("data", onData).on("end", onClose).on("close", onClose);
  });
}

function headerOnce(raw: readonly string[], wanted: string): string | null {
  let found: string | null = null;
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i]?.toLowerCase() !== wanted) continue;
    // Two of them: an empty one can match no token, so the inner requests are refused.
    if (found !== null) return "";
    found = raw[i + 1] ?? "";
  }
  return found;
}
