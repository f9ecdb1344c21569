import type { AnswerHead } from "../../providers/usage/usage.ts";
import { type Coding, codingOf } from "./content-coding.ts";
import { type ResponseRules, responseFields } from "./headers.ts";
import type { Needles } from "./needles.ts";
import { scrubWhole } from "./scrub.ts";

/** What is searched for in an answer, and what takes its place. */
export interface ScrubRule {
  readonly needles: Needles;
  readonly replacement: Buffer;
}

/** The head of an answer, read once. */
export interface ReadHead extends AnswerHead {
  readonly reason: string;
  /** As they may reach the client, scrubbed; without the length and the coding of the body. */
  readonly fields: readonly string[];
  /** Secrets taken out of it. */
  readonly scrubbed: number;
  /** Null: it cannot be read. */
  readonly coding: Coding | "identity" | null;
  /** Its Content-Encoding fields as they came. */
  readonly codings: readonly string[];
  /** Content-Length in bytes; null when there is none, or it does not count. */
  readonly length: number | null;
  /** It has no content, whatever its fields announce (RFC 9110 section 6.4.1). */
  readonly bodiless: boolean;
  /** Bytes whose places matter; everything else is text. */
  readonly binary: boolean;
}

export interface HeadOptions {
  readonly method: string;
  readonly response: ResponseRules;
  readonly scrub: ScrubRule | null;
}

/** @param raw fields as they were parsed from the wire, `[name, value, ...]` */
export function readHead(status: number, reason: string, raw: readonly Buffer[], options: HeadOptions): ReadHead {
  const bodiless = options.method === "HEAD" || status === 204 || status === 304;
  const clean = scrubRaw(raw, options.scrub);
  const fields = responseFields(clean.raw, options.response, bodiless);
  const { kept, names, codings, length } = apart(fields);
  const field = (name: string): string | null => fields[2 * names.indexOf(name) + 1] ?? null;
  const contentType = (field("content-type") ?? "").toLowerCase();
  const coding = codingOf(codings);
  return {
    status,
    reason: scrubText(reason, options.scrub),
    fields: kept,
    scrubbed: clean.count,
    contentType,
    field,
    coding,
    codings,
    length,
    bodiless,
    binary: isBinary(contentType),
  };
}

/** What is read of Transfer-Encoding; `identity` is what RFC 2616 called none. */
const READ_TRANSFER_CODINGS = new Set(["chunked", "identity"]);
const TRANSFER_ENCODING = "transfer-encoding";

/**
 * Whether the body comes in a transfer coding that nobody takes off. Sidekey asks for none, so a provider must not use
 * any but `chunked`, and that once (RFC 9112 sections 6.1 and 7.4); its bytes would pass as content that they are not.
 * @param raw fields as they were parsed from the wire
 */
export function isTransferCoded(raw: readonly Buffer[]): boolean {
  let seen = false;
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at];
    if (name?.length !== TRANSFER_ENCODING.length || name.toString("latin1").toLowerCase() !== TRANSFER_ENCODING)
      continue;
    const value = raw[at + 1]?.toString("latin1").trim().toLowerCase() ?? "";
    if (seen || !READ_TRANSFER_CODINGS.has(value)) return true;
    seen = true;
  }
  return false;
}

interface Apart {
  readonly kept: readonly string[];
  /** Lower-case names of all fields. */
  readonly names: readonly string[];
  readonly codings: readonly string[];
  readonly length: number | null;
}

/** Sets length and coding of the body apart: they are set anew when it is known what becomes of it. */
function apart(fields: readonly string[]): Apart {
  const [kept, names, codings]: [string[], string[], string[]] = [[], [], []];
  let length: string | null = null;
  for (let at = 0; at < fields.length; at += 2) {
    const [name = "", value = ""] = [fields[at], fields[at + 1]];
    const lower = name.toLowerCase();
    names.push(lower);
    if (lower === "content-length") length ??= value;
    else if (lower === "content-encoding") codings.push(value);
    else kept.push(name, value);
  }
  return { kept, names, codings, length: length !== null && /^\d{1,15}$/.test(length) ? Number(length) : null };
}

/** Text that may hold a key anywhere, in contrast to formats in which every byte has its place. */
const TEXT =
  /^(?:text\/|application\/(?:[^;]*\+)?(?:json|xml|yaml|csv|javascript|graphql|x-www-form-urlencoded|x-ndjson|jsonl|problem))/;

function isBinary(contentType: string): boolean {
  return contentType !== "" && !TEXT.test(contentType);
}

/** Every value in which a secret stands, rewritten. Names cannot hold one: they are tokens that we know or drop. */
export function scrubRaw(
  raw: readonly Buffer[],
  rule: ScrubRule | null,
): { readonly raw: readonly Buffer[]; readonly count: number } {
  if (rule === null) return { raw, count: 0 };
  let count = 0;
  const clean = raw.map((bytes, at) => {
    const scrubbed = at % 2 === 0 ? null : scrubWhole(bytes, rule.needles, rule.replacement);
    if (scrubbed !== null) count++;
    return scrubbed ?? bytes;
  });
  return { raw: clean, count };
}

function scrubText(text: string, rule: ScrubRule | null): string {
  if (rule === null) return text;
  return scrubWhole(Buffer.from(text, "latin1"), rule.needles, rule.replacement)?.toString("latin1") ?? text;
}

/** Fields that no longer fit once a coding was taken off: they speak of bytes that the client will not see. */
const OF_THE_CODED = new Set([
  "content-md5",
  "digest",
  "content-digest",
  "repr-digest",
  "accept-ranges",
  "content-range",
]);

/** The fields of an answer whose coding was taken off (RFC 9110 sections 8.8.1 and 7.7). */
export function decodedFields(fields: readonly string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? "";
    const value = fields[at + 1] ?? "";
    const lower = name.toLowerCase();
    if (OF_THE_CODED.has(lower)) continue;
    // Other bytes under the same name: the tag may only promise that they mean the same.
    kept.push(name, lower === "etag" && value.startsWith('"') ? `W/${value}` : value);
  }
  return kept;
}
