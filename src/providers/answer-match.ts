import { secretBuffer } from "../secret.ts";

/** When a line of a provider's file is about an answer. What is absent does not narrow; all that is there must hold. */
export interface AnswerRule {
  readonly status?: number | undefined;
  /** Text anywhere in the answer, blanks aside. */
  readonly match?: string | undefined;
  /** Text that the answer begins with, blanks aside. */
  readonly begins?: string | undefined;
  /** A header field that the answer must not have. */
  readonly absent?: string | undefined;
}

/** What a rule is held against. */
export interface AnswerFacts {
  readonly status: number;
  /** The body `withoutBlanks`. */
  readonly bare: Buffer;
  /** Whether the answer has a field, by its lower-case name; null when nobody knows. */
  readonly has: ((name: string) => boolean) | null;
}

/** A rule without a status is about failures: words of an error may stand in good data as well. */
export function applies(rule: AnswerRule, { status, bare, has }: AnswerFacts): boolean {
  if (rule.status === undefined ? status < 400 : rule.status !== status) return false;
  if (rule.absent !== undefined && (has === null || has(rule.absent))) return false;
  const { match, begins } = textsOf(rule);
  if (begins !== null && !bare.subarray(0, begins.length).equals(begins)) return false;
  return match === null || bare.includes(match);
}

export function looksAtText({ match, begins }: AnswerRule): boolean {
  return match !== undefined || begins !== undefined;
}

/**
 * Without blanks and line ends, because the same JSON comes packed or indented. In bytes: some providers repeat the
 * key in their answer. The caller wipes it.
 */
export function withoutBlanks(bytes: Buffer): Buffer {
  const bare = secretBuffer(bytes.length);
  let at = 0;
  // By index: an iterator costs ten times as much.
  for (let from = 0; from < bytes.length; from++) {
    const byte = bytes[from] ?? 0;
    if (byte > 0x20) bare[at++] = byte;
  }
  return bare.subarray(0, at);
}

interface Texts {
  readonly match: Buffer | null;
  readonly begins: Buffer | null;
}

/** Lives as long as the catalog that the rules are from. */
const prepared = new WeakMap<AnswerRule, Texts>();

function textsOf(rule: AnswerRule): Texts {
  let texts = prepared.get(rule);
  if (texts === undefined) {
    texts = { match: bareText(rule.match), begins: bareText(rule.begins) };
    prepared.set(rule, texts);
  }
  return texts;
}

function bareText(text: string | undefined): Buffer | null {
  return text === undefined ? null : withoutBlanks(Buffer.from(text, "utf8"));
}
