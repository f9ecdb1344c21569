import { formatIp, parseIpv4, parseIpv6 } from "./ip.ts";

export type HostKind = "name" | "ipv4" | "ipv6";

export type HostResult =
  | { readonly ok: true; readonly host: string; readonly kind: HostKind }
  | { readonly ok: false; readonly reason: string };

export type AuthorityResult =
  | { readonly ok: true; readonly host: string; readonly port: number; readonly kind: HostKind }
  | { readonly ok: false; readonly reason: string };

/** RFC 1035 section 2.3.4. */
const MAX_NAME_LENGTH = 253;
const MAX_LABEL_LENGTH = 63;

function refused(reason: string): { ok: false; reason: string } {
  return { ok: false, reason };
}

/**
 * Brings a host from a request, a certificate or a file to the one spelling that is compared: lower case, no trailing
 * dot, A-labels; IPv4 as a dotted quad, IPv6 (which must come in brackets) without brackets as RFC 5952 writes it.
 * Everything that two programs could read differently is refused rather than repaired: non-ASCII, userinfo,
 * percent-encoding, zones, underscores, and names that a resolver would take for a number (`127.1`, `0x7f000001`).
 */
export function canonicalHost(raw: string): HostResult {
  if (raw === "") return refused("the host is empty");
  if (raw.length > MAX_NAME_LENGTH + 1) return refused(`the host is longer than ${MAX_NAME_LENGTH} characters`);
  if (raw.startsWith("[")) return canonicalIpv6(raw);
  const odd = /[^A-Za-z0-9.-]/u.exec(raw)?.[0];
  if (odd !== undefined) return refused(oddCharacterReason(odd));
  const dotted = raw.endsWith(".");
  const host = (dotted ? raw.slice(0, -1) : raw).toLowerCase();
  const labels = host.split(".");
  const last = labels.at(-1) ?? "";
  if (/^(?:[0-9]+|0x[0-9a-f]*)$/.test(last)) {
    if (dotted || parseIpv4(host) === null) return refused("the host looks like a number; write a.b.c.d in decimal");
    return { ok: true, host, kind: "ipv4" };
  }
  if (host.length > MAX_NAME_LENGTH) return refused(`the host is longer than ${MAX_NAME_LENGTH} characters`);
  for (const label of labels) {
    if (label === "") return refused("the host has an empty label");
    if (label.length > MAX_LABEL_LENGTH) return refused(`a label of the host is longer than ${MAX_LABEL_LENGTH}`);
    if (label.startsWith("-") || label.endsWith("-")) return refused("a label of the host begins or ends with -");
  }
  return { ok: true, host, kind: "name" };
}

function canonicalIpv6(raw: string): HostResult {
  const inner = raw.slice(1, -1);
  if (!raw.endsWith("]") || /[[\]]/.test(inner)) return refused("the host has misplaced brackets");
  if (inner.includes("%")) return refused("the host has a zone id");
  const bytes = parseIpv6(inner);
  if (bytes === null) return refused("the host in brackets is not an IPv6 address");
  return { ok: true, host: formatIp(bytes), kind: "ipv6" };
}

function oddCharacterReason(character: string): string {
  if (character === "@") return "the host has userinfo (@)";
  if (character === ":") return "the host has a colon; an IPv6 address needs brackets";
  if (character === "_") return "the host has an underscore";
  if (character === "*") return "the host has a wildcard; name exact hosts";
  const code = character.codePointAt(0) ?? 0;
  if (code > 0x7e) return "the host has a non-ASCII character; write the xn-- form";
  if (code <= 0x20 || code === 0x7f) return "the host has a space or control character";
  return `the host has "${character}"`;
}

/**
 * Parses `host`, `host:port` or `[v6]:port` (RFC 3986 section 3.2 without userinfo).
 * @param defaultPort port when none is written; null when it must be written (RFC 9110 section 9.3.6)
 */
export function parseAuthority(raw: string, defaultPort: number | null): AuthorityResult {
  const end = raw.startsWith("[") ? raw.indexOf("]") + 1 : raw.indexOf(":");
  if (raw.startsWith("[") && end === 0) return refused("the host has misplaced brackets");
  const hostText = end === -1 ? raw : raw.slice(0, end);
  const rest = end === -1 ? "" : raw.slice(end);
  // The whole is looked at first, so that `user:pw@host` is named for what it is and not for its port.
  if (raw.includes("@")) return refused("the host has userinfo (@)");
  const host = canonicalHost(hostText);
  if (!host.ok) return host;
  if (rest === "") {
    return defaultPort === null ? refused("the port is missing") : { ...host, port: defaultPort };
  }
  if (!rest.startsWith(":")) return refused("the host has misplaced brackets");
  const port = parsePort(rest.slice(1));
  return port === null ? refused("the port is not a number from 1 to 65535") : { ...host, port };
}

function parsePort(text: string): number | null {
  if (!/^[1-9][0-9]{0,4}$/.test(text)) return null;
  const port = Number(text);
  return port > 65535 ? null : port;
}

/** Key of an authority in maps and messages: `api.p.test:443`, `[::1]:443`. `host` must be canonical. */
export function authorityKey(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
