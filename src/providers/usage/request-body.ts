import { tokensInBytes } from "./figure.ts";
import { JsonMembers } from "./json-members.ts";
import type { MemberSet } from "./member-set.ts";
import { isCount, parsed } from "./reported.ts";
import type { BodyWindow, RequestFacts, RequestHead, Units } from "./usage.ts";

/** Tokens of a picture or a file, about; its bytes say little. */
const ATTACHMENT_TOKENS = 1000;
/** What an answer has when its request does not say how long it may get. */
export const DEFAULT_OUTPUT_TOKENS = 1000;
/**
 * Tokens that a provider adds around the messages, at most: marks of roles and turns, which are shorter than the JSON
 * that asks for them, and some words about the date and the answer's form (OpenAI's open models: about 70).
 */
const FRAME_TOKENS = 300;
/** What a provider adds when there are tools: Anthropic's largest system prompt for them has 530 tokens. */
const TOOL_FRAME_TOKENS = 1000;

/** A JSON body as far as it is known. */
export interface JsonBody<K extends string> {
  readonly members: JsonMembers<K>;
  /** Length of the whole body, or of what is known of it. */
  readonly bytes: number;
  /** How many of these were not looked at. */
  readonly unread: number;
  /** The whole body was read, it is one JSON document, and nothing that matters in it is doubtful. */
  readonly certain: boolean;
}

export function isJson({ contentType }: Pick<RequestHead, "contentType">): boolean {
  return /^application\/(?:[\w.+-]+\+)?json\b/.test(contentType);
}

/** Reads the beginning of a body; null when there is none, or it is not JSON by its Content-Type. */
export function jsonBody<K extends string>(
  head: RequestHead,
  body: BodyWindow | null,
  set: MemberSet<K>,
): JsonBody<K> | null {
  if (body === null || !isJson(head)) return null;
  const members = new JsonMembers(set);
  const end = members.write(body.bytes);
  const whole = body.whole && members.complete && body.bytes.subarray(end).every((byte) => byte <= 0x20);
  const bytes = body.length ?? body.bytes.length;
  return { members, bytes, unread: bytes - body.bytes.length, certain: whole && !members.doubtful };
}

/** What a request says of a number that it may leave out: a count, null for nothing, NaN for anything else. */
export function statedCount(raw: Buffer | null): number | null {
  if (raw === null) return null;
  const value = parsed(raw);
  if (value === null && raw.toString("latin1") === "null") return null;
  return isCount(value) && value > 0 ? value : Number.NaN;
}

export function isTrue(raw: Buffer | null): boolean {
  return raw?.toString("latin1") === "true";
}

/** What there is in a body besides text. */
export interface Attachments {
  readonly count: number;
  /** Bytes of those that are in the body itself. */
  readonly bytes: number;
}

/**
 * A picture may be longer than what is looked at of a body: the one in which that ends is taken for the rest of the body.
 * @param count of the attachments that were seen whole
 * @param inline the member that measures what of them is in the body
 */
export function attachmentsIn<K extends string>(
  { members, unread }: JsonBody<K>,
  count: number,
  inline: K,
): Attachments {
  const isOpen = members.isOpen(inline);
  return { count: Math.max(0, count) + (isOpen ? 1 : 0), bytes: members.size(inline) + (isOpen ? unread : 0) };
}

/** Input tokens of a request, about. */
export function expectedInput(bytes: number, attachments: Attachments): number {
  return tokensInBytes(Math.max(0, bytes - attachments.bytes)) + attachments.count * ATTACHMENT_TOKENS;
}

/**
 * Input tokens of a request that is nothing but text, at most: a token of a byte-level vocabulary stands for a byte at
 * least, and JSON never writes a text shorter than it is.
 */
export function mostInput(bytes: number, hasTools: boolean): number {
  return bytes + FRAME_TOKENS + (hasTools ? TOOL_FRAME_TOKENS : 0);
}

/** Facts of a call of which nothing else is known. */
export function plainFacts(operation: string, told: Partial<RequestFacts> = {}): RequestFacts {
  const request: Units = { request: 1 };
  return { operation, model: null, stream: false, canAsk: false, expected: request, atMost: request, ...told };
}
