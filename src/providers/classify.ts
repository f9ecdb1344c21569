import { type AnswerRule, applies, looksAtText, withoutBlanks } from "./answer-match.ts";
import type { Expiry, Provider } from "./schema.ts";

/**
 * What a provider's answer says about the key that was sent with it.
 * `plan`: the key is alive, what was asked for is not in its plan. `unknown`: the answer says nothing about the key.
 */
export type Meaning = "valid" | "invalid" | "forbidden" | "limited" | "plan" | "unknown";

export interface Answer {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

/** How much of a body is looked at, in bytes; what tells a bad key stands at the beginning of a short answer. */
const MATCHED_BYTES = 64 * 1024;
/** Largest body that is read for an expiry, in bytes. */
const PARSED_BYTES = 64 * 1024;

/** Meanings of `errors`, which also describe traffic, as far as they say something about the key. */
const ERROR_MEANINGS = {
  invalid: "invalid",
  forbidden: "forbidden",
  plan: "plan",
  quota: "limited",
  limited: "limited",
  retired: "unknown",
  session: "unknown",
  unavailable: "unknown",
  request: "unknown",
  unknown: "unknown",
} as const;

/**
 * Reads the answer to a provider's probe. What the provider's file says about this status *and* this text comes before
 * what it says about the status alone: several providers refuse a live key with 401 or 403, and some answer 200 to a
 * dead one. Anything the file does not name is `unknown`.
 */
export function classifyProbe({ probe, errors }: Pick<Provider, "probe" | "errors">, answer: Answer): Meaning {
  if (probe === null) return "unknown";
  const body = answer.body.subarray(0, MATCHED_BYTES);
  if (unreadable(answer) && [...(probe.rules ?? []), ...errors].some((rule) => needsText(rule, answer.status))) {
    return "unknown";
  }
  const bare = withoutBlanks(body);
  const facts = { status: answer.status, bare, has: (name: string) => answer.headers.has(name) };
  try {
    const rule = probe.rules?.find((each) => applies(each, facts));
    if (rule) return rule.means;
    const known = errors.find((each) => looksAtText(each) && applies(each, facts));
    if (known) return ERROR_MEANINGS[known.means];
    const listed = (["valid", "invalid", "forbidden", "limited"] as const).find((meaning) =>
      probe[meaning]?.includes(answer.status),
    );
    if (listed) return listed;
    const byStatus = errors.find((each) => !looksAtText(each) && applies(each, facts));
    return byStatus ? ERROR_MEANINGS[byStatus.means] : "unknown";
  } finally {
    bare.fill(0);
  }
}

/**
 * Whether a status seen in traffic is a reason to ask the provider about the key. It is never more than that: the
 * request itself, its scope or its plan are as likely the cause.
 */
export function refusesKey(status: number): boolean {
  return status === 401 || status === 403;
}

/** Until when the key is good, ms since the epoch, when the provider says so in this answer; else null. */
export function learnedExpiry(expiry: Expiry | null, answer: Answer): number | null {
  if (expiry === null) return null;
  const told = expiry.header === undefined ? atPointer(answer, expiry.json ?? "") : answer.headers.get(expiry.header);
  return parseTime(told, expiry.format);
}

function needsText(rule: AnswerRule, answered: number): boolean {
  return looksAtText(rule) && rule.status === answered;
}

/** We ask for no coding; who compresses all the same cannot be read. */
function unreadable({ headers }: Answer): boolean {
  const coding = headers.get("content-encoding")?.toLowerCase() ?? "identity";
  return coding !== "identity" && coding !== "";
}

function atPointer(answer: Answer, pointer: string): unknown {
  if (answer.body.length > PARSED_BYTES || unreadable(answer)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(answer.body.toString("utf8"));
  } catch {
    return undefined;
  }
  for (const step of pointer.slice(1).split("/")) {
    const name = step.replaceAll("~1", "/").replaceAll("~0", "~");
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

/** Beyond this a number is no time but a way to say "never" (the year 9999). */
const LATEST_MS = 253_402_300_799_000;

/** Null for "never" in all its forms: absent, null, empty, 0. */
function parseTime(told: unknown, format: Expiry["format"]): number | null {
  if (typeof told !== "string" && typeof told !== "number") return null;
  const ms = format === "iso" ? Date.parse(String(told)) : Number(told) * (format === "epoch-ms" ? 1 : 1000);
  return Number.isFinite(ms) && ms > 0 && ms <= LATEST_MS ? Math.round(ms) : null;
}
