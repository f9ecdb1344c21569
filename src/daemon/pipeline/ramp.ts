import type { PolicySnapshot } from "../../policy/compile.ts";
import type { Identity } from "./exchange.ts";

/** A credential's traffic on its way from the current version to `to`. */
export interface Ramp {
  readonly to: number;
  /** Of the clients, 0 to 100. */
  readonly percent: number;
}

/**
 * 0 to 99, always the same for a client (and user) of a credential: while `percent` only grows, each client moves to
 * the new version once and stays there. FNV-1a over the UTF-16 code units, so that nothing is allocated.
 */
export function bucketOf(credentialId: string, { client, user }: Identity): number {
  let hash = hashed(0x811c9dc5, credentialId);
  hash = hashed(hash, client);
  if (user !== null) hash = hashed(hash, user);
  // The low bits of FNV alone are weak for short names.
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x45d9f3b);
  hash ^= hash >>> 16;
  return (hash >>> 0) % 100;
}

function hashed(start: number, text: string): number {
  let hash = start;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  // A separator, so that "ab" + "c" is not "a" + "bc".
  return Math.imul(hash ^ 0x1f, 0x01000193);
}

/** The longest that an exchange with a provider may queue for a limit after its version was chosen, milliseconds. */
export function longestWaitMs({ routes }: PolicySnapshot, provider: string): number {
  let longest = 0;
  for (const route of routes) {
    if (route.provider.id !== provider) continue;
    for (const { waitMs } of route.limits) longest = Math.max(longest, waitMs);
  }
  return longest;
}
