import { formatIp, hasPrefix, type IpBytes, parseIp, parseIpv4, parseIpv6, unmapped } from "./ip.ts";

/** What an address is good for. Only `public` may be dialled unless a route opens a range. */
export type AddressClass =
  | "public"
  | "private"
  | "loopback"
  | "link-local"
  | "metadata"
  | "cgn"
  | "nat64"
  | "6to4"
  | "teredo"
  | "mapped"
  | "multicast"
  | "reserved"
  | "documentation"
  | "unspecified"
  | "ula"
  | "invalid";

interface Block {
  readonly network: IpBytes;
  readonly bits: number;
  readonly class: AddressClass;
  /** Offset of an IPv4 address inside, and what its bytes are XORed with. */
  readonly embedded?: { readonly at: number; readonly xor: number };
}

function block(text: string, addressClass: AddressClass, embedded?: { at: number; xor: number }): Block {
  const [address = "", bits = ""] = text.split("/");
  const network = parseIpv4(address) ?? parseIpv6(address);
  if (network === null) throw new Error(`internal: bad block ${text}`);
  const base = { network, bits: Number(bits), class: addressClass };
  return embedded === undefined ? base : { ...base, embedded };
}

/**
 * Where clouds hand out instance credentials: AWS, GCP, Azure, OpenStack (169.254.169.254), ECS and EKS task roles,
 * AWS and GCP over IPv6, Alibaba, Oracle, and Azure's host agent, which is in public space.
 */
const METADATA: readonly Block[] = [
  block("169.254.169.254/32", "metadata"),
  block("169.254.170.2/32", "metadata"),
  block("169.254.170.23/32", "metadata"),
  block("100.100.100.200/32", "metadata"),
  block("192.0.0.192/32", "metadata"),
  block("168.63.129.16/32", "metadata"),
  block("fd00:ec2::254/128", "metadata"),
  block("fd00:ec2::23/128", "metadata"),
  block("fd20:ce::254/128", "metadata"),
];

/** IANA IPv4 Special-Purpose Address Registry (RFC 6890 and successors), plus multicast. First match counts. */
const IPV4: readonly Block[] = [
  block("0.0.0.0/32", "unspecified"),
  block("0.0.0.0/8", "reserved"),
  block("10.0.0.0/8", "private"),
  block("100.64.0.0/10", "cgn"),
  block("127.0.0.0/8", "loopback"),
  block("169.254.0.0/16", "link-local"),
  block("172.16.0.0/12", "private"),
  block("192.0.0.0/24", "reserved"),
  block("192.0.2.0/24", "documentation"),
  block("192.31.196.0/24", "reserved"),
  block("192.52.193.0/24", "reserved"),
  block("192.88.99.0/24", "6to4"),
  block("192.168.0.0/16", "private"),
  block("192.175.48.0/24", "reserved"),
  block("198.18.0.0/15", "reserved"),
  block("198.51.100.0/24", "documentation"),
  block("203.0.113.0/24", "documentation"),
  block("224.0.0.0/4", "multicast"),
  block("240.0.0.0/4", "reserved"),
];

/** IANA IPv6 Special-Purpose Address Registry. What is outside 2000::/3 and not named is reserved. */
const IPV6: readonly Block[] = [
  block("::/128", "unspecified"),
  block("::1/128", "loopback"),
  block("::ffff:0:0/96", "mapped", { at: 12, xor: 0 }),
  // IPv4-compatible (RFC 4291, deprecated) and IPv4-translated (RFC 2765): stacks still honour them.
  block("::/96", "reserved", { at: 12, xor: 0 }),
  block("::ffff:0:0:0/96", "reserved", { at: 12, xor: 0 }),
  block("64:ff9b::/96", "nat64", { at: 12, xor: 0 }),
  block("64:ff9b:1::/48", "nat64"),
  // RFC 4380: the client's IPv4 address is stored inverted.
  block("2001::/32", "teredo", { at: 12, xor: 0xff }),
  block("2001:db8::/32", "documentation"),
  block("2001::/23", "reserved"),
  block("2002::/16", "6to4", { at: 2, xor: 0 }),
  block("2620:4f:8000::/48", "reserved"),
  block("3fff::/20", "documentation"),
  block("fc00::/7", "ula"),
  block("fe80::/10", "link-local"),
  block("ff00::/8", "multicast"),
];

const GLOBAL_UNICAST = block("2000::/3", "public");

/**
 * Classifies one resolved address. An IPv4 address inside an IPv6 one is unwrapped: if it is not public its own
 * class is the answer, else the wrapper's (`mapped`, `nat64`, ...), which is refused as well.
 * @param ip text of a DNS answer or socket; a zone is ignored. Spellings such as 127.1 are `invalid`.
 */
export function classifyAddress(ip: string): AddressClass {
  const bytes = parseIp(ip);
  return bytes === null ? "invalid" : classifyBytes(bytes);
}

function classifyBytes(bytes: IpBytes): AddressClass {
  if (METADATA.some((entry) => contains(entry, bytes))) return "metadata";
  const found = (bytes.length === 4 ? IPV4 : IPV6).find((entry) => contains(entry, bytes));
  if (found === undefined) {
    return bytes.length === 4 || contains(GLOBAL_UNICAST, bytes) ? "public" : "reserved";
  }
  if (found.embedded === undefined) return found.class;
  const { at, xor } = found.embedded;
  const inner = classifyBytes(bytes.slice(at, at + 4).map((byte) => byte ^ xor));
  return inner === "public" ? found.class : inner;
}

function contains(entry: Block, bytes: IpBytes): boolean {
  return hasPrefix(bytes, entry.network, entry.bits);
}

/** An address range. `text` is canonical, such as `10.20.0.0/16` or `::1/128`. */
export interface Cidr {
  readonly text: string;
  /** Network address in network order, host bits zero. */
  readonly network: readonly number[];
  readonly bits: number;
}

/**
 * Parses `10.20.0.0/16`, `fd00::/8`, or one address (`10.20.0.7`, the same as /32 or /128).
 * @throws Error that names the text and what to write instead.
 */
export function parseCidr(text: string): Cidr {
  const slash = text.indexOf("/");
  const address = slash === -1 ? text : text.slice(0, slash);
  const bytes = parseIpv4(address) ?? parseIpv6(address);
  if (bytes === null) throw new Error(`"${text.slice(0, 60)}" is not an address range; write 10.20.0.0/16 or fd00::/8`);
  if (unmapped(bytes) !== bytes) {
    throw new Error(`"${text}" is an IPv4 address in IPv6 clothing; write ${formatIp(unmapped(bytes))}`);
  }
  const width = bytes.length * 8;
  const suffix = slash === -1 ? String(width) : text.slice(slash + 1);
  const bits = Number(suffix);
  if (!/^(?:0|[1-9][0-9]{0,2})$/.test(suffix) || bits > width) {
    throw new Error(`"${text.slice(0, 60)}" has no valid prefix length; write a number from 0 to ${width} after /`);
  }
  const network = masked(bytes, bits);
  const canonical = `${formatIp(network)}/${bits}`;
  if (!hasPrefix(bytes, network, width)) throw new Error(`"${text}" has bits after the prefix; write ${canonical}`);
  return Object.freeze({ text: canonical, network: Object.freeze([...network]), bits });
}

function masked(bytes: IpBytes, bits: number): IpBytes {
  return bytes.map((byte, index) => {
    const kept = Math.min(8, Math.max(0, bits - index * 8));
    return byte & ((0xff << (8 - kept)) & 0xff);
  });
}

/** Whether `ip` (text of a socket or DNS answer; IPv4-mapped counts as IPv4) is inside; false when it is no address. */
export function cidrContains(cidr: Cidr, ip: string): boolean {
  const bytes = parseIp(ip);
  if (bytes === null) return false;
  return hasPrefix(unmapped(bytes), Uint8Array.from(cidr.network), cidr.bits);
}

/** Whether every address of `inner` is in `outer`. */
export function cidrCovers(outer: Cidr, inner: Cidr): boolean {
  return (
    inner.bits >= outer.bits && hasPrefix(Uint8Array.from(inner.network), Uint8Array.from(outer.network), outer.bits)
  );
}

export function cidrsOverlap(a: Cidr, b: Cidr): boolean {
  return cidrCovers(a, b) || cidrCovers(b, a);
}
