/** An IP address as bytes in network order: 4 for IPv4, 16 for IPv6. */
export type IpBytes = Uint8Array;

/**
 * Parses a strict dotted quad: four decimal numbers of 0-255 without leading zeros. The shorter, octal and hex
 * spellings that resolvers accept are not addresses here, so nothing can mean one thing to a check and another
 * to a socket.
 */
export function parseIpv4(text: string): IpBytes | null {
  const parts = text.split(".");
  if (parts.length !== 4) return null;
  const bytes = new Uint8Array(4);
  for (const [index, part] of parts.entries()) {
    if (!/^(?:0|[1-9][0-9]{0,2})$/.test(part)) return null;
    const value = Number(part);
    if (value > 255) return null;
    bytes[index] = value;
  }
  return bytes;
}

/** Parses IPv6 text (RFC 4291 section 2.2, dotted quad at the end included); no brackets, no zone. */
export function parseIpv6(text: string): IpBytes | null {
  if (text.length > 45) return null;
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const head = parseGroups(halves[0] ?? "", halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? "", true) : [];
  if (head === null || tail === null) return null;
  const missing = 16 - head.length - tail.length;
  // "::" stands for at least one group.
  if (halves.length === 1 ? missing !== 0 : missing < 2) return null;
  const bytes = new Uint8Array(16);
  bytes.set(head, 0);
  bytes.set(tail, 16 - tail.length);
  return bytes;
}

function parseGroups(text: string, mayEndInQuad: boolean): number[] | null {
  if (text === "") return [];
  const groups = text.split(":");
  const bytes: number[] = [];
  for (const [index, group] of groups.entries()) {
    if (mayEndInQuad && index === groups.length - 1 && group.includes(".")) {
      const quad = parseIpv4(group);
      if (quad === null) return null;
      bytes.push(...quad);
      continue;
    }
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return null;
    const value = Number.parseInt(group, 16);
    bytes.push(value >> 8, value & 0xff);
  }
  return bytes;
}

/**
 * Parses the address of a socket or a DNS answer. An IPv6 zone (`fe80::1%eth0`) is dropped: it says which
 * interface, not which address.
 */
export function parseIp(text: string): IpBytes | null {
  if (!text.includes(":")) return parseIpv4(text);
  const zone = text.indexOf("%");
  if (zone === -1) return parseIpv6(text);
  return zone === text.length - 1 ? null : parseIpv6(text.slice(0, zone));
}

/** Canonical text: dotted quad, or RFC 5952 (lower case, longest run of zero groups as `::`). */
export function formatIp(bytes: IpBytes): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  const run = longestZeroRun(groups);
  const hex = (part: readonly number[]) => part.map((group) => group.toString(16)).join(":");
  if (run.length < 2) return hex(groups);
  return `${hex(groups.slice(0, run.start))}::${hex(groups.slice(run.start + run.length))}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (let i = 0; i <= groups.length; i++) {
    if (groups[i] === 0) continue;
    if (i - start > best.length) best = { start, length: i - start };
    start = i + 1;
  }
  return best;
}

/** True when the first `bits` bits of `bytes` and `network` are equal; lengths must be equal too. */
export function hasPrefix(bytes: IpBytes, network: IpBytes, bits: number): boolean {
  if (bytes.length !== network.length) return false;
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (bytes[i] !== network[i]) return false;
  const rest = bits & 7;
  if (rest === 0) return true;
  const mask = (0xff << (8 - rest)) & 0xff;
  return ((bytes[whole] ?? 0) & mask) === ((network[whole] ?? 0) & mask);
}

const MAPPED_PREFIX = Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]);

/**
 * The IPv4 address inside `::ffff:a.b.c.d`, else the address itself. The kernel treats both as the same peer
 * (a dual-stack listener reports IPv4 clients in the mapped form), so checks must too.
 */
export function unmapped(bytes: IpBytes): IpBytes {
  return bytes.length === 16 && hasPrefix(bytes, MAPPED_PREFIX, 96) ? bytes.slice(12) : bytes;
}
