import { lookup as lookupAll } from "node:dns/promises";
import { isIP, type LookupFunction, type Socket, connect as tcpConnect } from "node:net";
import { type TLSSocket, connect as tlsConnect } from "node:tls";
import { type Dispatcher, Pool } from "undici";
import { type Cidr, cidrContains, classifyAddress } from "../../policy/address.ts";
import type { Secret } from "../../secret.ts";
import { ProxyError } from "./errors.ts";
import type { SocketBinding, Splice } from "./splice.ts";

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

export interface UpstreamProxy {
  readonly host: string;
  readonly port: number;
  /** Base64 of `user:password` for Basic authentication, or null. Stays open as long as the daemon runs. */
  readonly credentials: Secret | null;
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

export class Dialer {
  readonly #options: DialOptions;
  readonly #pools = new Map<string, Pool>();

  constructor(options: DialOptions) {
    this.#options = options;
  }

  /**
   * The pool for one (client, route, authority): a socket is never shared between clients or routes, so
   * a confused upstream can only confuse the client it answers (threats C3).
   */
  pool(target: DialTarget): Dispatcher {
    const key = poolKey(target);
    let pool = this.#pools.get(key);
    if (!pool) {
      pool = this.#newPool(target);
      this.#pools.set(key, pool);
      this.#forgetWhenIdle(key, pool);
    }
    return pool;
  }

  get poolCount(): number {
    return this.#pools.size;
  }

  /** A raw vetted connection for a tunnelled CONNECT. @throws ProxyError */
  async tunnel(host: string, port: number, connectTimeoutMs: number): Promise<Socket> {
    const target = { host, port, private: [], connectTimeoutMs };
    return withDeadline((late) => this.#rawSocket(target, late), connectTimeoutMs, host);
  }

  async close(): Promise<void> {
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(pools.map((pool) => pool.destroy()));
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
        withDeadline((late) => this.#connect(target, late), target.connectTimeoutMs, target.host).then(
          (socket) => done(null, socket),
          (error: Error) => done(error, null),
        );
      },
    });
  }

  /** Pools whose sockets have all closed are dropped, so their number follows live traffic. */
  #forgetWhenIdle(key: string, pool: Pool): void {
    pool.on("disconnect", () => {
      if (pool.stats.connected > 0 || pool.stats.pending > 0 || pool.stats.running > 0) return;
      if (this.#pools.get(key) === pool) this.#pools.delete(key);
      pool.close().catch(() => {});
    });
  }

  async #connect(target: DialTarget, late: AbortSignal): Promise<TLSSocket | Socket> {
    const raw = await this.#rawSocket(target, late);
    if (!target.tls) return raw.on("error", notTheEnd);
    const override = this.#override(target.host, target.port);
    const socket = await handshake(raw, target.host, override?.ca ?? null);
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
    late: AbortSignal,
  ): Promise<Socket> {
    const override = this.#override(target.host, target.port);
    if (override) return this.#connectTo([override.address], override.port, target.host, late);
    if (this.#options.proxy) return this.#throughProxy(this.#options.proxy, target.host, target.port, late);
    const addresses = await this.#vetted(target.host, target.private);
    return this.#connectTo(addresses, target.port, target.host, late);
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

  #connectTo(addresses: readonly string[], port: number, host: string, late: AbortSignal): Promise<Socket> {
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
        signal: late,
      });
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

  async #throughProxy(proxy: UpstreamProxy, host: string, port: number, late: AbortSignal): Promise<Socket> {
    const addresses = isIP(proxy.host) ? [proxy.host] : await this.#resolve(proxy.host);
    const socket = await this.#connectTo(addresses, proxy.port, proxy.host, late);
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

function handshake(raw: Socket, host: string, ca: string | null): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({
      socket: raw,
      host,
      ...(isIP(host) ? {} : { servername: host }),
      ...(ca === null ? {} : { ca }),
      minVersion: MIN_TLS,
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

/** In bytes, because it may hold the proxy's password. */
function connectHead(authority: string, credentials: Secret | null): Buffer {
  const start = `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n`;
  if (!credentials) return Buffer.from(`${start}\r\n`, "latin1");
  const before = Buffer.from(`${start}Proxy-Authorization: Basic `, "latin1");
  return credentials.use((bytes) => Buffer.concat([before, bytes, Buffer.from("\r\n\r\n")]));
}

const PROXY_ANSWER_LIMIT = 8 * 1024;

/** Waits for the corporate proxy's 2xx; its head must end exactly where the tunnel begins. */
function proxyAccepted(socket: Socket): Promise<void> {
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

/**
 * Runs `work`, whose sockets all end when its signal is aborted, however far their handshakes have come.
 * @throws ProxyError upstream_timeout; a socket that arrives late is destroyed.
 */
async function withDeadline<T extends Socket>(
  work: (late: AbortSignal) => Promise<T>,
  ms: number,
  host: string,
): Promise<T> {
  const deadline = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const socket = work(deadline.signal);
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new ProxyError("upstream_timeout", `no connection to ${host} within ${ms} ms`, { reason: "connect" }));
      socket.then((arrived) => arrived.destroy()).catch(() => {});
      deadline.abort();
    }, ms);
  });
  try {
    return await Promise.race([socket, late]);
  } finally {
    clearTimeout(timer);
  }
}
