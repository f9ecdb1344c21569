import { type Cidr, cidrContains } from "../../policy/address.ts";
import type { PolicyClient, PolicySnapshot } from "../../policy/compile.ts";
import { findCarried } from "../../providers/carriers.ts";
import type { Carriers } from "../../providers/schema.ts";
import { ProxyError } from "./errors.ts";
import type { Fields, Identity } from "./exchange.ts";

/**
 * Who asks. A client is known by its token (in Proxy-Authorization, or in the place of the provider's
 * key) or by an address that the policy trusts; never by a name it merely states.
 */

/** Every token begins with this, so a provider's key in the same place is not mistaken for one. */
export const TOKEN_PREFIX = "skc_";

export interface TokenVerifier {
  verify(token: string, nowMs: number): { client: string; tokenId: string } | null;
}

export interface Claim {
  readonly fields: Fields;
  readonly query: string;
  /** Where this provider would take a key; null when the provider is not known yet (a CONNECT). */
  readonly carriers: Carriers | null;
  /** Proxy-Authorization of the CONNECT around this request. */
  readonly connectAuthorization: string | null;
  /** A string found where the provider takes a key in a JSON body. */
  readonly bodyToken: string | null;
  readonly remoteAddress: string;
}

/** The answer is the same whatever was wrong, so that it tells nothing about clients or tokens (threats E6). */
function unknownClient(): ProxyError {
  return new ProxyError(
    "client_unknown",
    "show this service's sidekey token in Proxy-Authorization or in the place of the API key; `sidekey client add` makes one",
    { fields: ["Proxy-Authenticate", 'Basic realm="sidekey"'] },
  );
}

/** @throws ProxyError client_unknown, or not_allowed for an address or a user that the client may not use */
export function authenticate(policy: PolicySnapshot, tokens: TokenVerifier, claim: Claim, nowMs: number): Identity {
  const client = authenticatedClient(policy, tokens, claim, nowMs);
  return { client: client.name, user: claimedUser(client, claim.fields) };
}

/** Whether a CONNECT's Proxy-Authorization is one that its inner requests could use. Never throws. */
export function knowsClient(
  policy: PolicySnapshot,
  tokens: TokenVerifier,
  authorization: string,
  remoteAddress: string,
  nowMs: number,
): boolean {
  const claim = {
    fields: [],
    query: "",
    carriers: null,
    connectAuthorization: authorization,
    bodyToken: null,
    remoteAddress,
  };
  try {
    authenticatedClient(policy, tokens, claim, nowMs);
    return true;
  } catch {
    return false;
  }
}

function authenticatedClient(policy: PolicySnapshot, tokens: TokenVerifier, claim: Claim, nowMs: number): PolicyClient {
  const authorization = fieldValue(claim.fields, "proxy-authorization") ?? claim.connectAuthorization;
  const carried = authorization === null ? carriedToken(claim) : null;
  if (carried === null && authorization === null) return trustedClient(policy, claim.remoteAddress);
  const name = recentlyVerified(tokens, authorization ?? carried ?? "", nowMs, () =>
    verify(tokens, authorization === null ? bearer(carried ?? "") : tokenOf(authorization), nowMs),
  );
  const client = name === null ? undefined : policy.clients.get(name);
  if (!client?.token) throw unknownClient();
  if (client.from.length > 0 && !within(client.from, claim.remoteAddress)) {
    throw new ProxyError("not_allowed", "this client may not connect from this address", {
      reason: "client_address",
    });
  }
  return client;
}

interface ShownToken {
  readonly token: string;
  /** The name given with Basic authentication; must match the token's client. */
  readonly user: string;
}

function bearer(token: string): ShownToken {
  return { token, user: "" };
}

/** The client that a shown token belongs to; null for every kind of wrong. */
function verify(tokens: TokenVerifier, shown: ShownToken | null, nowMs: number): string | null {
  const verified = shown === null ? null : tokens.verify(shown.token, nowMs);
  if (verified === null || (shown?.user && shown.user !== verified.client)) return null;
  return verified.client;
}

/** A second, so that a token that expires is refused as soon as that; revoking one replaces the whole table. */
const REMEMBERED_MS = 1_000;
const MAX_REMEMBERED = 1_000;
const remembered = new WeakMap<TokenVerifier, Map<string, { client: string; untilMs: number }>>();

/** Spares a busy client the hash of its token on every request. Only tokens that were right are remembered. */
function recentlyVerified(
  tokens: TokenVerifier,
  shown: string,
  nowMs: number,
  check: () => string | null,
): string | null {
  let known = remembered.get(tokens);
  if (!known) {
    known = new Map();
    remembered.set(tokens, known);
  }
  const hit = known.get(shown);
  if (hit && nowMs < hit.untilMs && nowMs >= hit.untilMs - REMEMBERED_MS) return hit.client;
  const client = check();
  if (known.size >= MAX_REMEMBERED) known.clear();
  if (client === null) known.delete(shown);
  else known.set(shown, { client, untilMs: nowMs + REMEMBERED_MS });
  return client;
}

function tokenOf(authorization: string): ShownToken | null {
  const space = authorization.indexOf(" ");
  const scheme = authorization.slice(0, space).toLowerCase();
  const value = authorization.slice(space + 1).trim();
  if (scheme === "bearer") return bearer(value);
  if (scheme !== "basic") return null;
  const pair = Buffer.from(value, "base64").toString("latin1");
  const colon = pair.indexOf(":");
  if (colon === -1) return null;
  const [user, password] = [pair.slice(0, colon), pair.slice(colon + 1)];
  // `http://TOKEN@127.0.0.1:8787`, a common spelling.
  return password === "" && user.startsWith(TOKEN_PREFIX) ? bearer(user) : { user, token: password };
}

function carriedToken(claim: Claim): string | null {
  if (claim.bodyToken?.startsWith(TOKEN_PREFIX)) return claim.bodyToken;
  if (!claim.carriers) return null;
  for (const carried of findCarried(claim.fields, claim.query, claim.carriers)) {
    if (carried.value.startsWith(TOKEN_PREFIX)) return carried.value;
  }
  return null;
}

function trustedClient(policy: PolicySnapshot, remoteAddress: string): PolicyClient {
  for (const client of policy.clients.values()) {
    if (client.trust.length > 0 && within(client.trust, remoteAddress)) return client;
  }
  throw unknownClient();
}

function claimedUser(client: PolicyClient, fields: Fields): string | null {
  const user = fieldValue(fields, "sidekey-user");
  if (user === null) return null;
  if (client.actsFor === "users" && USER_ID.test(user)) return user;
  throw new ProxyError("not_allowed", "this client may not act for that user (Sidekey-User)", { reason: "user" });
}

const USER_ID = /^[\x21-\x7e]{1,128}$/;

function within(ranges: readonly Cidr[], address: string): boolean {
  return ranges.some((range) => cidrContains(range, address));
}

/** The value of a field that may occur at most once. */
function fieldValue(fields: Fields, wanted: string): string | null {
  let found: string | null = null;
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] ?? "";
    if (name.length !== wanted.length || name.toLowerCase() !== wanted) continue;
    if (found !== null) throw new ProxyError("bad_request", `${wanted} was sent twice`, { reason: "duplicate_field" });
    found = fields[i + 1] ?? "";
  }
  return found;
}
