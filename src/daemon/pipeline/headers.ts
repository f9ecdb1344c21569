import { removeCarriers } from "../../providers/carriers.ts";
import type { Carriers } from "../../providers/schema.ts";
import { ProxyError } from "./errors.ts";
import type { Fields } from "./exchange.ts";

/**
 * What passes and what does not, in both directions. Order matters (guarantee G4): connection-specific
 * fields go first, then every place where the provider takes a key, and the injection comes last, so
 * nothing that a client lists or sends can remove or double it (threats D1, D2).
 */

/** Never forwarded upstream: connection-specific (RFC 9110 section 7.6.1), framing, and identity claims. */
const REQUEST_DROPPED = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authorization",
  "proxy-authenticate",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "host",
  "content-length",
  "expect",
  "http2-settings",
  "forwarded",
  "via",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-port",
  "x-forwarded-proto",
  "x-forwarded-server",
  "x-real-ip",
  "sidekey-user",
]);

/** Never forwarded downstream. `alt-svc` would lead the client around us (threats D5); what begins with `sidekey-` is ours to say. */
const RESPONSE_DROPPED = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-authentication-info",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "alt-svc",
  "sidekey-attempts",
  "sidekey-error",
]);

const AUTHENTICATE = new Set(["www-authenticate", "authentication-info"]);

const TRAILERS_DROPPED = new Set([
  ...RESPONSE_DROPPED,
  ...AUTHENTICATE,
  "content-length",
  "content-encoding",
  "content-type",
  "content-range",
  "host",
  "set-cookie",
  "authorization",
  "location",
  "cache-control",
]);

/** The fields that a service may send on, without framing, identity or keys; plus the cleaned query. */
export interface CleanRequest {
  readonly fields: Fields;
  readonly query: string;
}

/** @throws ProxyError bad_request for names that another server could read as a framing field */
export function cleanRequest(fields: Fields, query: string, carriers: Carriers): CleanRequest {
  const listed = connectionListed(fields);
  const kept: string[] = [];
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] ?? "";
    const lower = name.toLowerCase();
    if (REQUEST_DROPPED.has(lower) || listed?.has(lower)) continue;
    if (lower.includes("_")) refuseConfusable(lower);
    kept.push(name, fields[i + 1] ?? "");
  }
  return removeCarriers(kept, query, carriers);
}

/** `Transfer_Encoding` is another name to us and the same name to some servers (threats C11). */
function refuseConfusable(lower: string): void {
  if (!REQUEST_DROPPED.has(lower.replaceAll("_", "-"))) return;
  throw new ProxyError("bad_request", "a header name uses `_` where a framing or identity field has `-`", {
    reason: "confusable_field",
  });
}

function connectionListed(fields: Fields): Set<string> | null {
  let listed: Set<string> | null = null;
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] ?? "";
    if (name.length !== 10 || name.toLowerCase() !== "connection") continue;
    for (const token of (fields[i + 1] ?? "").split(",")) {
      const lower = token.trim().toLowerCase();
      if (lower === "" || lower === "close" || lower === "keep-alive") continue;
      listed ??= new Set();
      listed.add(lower);
    }
  }
  return listed;
}

export interface ResponseRules {
  readonly stripCookies: boolean;
  readonly stripAuthenticate: boolean;
}

/**
 * The provider's fields as they may reach the client.
 * @param raw flat list as parsed from the wire
 * @param keepLength true for answers without content, whose Content-Length is information (HEAD, 304)
 */
export function responseFields(raw: readonly Buffer[], rules: ResponseRules, bodiless: boolean): string[] {
  const kept: string[] = [];
  let listed: Set<string> | null = null;
  let chunked = false;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]?.toString("latin1") ?? "";
    const value = raw[i + 1]?.toString("latin1") ?? "";
    const lower = name.toLowerCase();
    if (lower === "transfer-encoding") chunked = true;
    if (lower === "connection") {
      listed ??= new Set();
      for (const token of connectionListed([name, value]) ?? []) listed.add(token);
    }
    if (RESPONSE_DROPPED.has(lower)) continue;
    if (rules.stripCookies && lower === "set-cookie") continue;
    if (rules.stripAuthenticate && AUTHENTICATE.has(lower)) continue;
    kept.push(name, value);
  }
  if (listed === null && (!chunked || bodiless)) return kept;
  return kept.filter((_, i) => {
    const lower = (kept[i - (i % 2)] ?? "").toLowerCase();
    return !listed?.has(lower) && !(chunked && !bodiless && lower === "content-length");
  });
}

/** Trailers that say nothing about framing, routing or identity (RFC 9110 section 6.5.1). */
export function responseTrailers(raw: readonly Buffer[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]?.toString("latin1") ?? "";
    if (!TRAILERS_DROPPED.has(name.toLowerCase())) kept.push(name, raw[i + 1]?.toString("latin1") ?? "");
  }
  return kept;
}
