import type { Ask, Misfit } from "../../policy/budget.ts";
import { amountText, budgetText } from "../../policy/budget-text.ts";
import type { LimitSpec } from "../../policy/compile.ts";
import type { LimitRequest, LimitTable } from "../../policy/limit.ts";
import { ProxyError } from "./errors.ts";
import { type LimitState, limitState, rateLimitFields } from "./ratelimit-fields.ts";

/** What to say when only somebody else's release can make room. */
const UNKNOWN_RETRY_MS = 1000;
/** Longest Retry-After of a budget. A month's may be full for weeks: whoever can wait a day asks again then. */
const MAX_RETRY_AFTER_MS = 86_400_000;

/**
 * `no_room`: nothing to wait for in time; `wait_expired`: it waited; `queue_full`: too many wait already. The others
 * say why the call can never pass.
 */
export type LimitReason = "no_room" | "wait_expired" | "queue_full" | Misfit;

/** What is known of a refusal. */
interface Facts {
  readonly denied: LimitRequest;
  readonly reason: LimitReason;
  readonly retryAfterMs: number | null;
  /** Of the limit that refuses. */
  readonly state: LimitState;
  /** Of all limits that the request had to pass. */
  readonly states: readonly LimitState[];
}

/** A request that a limit or a budget refuses (429). It carries the headers that tell the client when to come back. */
export class LimitDenied extends ProxyError {
  readonly spec: LimitSpec;
  readonly key: string;
  /** Until it is worth trying again, at least 1; null when this call can never pass. */
  readonly retryAfterMs: number | null;
  readonly limit: number;
  readonly remaining: number;
  /** Until nothing would be missing; null when nobody can know (concurrent limits). */
  readonly resetMs: number | null;

  constructor(message: string, { denied: { spec, key }, reason, retryAfterMs, state, states }: Facts) {
    super(spec.budget === null ? "limit_exceeded" : "budget_exceeded", message, {
      reason,
      fields: [...retryFields(retryAfterMs), ...rateLimitFields(states)],
    });
    this.name = "LimitDenied";
    this.spec = spec;
    this.key = key;
    this.retryAfterMs = retryAfterMs === null ? null : Math.max(1, Math.ceil(retryAfterMs));
    this.limit = spec.count;
    this.remaining = state.remaining;
    this.resetMs = state.resetMs;
  }
}

/** Which limit refuses what, and why. */
export interface Refusal {
  /** With the microseconds until it has room; null when nobody can know, or it never will. */
  readonly denied: LimitRequest & { readonly retryAfterUs: number | null };
  readonly reason: LimitReason;
  /** All limits that the request had to pass. */
  readonly wanted: readonly LimitRequest[];
  readonly ask: Ask;
}

/** The refusal of a request, in words and fields. @param nowUs microseconds since the epoch */
export function limitDenied(table: LimitTable, nowUs: number, refusal: Refusal): LimitDenied {
  const { denied, reason, wanted } = refusal;
  const state = limitState(table, denied, nowUs);
  const states = wanted.map((request) => limitState(table, request, nowUs));
  const afterMs = denied.retryAfterUs === null ? UNKNOWN_RETRY_MS : denied.retryAfterUs / 1000;
  if (denied.spec.budget === null) {
    const message = `limit ${limitText(denied.spec)} has no room; try again in ${wholeSeconds(afterMs)} s`;
    return new LimitDenied(message, { denied, reason, retryAfterMs: afterMs, state, states });
  }
  const retryAfterMs = isMisfit(reason) ? null : Math.min(MAX_RETRY_AFTER_MS, afterMs);
  return new LimitDenied(budgetMessage(refusal, state, nowUs), { denied, reason, retryAfterMs, state, states });
}

function budgetMessage({ denied, reason, ask }: Refusal, { remaining, resetMs }: LimitState, nowUs: number): string {
  const { spec, retryAfterUs } = denied;
  const budget = `budget ${spec.name} (${budgetText(spec)} per ${spec.per.join(" and ")})`;
  if (reason === "unpriced") {
    return `${budget}: this call has no price; an operator adds it to prices.yaml, or sets unpriced: allow`;
  }
  if (reason === "unbounded") {
    return `${budget} is strict, and nothing bounds what this call uses; state an output limit such as max_tokens, and leave out what has none, such as pictures by URL and the provider's own tools`;
  }
  const call = `this call needs ${needText(spec, ask)}`;
  if (reason === "too_large") return `${budget}: ${call}, more than all of it; ask for less, or raise the limit`;
  const left = `has ${amountText(spec, remaining)} left`;
  if (reason === "queue_full") return `${budget} ${left}, and too many requests wait for it already`;
  const room =
    retryAfterUs === null ? "calls in flight hold the rest" : `there is room for it at ${isoText(nowUs, retryAfterUs)}`;
  if (resetMs === null || resetMs * 1000 === retryAfterUs) return `${budget} ${left}, ${call}; ${room}`;
  return `${budget} ${left}, ${call}; ${room}, and all of it is there again at ${isoText(nowUs, resetMs * 1000)}`;
}

function needText(spec: LimitSpec, ask: Ask): string {
  const strict = spec.budget?.strict === true;
  const estimate = spec.kind === "usd" ? ask.usd : ask.tokens;
  const amount = (strict ? estimate?.atMost : estimate?.expected) ?? 0;
  const text = Number.isFinite(amount) ? amountText(spec, Math.max(0, Math.ceil(amount))) : "more than can be counted";
  return `${strict ? "up to" : "about"} ${text}`;
}

/** To the second, rounded up. */
function isoText(nowUs: number, afterUs: number): string {
  const seconds = Math.ceil((nowUs + afterUs) / 1_000_000);
  return new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
}

function isMisfit(reason: LimitReason): boolean {
  return reason === "too_large" || reason === "unbounded" || reason === "unpriced";
}

/** `X-Should-Retry` is what the SDKs of OpenAI and Anthropic obey: they would send a call that can never pass twice more. */
function retryFields(retryAfterMs: number | null): string[] {
  if (retryAfterMs === null) return ["X-Should-Retry", "false"];
  return ["Retry-After", String(wholeSeconds(retryAfterMs))];
}

/** Rounded up so that a client that obeys is not refused again; 0 would mean "at once". */
function wholeSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000));
}

function limitText(spec: LimitSpec): string {
  const per = `per ${spec.per.join(" and ")}`;
  const size = spec.kind === "concurrent" ? `${spec.count} at once` : `${spec.count} in ${spec.periodMs / 1000} s`;
  return `${spec.name} (${size} ${per})`;
}
