import { classifyAddress } from "../policy/address.ts";
import { authorityKey, canonicalHost, parseAuthority } from "../policy/host.ts";

export interface HostPort {
  /** IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

/**
 * An address to listen on or to dial: IP and port, `localhost` standing for 127.0.0.1.
 * @throws Error that says what to write
 */
export function parseIpPort(text: string): HostPort {
  const parsed = parseAuthority(text, null);
  if (!parsed.ok)
    throw new Error(`"${text.slice(0, 80)}": ${parsed.reason}; write address:port, such as 127.0.0.1:8787`);
  if (parsed.kind !== "name") return { host: parsed.host, port: parsed.port };
  if (parsed.host === "localhost") return { host: "127.0.0.1", port: parsed.port };
  throw new Error(`"${text.slice(0, 80)}" is a name; write an IP address and port, such as 127.0.0.1:${parsed.port}`);
}

export function isLoopbackAddress(ip: string): boolean {
  return classifyAddress(ip) === "loopback";
}

/**
 * Key of `upstream.hosts`: canonical `host`, or `host:port` when a port is written.
 * @throws Error that says what to write
 */
export function parseUpstreamName(text: string): string {
  const parsed = parseAuthority(text, 443);
  if (!parsed.ok) throw new Error(`${parsed.reason}; write the provider's host name, or host:port`);
  const bare = canonicalHost(text);
  return bare.ok ? bare.host : authorityKey(parsed.host, parsed.port);
}

/** @throws Error that says what to write */
export function parseLocalName(text: string): string {
  const parsed = canonicalHost(text);
  if (parsed.ok && parsed.kind === "name") return parsed.host;
  const reason = parsed.ok ? "is an address; loopback addresses are always accepted" : parsed.reason;
  throw new Error(`"${text.slice(0, 80)}": ${reason}; write a host name, such as sidekey`);
}

/**
 * `http://host:port` or `http://user@host:port`. Only http: the CONNECT to the proxy is in the clear, what
 * runs inside it is TLS to the provider.
 * @throws Error that says what to write; it never repeats the text, which may hold a password
 */
export function parseProxyUrl(text: string): HostPort & { readonly user: string | null } {
  const match = /^http:\/\/(?:(?<login>[^@/?#]*)@)?(?<authority>[^@/?#]+)\/?$/.exec(text);
  if (match?.groups === undefined) throw new Error("is not http://host:port or http://user@host:port");
  const { login, authority = "" } = match.groups;
  if (login?.includes(":")) {
    throw new Error("has a password in the URL; remove it and name a file in upstream.proxyPasswordFile");
  }
  const parsed = parseAuthority(authority, null);
  if (!parsed.ok) throw new Error(`${parsed.reason}; write http://host:port`);
  return { host: parsed.host, port: parsed.port, user: login === undefined ? null : decodeUser(login) };
}

function decodeUser(login: string): string {
  let user = "";
  try {
    user = decodeURIComponent(login);
  } catch {
    throw new Error("has a user name with a broken %-escape; write % as %25");
  }
  // A colon would end the user name inside Basic credentials (RFC 7617 section 2).
  if (!/^[\x21-\x39\x3b-\x7e]+$/.test(user)) throw new Error("has an empty user name, or one with odd characters");
  return user;
}
