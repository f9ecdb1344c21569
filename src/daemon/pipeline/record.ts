import type { UsageRecord } from "../../store/usage-record.ts";
import type { RequestLine } from "../log.ts";
import type { EndedRequest } from "../metrics.ts";
import { ERROR_STATUS, type ErrorCode } from "./errors.ts";
import type { Outcome } from "./exchange.ts";

/** Longest path that the usage log keeps, in characters. */
const MAX_PATH = 512;

/** Where an Outcome goes. Narrow on purpose: the log, the usage writer and the metrics are wider than this. */
export interface OutcomeSinks {
  readonly usage: { record(record: UsageRecord): void };
  readonly log: { request(line: RequestLine): void };
  readonly metrics: { requestEnded(request: EndedRequest): void; denied(reason: string): void };
}

/** The one place where an exchange leaves its traces: one usage record, one log line, one count (guarantee G12). */
export function recordOutcome(outcome: Outcome, sinks: OutcomeSinks): void {
  sinks.usage.record(usageRecord(outcome));
  sinks.log.request(requestLine(outcome));
  sinks.metrics.requestEnded(endedRequest(outcome));
  if (isDenied(outcome)) sinks.metrics.denied(outcome.reason ?? outcome.outcome);
}

export function usageRecord(outcome: Outcome): UsageRecord {
  const denied = isDenied(outcome);
  const label = outcomeLabel(outcome);
  return {
    atMs: outcome.atMs,
    route: outcome.route,
    provider: outcome.provider,
    credential: outcome.credential,
    version: outcome.version,
    client: outcome.client,
    user: outcome.user,
    form: outcome.form,
    method: outcome.method,
    host: outcome.host,
    path: withoutQuery(outcome.path).slice(0, MAX_PATH),
    status: outcome.status,
    outcome: label,
    denied,
    error: !denied && label !== "ok",
    bytesUp: outcome.bytesUp,
    bytesDown: outcome.bytesDown,
    totalMs: outcome.totalMs,
    upstreamMs: outcome.upstreamMs,
    overheadMs: overheadMs(outcome),
    waitMs: outcome.waitMs,
    attempts: outcome.attempts,
  };
}

export function requestLine(outcome: Outcome): RequestLine {
  return {
    id: outcome.id,
    client: outcome.client,
    user: outcome.user,
    form: outcome.form,
    method: outcome.method,
    host: outcome.host,
    path: withoutQuery(outcome.path),
    route: outcome.route,
    credential: outcome.credential,
    version: outcome.version,
    status: outcome.status,
    outcome: outcomeLabel(outcome),
    code: outcome.outcome === "ok" ? null : (outcome.reason ?? outcome.outcome),
    bytes_up: outcome.bytesUp,
    bytes_down: outcome.bytesDown,
    ms: rounded(outcome.totalMs),
    upstream_ms: outcome.upstreamMs === null ? null : rounded(outcome.upstreamMs),
    overhead_ms: rounded(overheadMs(outcome) ?? outcome.totalMs - outcome.waitMs),
    wait_ms: rounded(outcome.waitMs),
  };
}

export function endedRequest(outcome: Outcome): EndedRequest {
  return {
    route: outcome.route,
    client: outcome.client,
    credential: outcome.attempts > 0 ? outcome.credential : null,
    outcome: outcomeLabel(outcome),
    totalMs: outcome.totalMs,
    overheadMs: overheadMs(outcome),
    upstreamMs: outcome.upstreamMs,
  };
}

/** Error code, or what the provider answered: an operator wants to see its 401 and 500 apart from its 200. */
function outcomeLabel({ outcome, status }: Outcome): string {
  if (outcome !== "ok" || status < 400) return outcome;
  return status < 500 ? "provider_4xx" : "provider_5xx";
}

/** Sidekey itself said no, because of the policy, a limit or the request; not: it could not. */
function isDenied({ outcome }: Outcome): boolean {
  return isErrorCode(outcome) && ERROR_STATUS[outcome] < ERROR_STATUS.client_closed;
}

function isErrorCode(outcome: string): outcome is ErrorCode {
  return Object.hasOwn(ERROR_STATUS, outcome);
}

/** Neither the provider's time nor the wait for a limit; null when nothing was sent upstream. */
function overheadMs({ totalMs, upstreamMs, waitMs }: Outcome): number | null {
  return upstreamMs === null ? null : Math.max(0, totalMs - upstreamMs - waitMs);
}

/** Outcomes carry no query; this makes sure, because several providers take their key there. */
function withoutQuery(path: string): string {
  const at = path.indexOf("?");
  return at === -1 ? path : path.slice(0, at);
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
