import { lookup as lookupAll } from "node:dns/promises";
import { isIP, type LookupFunction, type Socket, connect as tcpConnect } from "node:net";
import { createSecureContext, type SecureContext, type TLSSocket, connect as tlsConnect } from "node:tls";
import { Pool } from "undici";
import { type Cidr, cidrContains, classifyAddress } from "../../policy/address.ts";
import { ProxyError } from "./errors.ts";
import type { SocketBinding, Splice } from "./splice.ts";
import { type Upstream, UpstreamPools } from "./upstream-pools.ts";
import { connectHead, proxyAccepted, type UpstreamProxy } from "./upstream-proxy.ts";

/**
 * Every upstream socket is made here (guarantee G5): resolve, classify every address, connect to a
 * vetted one, verify TLS for the target's name, attach the splice. Nothing in this file can turn the
 * verification off.
 */

/** A fixed address for a name: a private endpoint, a local gateway, a stand-in under test. */
export interface HostOverride {
  readonly address: string;
  readonly port: number;
  /** PEM of the authority that signs for it, instead of the public ones. */
  readonly ca: string | null;
}

export interface DialOptions {
  /** By `host:port`, then by host. */
  readonly overrides: ReadonlyMap<string, HostOverride>;
  readonly proxy: UpstreamProxy | null;
  /** True for an address and port that sidekey itself listens on (guarantee G13). */
  readonly isOwnListener: (address: string, port: number) => boolean;
  readonly splice: Splice;
  readonly resolve?: (host: string) => Promise<readonly string[]>;
  /** Upstream sockets per pool. */
  readonly socketsPerPool: number;
}

/** What one route allows a dial to do. */
export interface DialTarget {
  readonly host: string;
  readonly port: number;
  readonly route: string;
  readonly client: string;
  readonly tls: boolean;
  readonly private: readonly Cidr[];
  readonly connectTimeoutMs: number;
  readonly keepAlive: boolean;
}

const MIN_TLS = "TLSv1.2";
const IDLE_SOCKET_MS = 30_000;
/** After so long without a byte TCP asks whether the provider is still there: a quiet stream may be a dead one. */
const PROBE_MS = 60_000;

export class Dialer {
  readonly #options: DialOptions;
  readonly #pools: UpstreamPools;
  /** By authority; as many as `overrides` name, and the public ones. */
  readonly #contexts = new Map<string | null, SecureContext>();

  constructor(options: DialOptions) {
    this.#options = options;
    this.#pools = new UpstreamPools(options);
  }

  /**
   * The pool for one (client, route, authority): a socket is never shared between clients or routes, so
   * a confused upstream can only confuse the client it answers (threats C3).
   * @throws ProxyError overloaded
   */
  pool(target: DialTarget): Upstream {
    return this.#pools.get(poolKey(target), () => this.#newPool(target));
  }

  get poolCount(): number {
    return this.#pools.size;
  }

  /** A raw vetted connection for a tunnelled CONNECT. @throws ProxyError */
  async tunnel(host: string, port: number, connectTimeoutMs: number): Promise<Socket> {
    const target = { host, port, private: [], connectTimeoutMs };
    return withDeadline((attempt) => this.#rawSocket(target, attempt), connectTimeoutMs, host);
  }

  close(): Promise<void> {
    return this.#pools.close();
  }

  #newPool(target: DialTarget): Pool {
    const scheme = target.tls ? "https" : "http";
    return new Pool(`${scheme}://${bracketed(target.host)}:${target.port}`, {
      connections: this.#options.socketsPerPool,
      pipelining: 1,
      keepAliveTimeout: IDLE_SOCKET_MS,
      keepAliveMaxTimeout: IDLE_SOCKET_MS * 10,
      maxHeaderSize: 64 * 1024,
      strictContentLength: true,
      allowH2: false,
      connect: (_options, done) => {
        withDeadline((attempt) => this.#connect(target, attempt), target.connectTimeoutMs, target.host).then(
          (socket) => done(null, socket),
          (error: Error) => done(error, null),
        );
      },
    });
  }

  async #connect(target: DialTarget, attempt: Attempt): Promise<TLSSocket | Socket> {
    const raw = await this.#rawSocket(target, attempt);
    if (!target.tls) return raw.on("error", notTheEnd);
    const override = this.#override(target.host, target.port);
    const socket = await handshake(raw, target.host, this.#contextFor(override?.ca ?? null));
    const binding: SocketBinding = {
      authority: `${bracketed(target.host)}:${target.port}`,
      route: target.route,
      client: target.client,
    };
    this.#options.splice.attach(socket, binding);
    return socket.on("error", notTheEnd);
  }

  async #rawSocket(
    target: Pick<DialTarget, "host" | "port" | "private" | "connectTimeoutMs">,
    attempt: Attempt,
  ): Promise<Socket> {
    const override = this.#override(target.host, target.port);
    if (override) return this.#connectTo([override.address], override.port, target.host, attempt);
    if (this.#options.proxy) return this.#throughProxy(this.#options.proxy, target.host, target.port, attempt);
    const addresses = await this.#vetted(target.host, target.private);
    return this.#connectTo(addresses, target.port, target.host, attempt);
  }

  /** One for all sockets that trust the same authority: a context of its own costs each of them 20 KB and 1 ms. */
  #contextFor(ca: string | null): SecureContext {
    let context = this.#contexts.get(ca);
    if (!context) {
      context = createSecureContext({ minVersion: MIN_TLS, ...(ca === null ? {} : { ca }) });
      this.#contexts.set(ca, context);
    }
    return context;
  }

  #override(host: string, port: number): HostOverride | undefined {
    return this.#options.overrides.get(`${host}:${port}`) ?? this.#options.overrides.get(host);
  }

  /** Resolves once; one refused address refuses them all, because the next answer may be that one (threats B3). */
  async #vetted(host: string, open: readonly Cidr[]): Promise<readonly string[]> {
    const addresses = isIP(host) ? [host] : await this.#resolve(host);
    for (const address of addresses) {
      const kind = classifyAddress(address);
      if (kind === "public" || open.some((cidr) => cidrContains(cidr, address))) continue;
      throw new ProxyError(
        "upstream_refused_address",
        `${host} resolves to a ${kind} address; if that is intended, open it with \`private:\` on the route`,
        { reason: kind },
      );
    }
    return addresses;
  }

  async #resolve(host: string): Promise<readonly string[]> {
    try {
      const found = this.#options.resolve
        ? await this.#options.resolve(host)
        : (await lookupAll(host, { all: true, order: "verbatim" })).map((entry) => entry.address);
      if (found.length > 0) return found;
    } catch (cause) {
      throw new ProxyError("upstream_dns", `the name ${host} could not be resolved`, { cause });
    }
    throw new ProxyError("upstream_dns", `the name ${host} has no addresses`);
  }

  #connectTo(addresses: readonly string[], port: number, host: string, attempt: Attempt): Promise<Socket> {
    for (const address of addresses) {
      if (!this.#options.isOwnListener(address, port)) continue;
      throw new ProxyError("upstream_refused_address", `${host} leads back to sidekey itself`, {
        reason: "own_listener",
      });
    }
    return new Promise((resolve, reject) => {
      const pinned: LookupFunction = (_name, _options, done) =>
        done(
          null,
          addresses.map((address) => ({ address, family: isIP(address) })),
        );
      const socket = tcpConnect({
        host: "pinned.invalid",
        port,
        lookup: pinned,
        autoSelectFamily: true,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: PROBE_MS,
      });
      attempt.opened(socket);
      socket.once("connect", () => {
        socket.removeListener("error", failed);
        resolve(socket);
      });
      const failed = (cause: Error): void => {
        socket.destroy();
        reject(new ProxyError("upstream_connect", `no connection to ${host}:${port}`, { cause }));
      };
      socket.once("error", failed);
    });
  }

  async #throughProxy(proxy: UpstreamProxy, host: string, port: number, attempt: Attempt): Promise<Socket> {
    const addresses = isIP(proxy.host) ? [proxy.host] : await this.#resolve(proxy.host);
    const socket = await this.#connectTo(addresses, proxy.port, proxy.host, attempt);
    const head = connectHead(`${bracketed(host)}:${port}`, proxy.credentials);
    socket.write(head, () => head.fill(0));
    await proxyAccepted(socket);
    return socket;
  }
}

/**
 * The HTTP library takes ECONNRESET for the regular end of an answer that ends with its connection, so a
 * cut answer would look complete; under another name it is an error.
 */
function notTheEnd(error: NodeJS.ErrnoException): void {
  if (error.code === "ECONNRESET") error.code = "EPIPE";
}

function poolKey(target: DialTarget): string {
  const open = target.private.map((cidr) => cidr.text).join(",");
  return `${target.client}\n${target.route}\n${target.host}:${target.port}\n${target.tls}\n${open}\n${target.connectTimeoutMs}`;
}

function bracketed(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : host;
}

function handshake(raw: Socket, host: string, secureContext: SecureContext): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({
      socket: raw,
      host,
      ...(isIP(host) ? {} : { servername: host }),
      secureContext,
      ALPNProtocols: ["http/1.1"],
    });
    const failed = (cause: Error): void => {
      socket.destroy();
      raw.destroy();
      reject(new ProxyError("upstream_tls", tlsFailure(host, cause), { cause, reason: tlsReason(cause) }));
    };
    socket.once("error", failed);
    socket.once("secureConnect", () => {
      socket.removeListener("error", failed);
      if (socket.authorized) resolve(socket);
      else failed(new Error("unverified"));
    });
  });
}

function tlsReason(cause: Error): string {
  const code = (cause as NodeJS.ErrnoException).code ?? "";
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return "wrong_name";
  if (code === "CERT_HAS_EXPIRED") return "expired";
  if (code === "DEPTH_ZERO_SELF_SIGNED_CERT" || code === "SELF_SIGNED_CERT_IN_CHAIN") return "self_signed";
  if (code.startsWith("UNABLE_TO_")) return "untrusted";
  return "handshake";
}

function tlsFailure(host: string, cause: Error): string {
  return `the TLS certificate or handshake of ${host} was not acceptable (${tlsReason(cause)})`;
}

/**
 * What one attempt has opened so far. (An AbortSignal does the same, but stays with the socket for its whole life:
 * half a kilobyte each.)
 */
class Attempt {
  #socket: Socket | null = null;
  #late = false;

  opened(socket: Socket): void {
    if (this.#late) socket.destroy();
    else this.#socket = socket;
  }

  end(): void {
    this.#late = true;
    this.#socket?.destroy();
  }
}

/**
 * Runs `work`, whose sockets all end when it takes too long, however far their handshakes have come.
 * @throws ProxyError upstream_timeout; a socket that arrives late is destroyed.
 */
async function withDeadline<T extends Socket>(
  work: (attempt: Attempt) => Promise<T>,
  ms: number,
  host: string,
): Promise<T> {
  const attempt = new Attempt();
  let timer: NodeJS.Timeout | undefined;
  const socket = work(attempt);
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new ProxyError("upstream_timeout", `no connection to ${host} within ${ms} ms`, { reason: "connect" }));
      socket.then((arrived) => arrived.destroy()).catch(() => {});
      attempt.end();
    }, ms);
  });
  try {
    return await Promise.race([socket, late]);
  } finally {
    clearTimeout(timer);
  }
}
