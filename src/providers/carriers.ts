import {
  type CarrierMatcher,
  carriedCookie,
  carriedHeader,
  carriedParameter,
  isCookieHeader,
  matcherFor,
  nameEndOf,
  parameterEnd,
} from "./carrier-match.ts";
import type { Carriers, Provider } from "./schema.ts";

/** Header fields as they stand in the message: name, value, name, value, in original case and order. */
export type Fields = readonly string[];

/** Something a client sent in a place where the provider takes a key. `name` is the carrier's lower-case name. */
export interface Carried {
  readonly place: "header" | "query" | "cookie";
  readonly name: string;
  readonly value: string;
}

const unions = new WeakMap<object, Carriers>();

/** Every place where the provider takes a key: what its file lists and what its auth rules write. Cached. */
export function carriersOf(provider: Pick<Provider, "auth" | "carriers">): Carriers {
  const known = unions.get(provider);
  if (known) return known;
  const declared = provider.carriers;
  const headers = new Set(declared.headers);
  const query = new Set(declared.query);
  const body = new Set(declared.body);
  const prefixes = new Set(declared.prefixes);
  for (const rule of provider.auth) {
    if (rule.scheme === "header") {
      for (const { name, prefix } of rule.headers) {
        headers.add(name);
        if (prefix !== "") prefixes.add(prefix.toLowerCase());
      }
    }
    if (rule.scheme === "query") for (const { name } of rule.query) query.add(name.toLowerCase());
    if (rule.scheme === "basic" || rule.scheme === "oauth2") headers.add("authorization");
    if (rule.scheme === "oauth2") prefixes.add("bearer ");
    if (rule.scheme === "body-json") body.add(rule.pointer);
  }
  const union: Carriers = Object.freeze({
    headers,
    query,
    body: Object.freeze([...body]),
    cookies: new Set(declared.cookies),
    prefixes: Object.freeze([...prefixes]),
  });
  unions.set(provider, union);
  return union;
}

/**
 * Drops what the client sent in any carrier; everything else keeps its bytes and its order. `query` is the raw text
 * after `?`. When nothing is carried, the very same `fields` and `query` come back.
 */
export function removeCarriers(fields: Fields, query: string, carriers: Carriers): { fields: Fields; query: string } {
  const matcher = matcherFor(carriers);
  return { fields: removeFromFields(fields, matcher), query: removeFromQuery(query, matcher) };
}

function removeFromFields(fields: Fields, matcher: CarrierMatcher): Fields {
  for (let index = 0; index < fields.length; index += 2) {
    if (keptValue(fields, index, matcher) !== fields[index + 1]) return keepOthers(fields, matcher);
  }
  return fields;
}

function keepOthers(fields: Fields, matcher: CarrierMatcher): Fields {
  const kept: string[] = [];
  for (let index = 0; index < fields.length; index += 2) {
    const value = keptValue(fields, index, matcher);
    if (value !== null) kept.push(fields[index] ?? "", value);
  }
  return kept;
}

/** The value that the field at `index` keeps, null when the whole field goes. */
function keptValue(fields: Fields, index: number, matcher: CarrierMatcher): string | null {
  const name = fields[index] ?? "";
  const value = fields[index + 1] ?? "";
  if (carriedHeader(matcher, name) !== undefined) return null;
  if (matcher.cookies.length === 0 || !isCookieHeader(name)) return value;
  const cookies = value.split(";");
  const kept = cookies.filter((cookie) => carriedCookie(matcher, cookieName(cookie)) === undefined);
  if (kept.length === cookies.length) return value;
  const rest = kept.join(";").trim();
  return rest === "" ? null : rest;
}

function cookieName(cookie: string): string {
  const equals = cookie.indexOf("=");
  return (equals === -1 ? cookie : cookie.slice(0, equals)).trim();
}

function removeFromQuery(query: string, matcher: CarrierMatcher): string {
  if (query === "" || matcher.query.length === 0) return query;
  let kept: string | null = null;
  let atFront = false;
  for (let start = 0; start <= query.length; ) {
    const end = parameterEnd(query, start);
    if (carriedParameter(matcher, query, start, end) !== undefined) {
      atFront ||= start === 0;
      kept ??= query.slice(0, Math.max(0, start - 1));
    } else if (kept !== null) {
      // A parameter keeps the separator before it, unless it has become the first.
      kept += query.slice(atFront ? start : start - 1, end);
      atFront = false;
    }
    start = end + 1;
  }
  return kept ?? query;
}

/**
 * What the client sent in the carriers, where a sidekey token may stand in the key's place. Scheme words before the
 * key are taken off; a Basic pair is decoded and gives its password and its user. Query values are percent-decoded.
 */
export function findCarried(fields: Fields, query: string, carriers: Carriers): readonly Carried[] {
  const matcher = matcherFor(carriers);
  const found: Carried[] = [];
  for (let index = 0; index < fields.length; index += 2) {
    const fieldName = fields[index] ?? "";
    const value = fields[index + 1] ?? "";
    const name = carriedHeader(matcher, fieldName);
    if (name !== undefined) addHeader(found, name, value, matcher);
    if (matcher.cookies.length > 0 && isCookieHeader(fieldName)) addCookies(found, value, matcher);
  }
  if (query !== "" && matcher.query.length > 0) addParameters(found, query, matcher);
  return found;
}

function addHeader(found: Carried[], name: string, raw: string, matcher: CarrierMatcher): void {
  const value = raw.trim();
  const folded = value.toLowerCase();
  const prefix = matcher.prefixes.find((candidate) => folded.startsWith(candidate)) ?? "";
  const rest = unquoted(value.slice(prefix.length).trim());
  if (prefix !== "basic ") {
    if (rest !== "") found.push({ place: "header", name, value: rest });
    return;
  }
  const pair = Buffer.from(rest, "base64").toString("utf8");
  const colon = pair.indexOf(":");
  const user = colon === -1 ? pair : pair.slice(0, colon);
  const password = colon === -1 ? "" : pair.slice(colon + 1);
  for (const part of [password, user]) if (part !== "") found.push({ place: "header", name, value: part });
}

function unquoted(value: string): string {
  return value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
}

function addCookies(found: Carried[], value: string, matcher: CarrierMatcher): void {
  for (const cookie of value.split(";")) {
    const name = carriedCookie(matcher, cookieName(cookie));
    const equals = cookie.indexOf("=");
    if (name === undefined || equals === -1) continue;
    found.push({ place: "cookie", name, value: unquoted(cookie.slice(equals + 1).trim()) });
  }
}

function addParameters(found: Carried[], query: string, matcher: CarrierMatcher): void {
  for (let start = 0; start <= query.length; ) {
    const end = parameterEnd(query, start);
    const name = carriedParameter(matcher, query, start, end);
    if (name !== undefined) {
      found.push({ place: "query", name, value: decoded(query.slice(nameEndOf(query, start, end) + 1, end)) });
    }
    start = end + 1;
  }
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value.replaceAll("+", " "));
  } catch {
    // Not percent-encoded UTF-8, so it cannot be a token of ours; the raw text will match none.
    return value;
  }
}
