import { sequence, tagged, taggedBytes } from "./der.ts";

/** id-ce-nameConstraints. */
export const NAME_CONSTRAINTS_OID = "2.5.29.30";

// GeneralName tags (RFC 5280 section 4.2.1.6).
const RFC822_NAME = 1;
const DNS_NAME = 2;
const URI = 6;
const IP_ADDRESS = 7;

/** A name nobody can own (RFC 2606). Permitting it alone excludes every real name of that kind. */
const NOBODY = "invalid";

const IPV4_WITH_MASK_BYTES = 8;
const IPV6_WITH_MASK_BYTES = 32;

/**
 * DER of a NameConstraints value (RFC 5280 section 4.2.1.10) that permits the DNS names `hosts` (and, as the RFC has
 * it, their sub-domains) and no IP address, mail address or URI.
 *
 * - A permitted DNS name says nothing about addresses: without the two excluded ranges (address and mask all zero) an
 *   IP subjectAltName would pass.
 * - Mail and URI are closed by permitting only a name nobody owns. Excluding the empty name would be shorter, but
 *   OpenSSL reads an empty excluded URI as "matches nothing".
 * - Directory names are left alone: Go refuses a critical extension that has a kind it does not know.
 */
export function nameConstraints(hosts: readonly string[]): Buffer {
  // No permitted DNS entry would mean that every DNS name is permitted.
  const names = hosts.length === 0 ? [NOBODY] : hosts;
  const permitted = [...names.map((name) => textSubtree(DNS_NAME, name)), ...[RFC822_NAME, URI].map(nobody)];
  const excluded = [IPV4_WITH_MASK_BYTES, IPV6_WITH_MASK_BYTES].map(everyAddress);
  return sequence(tagged(0, ...permitted), tagged(1, ...excluded));
}

function textSubtree(kind: number, text: string): Buffer {
  return sequence(taggedBytes(kind, Buffer.from(text, "ascii")));
}

function nobody(kind: number): Buffer {
  return textSubtree(kind, NOBODY);
}

function everyAddress(bytes: number): Buffer {
  return sequence(taggedBytes(IP_ADDRESS, Buffer.alloc(bytes)));
}
