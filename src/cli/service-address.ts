import type { Config, ListenAddress } from "../daemon/config.ts";

const ANY_ADDRESS: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

/** `host:port` under which a service on this machine reaches the proxy. */
export function proxyAddress(config: Config): string {
  const { host, port } = config.listen.proxy;
  return hostPort({ host: ANY_ADDRESS.has(host) ? "127.0.0.1" : host, port });
}

export function hostPort({ host, port }: ListenAddress): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The URL that goes into HTTP_PROXY. */
export function proxyUrl(address: string, client: string, token: string): string {
  return `http://${encodeURIComponent(client)}:${encodeURIComponent(token)}@${address}`;
}
