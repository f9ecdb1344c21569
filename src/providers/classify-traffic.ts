import { type AnswerFacts, applies, looksAtText, withoutBlanks } from "./answer-match.ts";
import { refusesKey } from "./classify.ts";
import type { ErrorRule, Provider } from "./schema.ts";

/**
 * What an answer to a client's request says, about the key and about the provider.
 * - `invalid`: the provider does not accept the key. `forbidden`: the key is alive and may not do this.
 * - `quota`: the key has nothing left (day, month, credits). `limited`: too fast, it will be well again soon.
 * - `plan`, `retired`: the key is alive, what was asked for is not in its plan or no longer there.
 * - `session`: whoever the key stands for has to log in again. `unavailable`: the provider is in trouble.
 * - `request`: the request is wrong, and would be with any key.
 */
export type TrafficMeaning =
  | "ok"
  | "invalid"
  | "forbidden"
  | "quota"
  | "limited"
  | "plan"
  | "retired"
  | "session"
  | "unavailable"
  | "request"
  | "unknown";

export interface TrafficAnswer {
  readonly status: number;
  /** The decoded body's beginning; what is beyond 16 KiB is not looked at. */
  readonly body: Buffer;
  /** False when there is a body that could not be read, or none by the method (HEAD). */
  readonly bodyKnown: boolean;
  /** Whether the answer has a header field, by its lower-case name. */
  readonly has?: (name: string) => boolean;
}

/** How much of a body is looked at, in bytes; what tells a failure stands at the beginning. */
export const TRAFFIC_BODY_BYTES = 16 * 1024;

/** Whether the body has to be looked at before this answer may be called good. */
export function mayBeFailure({ errors }: Pick<Provider, "errors">, status: number): boolean {
  return status >= 400 || errors.some((rule) => rule.status === status);
}

/**
 * Reads the answer to a client's request. What the provider's file says about this status *and* this text comes before
 * what it says about the status alone, and that before what the status means to everybody. Never a guess against the
 * key: a text that the file does not know leaves a status whose other texts it knows `unknown`.
 */
export function classifyTraffic(provider: Pick<Provider, "errors">, answer: TrafficAnswer): TrafficMeaning {
  const { status } = answer;
  if (!mayBeFailure(provider, status)) return "ok";
  const { errors } = provider;
  const texts = errors.filter((rule) => looksAtText(rule) && isAbout(rule, status));
  if (!answer.bodyKnown && texts.length > 0) return withoutText(status);
  const bare = texts.length === 0 ? NO_BYTES : withoutBlanks(answer.body.subarray(0, TRAFFIC_BODY_BYTES));
  const facts: AnswerFacts = { status, bare, has: answer.has ?? null };
  try {
    const known = texts.find((rule) => applies(rule, facts));
    if (known) return known.means;
    const byStatus = errors.find((rule) => !looksAtText(rule) && applies(rule, facts));
    return byStatus?.means ?? byClass(status, texts.length > 0);
  } finally {
    bare.fill(0);
  }
}

/** Whether the provider should be asked about the key. It is never more than that: see `refusesKey`. */
export function doubtsKey(meaning: TrafficMeaning, status: number): boolean {
  if (meaning === "unknown") return refusesKey(status);
  return meaning === "invalid" || meaning === "forbidden" || meaning === "quota" || meaning === "session";
}

const NO_BYTES = Buffer.alloc(0);

function isAbout(rule: ErrorRule, status: number): boolean {
  return rule.status === undefined ? status >= 400 : rule.status === status;
}

/** The file knows texts for this status, and the text could not be read. */
function withoutText(status: number): TrafficMeaning {
  if (status < 400) return "ok";
  // A rate limit is one whatever is said about it, and so is a server in trouble.
  if (status === 429 || isTrouble(status)) return byClass(status, true);
  return "unknown";
}

/** What a status means to everybody (RFC 9110 section 15, RFC 6585 section 4). */
function byClass(status: number, otherTexts: boolean): TrafficMeaning {
  if (status < 400) return "ok";
  if (status === 401) return otherTexts ? "unknown" : "invalid";
  if (status === 402) return "quota";
  if (status === 403) return otherTexts ? "unknown" : "forbidden";
  // Who asks for credentials for a proxy is not the provider.
  if (status === 407) return "unknown";
  if (status === 429) return "limited";
  if (status < 500 || status === 501 || status === 505) return "request";
  return isTrouble(status) ? "unavailable" : "unknown";
}

function isTrouble(status: number): boolean {
  return status >= 500 && status <= 599 && status !== 501 && status !== 505;
}
