/**
 * Takes tokens that a provider mints (RFC 6749 section 5.1, key endpoints) out of an answer, on bytes: they are as good
 * as the key, and are no part of it, so that no search would find them.
 */

/** Largest answer of such an endpoint, in bytes. */
export const MAX_MINTED_BODY = 64 * 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;

/** The answer cannot be read, so nobody knows whether a token is in it. */
export class UnreadableAnswer extends Error {
  override readonly name = "UnreadableAnswer";
}

export interface MintedRule {
  /** Names of JSON members, or of form fields, whose text is a token. */
  readonly members: ReadonlySet<string>;
  readonly replacement: Buffer;
}

/**
 * The same answer without the tokens, which are overwritten in `body`; `body` itself when there are none.
 * @throws UnreadableAnswer when it is neither JSON nor a form
 */
export function withoutMinted(body: Buffer, contentType: string, rule: MintedRule): { body: Buffer; count: number } {
  if (body.length === 0) return { body, count: 0 };
  const found = /^application\/x-www-form-urlencoded\b/.test(contentType) ? inForm(body, rule) : inJson(body, rule);
  if (found.length === 0) return { body, count: 0 };
  const pieces: Buffer[] = [];
  let from = 0;
  for (const [start, end] of found) {
    pieces.push(body.subarray(from, start), rule.replacement);
    from = end;
  }
  pieces.push(body.subarray(from));
  const clean = Buffer.concat(pieces);
  for (const [start, end] of found) body.fill(0, start, end);
  return { body: clean, count: found.length };
}

type Range = readonly [start: number, end: number];

/** The texts behind the member names, at any depth. Only strings and their order are looked at. */
function inJson(body: Buffer, { members }: MintedRule): Range[] {
  const first = body[blanksBehind(body, 0)];
  if (first !== 0x7b && first !== 0x5b) throw new UnreadableAnswer("neither JSON nor a form");
  const found: Range[] = [];
  for (let at = body.indexOf(QUOTE); at !== -1; at = body.indexOf(QUOTE, at)) {
    const end = stringEnd(body, at);
    const colon = blanksBehind(body, end);
    const value = blanksBehind(body, colon + 1);
    const isToken = body[colon] === COLON && body[value] === QUOTE && members.has(nameAt(body, at, end));
    at = isToken ? stringEnd(body, value) : end;
    if (isToken) found.push([value + 1, at - 1]);
  }
  return found;
}

/** Behind the closing quote. */
function stringEnd(body: Buffer, open: number): number {
  for (let at = open + 1; at < body.length; at++) {
    if (body[at] === BACKSLASH) at++;
    else if (body[at] === QUOTE) return at + 1;
  }
  throw new UnreadableAnswer("a JSON string does not end");
}

function blanksBehind(body: Buffer, from: number): number {
  let at = from;
  while (body[at] === 0x20 || body[at] === 0x0a || body[at] === 0x0d || body[at] === 0x09) at++;
  return at;
}

/** A member's name is no secret, so it may become a string; escapes in it are read as a client would. */
function nameAt(body: Buffer, start: number, end: number): string {
  if (end - start > 100) return "";
  const text = body.toString("utf8", start, end);
  if (!text.includes("\\")) return text.slice(1, -1);
  try {
    return String(JSON.parse(text));
  } catch {
    throw new UnreadableAnswer("a JSON name cannot be read");
  }
}

function inForm(body: Buffer, { members }: MintedRule): Range[] {
  const found: Range[] = [];
  for (let start = 0; start < body.length; ) {
    const next = body.indexOf(0x26, start);
    const end = next === -1 ? body.length : next;
    const equals = body.indexOf(0x3d, start);
    if (equals !== -1 && equals < end && members.has(body.toString("latin1", start, equals))) {
      found.push([equals + 1, end]);
    }
    start = end + 1;
  }
  return found;
}
