import type { RetryReason, RetrySpec } from "../../policy/compile.ts";
import type { TrafficMeaning } from "../../providers/classify-traffic.ts";
import type { ErrorCode } from "./errors.ts";
import type { Fields } from "./exchange.ts";

/**
 * Whether a request that failed is sent once more, and with which key. Every rule here is a reason not to: a request
 * that was perhaps carried out is not carried out twice, an outage is not made worse, and a client's own retries are
 * not multiplied. Pure; what is asked for here is the exchange's and the chooser's to know.
 */

/** How a try failed. */
export type Failure =
  /** No answer. `written`: a byte of the request may have reached the provider. */
  | { readonly kind: "connect"; readonly written: boolean }
  | {
      readonly kind: "answer";
      readonly status: number;
      readonly meaning: TrafficMeaning;
      /** The provider's `x-should-retry`; null when it says nothing. */
      readonly shouldRetry: boolean | null;
      /** Its Retry-After, in milliseconds from now; null when there is none. */
      readonly retryAfterMs: number | null;
    };

export interface RetryFacts {
  readonly failure: Failure;
  /** Null: the route never tries again. */
  readonly retry: RetrySpec | null;
  /** Tries that were made, this one included. */
  readonly attempts: number;
  /** Since the request's arrival. */
  readonly elapsedMs: number;
  readonly method: string;
  /** What `repeatHints` read from the client's fields. */
  readonly hints: RepeatHints;
  /** There is no body, or all of it is still held. */
  readonly bodyHeld: boolean;
  /** A byte of an answer has gone to the client. */
  readonly answerBegun: boolean;
  /** The provider moves money: what was perhaps carried out is never sent again. */
  readonly trading: boolean;
  /** The version that was used may be used again. */
  readonly sameReady: boolean;
  /** Another one is well (`Chooser.hasOther`). */
  readonly otherReady: boolean;
  /** 0 to below 1. */
  readonly random: number;
}

/** The first rule that speaks against another try. */
export type NoRetryReason =
  | "no_retry_on_route"
  | "answer_begun"
  | "answer_stands"
  | "reason_not_on_route"
  | "attempts_used"
  | "client_retries"
  | "provider_says_no"
  | "body_gone"
  | "outcome_unknown"
  | "no_credential_ready"
  | "too_late";

/** With another credential version, with the same, or (null) not at all. */
export type RetryVerdict =
  | {
      readonly retry: "other" | "same";
      readonly reason: RetryReason;
      /** How long to wait before; 0 when there is nothing to wait for. */
      readonly afterMs: number;
    }
  | { readonly retry: null; readonly reason: NoRetryReason; readonly afterMs: 0 };

/** Before the second try with the same key; doubled for each further one. The half of it is jitter. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2_000;

/** RFC 9110 section 9.2.2. */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);
/** RFC 9110 section 9.2.1. */
const SAFE = new Set(["GET", "HEAD", "OPTIONS", "TRACE"]);

export function retryVerdict(facts: RetryFacts): RetryVerdict {
  const { failure, retry } = facts;
  const no = (reason: NoRetryReason): RetryVerdict => ({ retry: null, reason, afterMs: 0 });
  if (facts.answerBegun) return no("answer_begun");
  if (retry === null) return no("no_retry_on_route");
  const kinds = kindsOf(failure);
  const [first] = kinds;
  if (first === undefined) return no("answer_stands");
  const kind = kinds.find((each) => retry.on.has(each));
  if (kind === undefined) return no("reason_not_on_route");
  if (facts.attempts >= retry.attempts) return no("attempts_used");
  if (facts.hints.clientRetries) return no("client_retries");
  if (!facts.bodyHeld) return no("body_gone");
  if (!mayRepeat(kind, facts)) return no("outcome_unknown");
  // What it says of a refused key is about that key; another one is another matter.
  if (kind === "unavailable" && failure.kind === "answer" && failure.shouldRetry === false)
    return no("provider_says_no");
  const way = wayFor(kind, facts);
  if (way === null) return no("no_credential_ready");
  const afterMs = way === "other" ? 0 : pauseMs(facts);
  if (facts.elapsedMs + afterMs > retry.withinMs) return no("too_late");
  return { retry: way, reason: kind, afterMs };
}

/** As which of the route's reasons this failure counts; none for answers that stand as they are. */
function kindsOf(failure: Failure): readonly RetryReason[] {
  if (failure.kind === "connect") return ["connect"];
  const { meaning, status } = failure;
  if (meaning === "invalid") return ["refused"];
  // 401 says that the request was not carried out (RFC 9110 section 15.5.2), whatever else is wrong with the key.
  if (meaning === "unknown" && status === 401) return ["refused"];
  // The key is not wrong, and not merely too fast: whoever wants another key for either wants it now.
  if (meaning === "quota") return ["limited", "refused"];
  if (meaning === "limited") return ["limited"];
  return meaning === "unavailable" ? ["unavailable"] : [];
}

/** Whether sending it again does not do anything twice. */
function mayRepeat(kind: RetryReason, { failure, method, hints, trading }: RetryFacts): boolean {
  if (failure.kind === "connect" && !failure.written) return true;
  // Refused before it was carried out.
  if ((kind === "refused" || kind === "limited") && failure.kind === "answer" && failure.status < 500) return true;
  if (trading) return SAFE.has(method);
  return IDEMPOTENT.has(method) || hints.idempotencyKey;
}

/** A key that was refused is not shown again; a provider in trouble is the same for every key, so the same comes first. */
function wayFor(kind: RetryReason, { sameReady, otherReady }: RetryFacts): "other" | "same" | null {
  if ((kind === "connect" || kind === "unavailable") && sameReady) return "same";
  return otherReady ? "other" : null;
}

function pauseMs({ failure, attempts, random }: RetryFacts): number {
  const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempts - 1));
  const pause = Math.round(longest / 2 + (random * longest) / 2);
  return failure.kind === "answer" ? Math.max(pause, failure.retryAfterMs ?? 0) : pause;
}

/** What the client's own fields say about repeating its request. */
export interface RepeatHints {
  /** The provider will recognise a repetition. */
  readonly idempotencyKey: boolean;
  /** This request is a repetition already: the client retries by itself. */
  readonly clientRetries: boolean;
}

/** @param fields flat `[name, value, ...]` as the client sent them */
export function repeatHints(fields: Fields): RepeatHints {
  let idempotencyKey = false;
  let clientRetries = false;
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at]?.toLowerCase();
    const value = fields[at + 1]?.trim() ?? "";
    if (name === "idempotency-key" || name === "x-idempotency-key") idempotencyKey ||= value !== "";
    // Sent by the OpenAI and Anthropic SDKs: 0 for a first try.
    if (name === "x-stainless-retry-count") clientRetries ||= value !== "0";
  }
  return { idempotencyKey, clientRetries };
}

/** Reads the value of the provider's `x-should-retry`; null when there is none, or it is neither. */
export function shouldRetry(value: string | null): boolean | null {
  if (value === "true") return true;
  return value === "false" ? false : null;
}

/** Errors of sidekey's own that say that the provider gave no answer. */
const NO_ANSWER: ReadonlySet<ErrorCode> = new Set([
  "upstream_connect",
  "upstream_dns",
  "upstream_protocol",
  "upstream_timeout",
  "upstream_tls",
]);

/**
 * The failure behind an error of the exchange; null when it is none of the provider's.
 * @param sent whether there was a connection to write the request to
 */
export function connectFailure({ code }: { readonly code: ErrorCode }, sent: boolean): Failure | null {
  return NO_ANSWER.has(code) ? { kind: "connect", written: sent } : null;
}
