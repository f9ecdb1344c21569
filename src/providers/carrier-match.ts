import type { Carriers } from "./schema.ts";

/**
 * Carriers in the form that requests are matched against. Every comparison walks char codes of the original strings:
 * this runs for each request, nearly always finds nothing, and should then leave no garbage.
 */
export interface CarrierMatcher {
  /** Folded header names, indexed by their length: most fields are dismissed by one array read. */
  readonly headersByLength: readonly (readonly string[] | undefined)[];
  /** Folded parameter names. */
  readonly query: readonly string[];
  /** Lower-case cookie names. */
  readonly cookies: readonly string[];
  /** Words before a key in a header, lower-case, each with its space. */
  readonly prefixes: readonly string[];
}

const AMPERSAND = 0x26;
const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
const PERCENT = 0x25;
const PLUS = 0x2b;
const SPACE = 0x20;
const HYPHEN = 0x2d;
const DOT = 0x2e;
const UNDERSCORE = 0x5f;
const LEFT_BRACKET = 0x5b;

/** Scheme words that clients write before a key whatever the provider's own template is. */
const COMMON_PREFIXES = ["bearer ", "basic ", "token ", "apikey "];

const matchers = new WeakMap<Carriers, CarrierMatcher>();

export function matcherFor(carriers: Carriers): CarrierMatcher {
  const known = matchers.get(carriers);
  if (known) return known;
  const headersByLength: string[][] = [];
  for (const name of carriers.headers) {
    const sameLength = headersByLength[name.length] ?? [];
    headersByLength[name.length] = sameLength;
    sameLength.push(name.toLowerCase().replaceAll("_", "-"));
  }
  const matcher = {
    headersByLength,
    query: [...carriers.query].map((name) => name.toLowerCase().replaceAll("-", "_").replaceAll(".", "_")),
    cookies: [...carriers.cookies].map((name) => name.toLowerCase()),
    // The longest first, so that `token token=` is not read as `token `.
    prefixes: [...new Set([...COMMON_PREFIXES, ...(carriers.prefixes ?? [])])].sort((a, b) => b.length - a.length),
  };
  matchers.set(carriers, matcher);
  return matcher;
}

/** The carrier that a header name stands for. CGI-like servers read `_` as `-`, so `x_api_key` is `x-api-key`. */
export function carriedHeader(matcher: CarrierMatcher, name: string): string | undefined {
  return matcher.headersByLength[name.length]?.find((candidate) => equalsFolded(name, candidate, HYPHEN));
}

export function isCookieHeader(name: string): boolean {
  return name.length === 6 && equalsFolded(name, "cookie", UNDERSCORE);
}

export function carriedCookie(matcher: CarrierMatcher, name: string): string | undefined {
  return matcher.cookies.find((candidate) => equalsFolded(name, candidate, UNDERSCORE));
}

/** The carrier that the parameter in `query[start, end)` stands for; the range may include its value. */
export function carriedParameter(
  matcher: CarrierMatcher,
  query: string,
  start: number,
  end: number,
): string | undefined {
  const nameEnd = nameEndOf(query, start, end);
  for (const candidate of matcher.query) if (parameterIs(query, start, nameEnd, candidate)) return candidate;
  return undefined;
}

/** Index of the `=` in `query[start, end)`, or `end`. */
export function nameEndOf(query: string, start: number, end: number): number {
  let at = start;
  while (at < end && query.charCodeAt(at) !== EQUALS) at++;
  return at;
}

/** End of the parameter that begins at `start`. Some servers split on `;` too, so a key could hide behind one. */
export function parameterEnd(query: string, start: number): number {
  let at = start;
  while (at < query.length) {
    const code = query.charCodeAt(at);
    if (code === AMPERSAND || code === SEMICOLON) return at;
    at++;
  }
  return at;
}

function lower(code: number): number {
  return code >= 0x41 && code <= 0x5a ? code + 0x20 : code;
}

/** ASCII case-insensitive; `_` in `text` is read as `underscoreAs`. `wanted` is folded already. */
function equalsFolded(text: string, wanted: string, underscoreAs: number): boolean {
  if (text.length !== wanted.length) return false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if ((code === UNDERSCORE ? underscoreAs : lower(code)) !== wanted.charCodeAt(at)) return false;
  }
  return true;
}

/**
 * Whether a raw parameter name, percent-decoded, is `wanted` for any server that is lax about names: PHP reads
 * `api.key`, `api key` and `apikey[]` as `api_key` and `apikey` and skips leading spaces; C strings end at NUL.
 */
function parameterIs(query: string, start: number, end: number, wanted: string): boolean {
  let matched = 0;
  for (let at = start; at < end; at++) {
    let code = query.charCodeAt(at);
    if (code === PLUS) code = SPACE;
    if (code === PERCENT && at + 2 < end) {
      const decoded = hexDigit(query.charCodeAt(at + 1)) * 16 + hexDigit(query.charCodeAt(at + 2));
      if (!Number.isNaN(decoded)) {
        code = decoded;
        at += 2;
      }
    }
    if (code === SPACE && (matched === 0 || matched === wanted.length)) continue;
    if (code === 0 || code === LEFT_BRACKET) break;
    const folded = code === HYPHEN || code === DOT || code === SPACE ? UNDERSCORE : lower(code);
    if (folded !== wanted.charCodeAt(matched)) return false;
    matched++;
  }
  return matched === wanted.length;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = lower(code);
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : Number.NaN;
}
