import { usdText } from "../../policy/usd-text.ts";
import { type TokenSums, tokenSums, tokensBothWays } from "../../providers/usage/token-sums.ts";
import { MAX_COST_NANO, MAX_NAME, type UsageRecord, wholeUpTo } from "../../store/usage-record.ts";
import type { RequestLine } from "../log.ts";
import type { EndedRequest } from "../metrics-traffic.ts";
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
  const use = useOf(outcome);
  sinks.usage.record(usageRecord(outcome, use));
  sinks.log.request(requestLine(outcome, use));
  sinks.metrics.requestEnded(endedRequest(outcome, use));
  if (isDenied(outcome)) sinks.metrics.denied(outcome.reason ?? outcome.outcome);
}

/** What an outcome says of usage, in the form that all three traces share. */
interface Use {
  readonly model: string | null;
  readonly tokens: TokenSums | null;
  readonly costNano: number | null;
}

const NO_USE: Use = { model: null, tokens: null, costNano: null };

function useOf({ usage, costNano }: Outcome): Use {
  if (usage === null && costNano === null) return NO_USE;
  return {
    // A client can ask for a model of any length.
    model: usage === null || usage.model === null ? null : usage.model.slice(0, MAX_NAME),
    tokens: usage === null ? null : tokenSums(usage.units),
    costNano: costNano === null ? null : wholeUpTo(costNano, MAX_COST_NANO),
  };
}

function usageRecord(outcome: Outcome, { model, tokens, costNano }: Use): UsageRecord {
  const { usage } = outcome;
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
    operation: outcome.operation,
    model,
    tier: usage === null ? null : usage.tier,
    tokens,
    units: usage === null ? null : usage.units,
    quality: usage === null ? "none" : usage.quality,
    partial: usage?.partial === true,
    costNano,
    unpriced: outcome.unpriced,
    priceTable: outcome.priceTable,
    limits: outcome.limits,
    meaning: outcome.meaning,
    scrubbed: outcome.scrubbed,
  };
}

function requestLine(outcome: Outcome, { model, tokens, costNano }: Use): RequestLine {
  const { usage } = outcome;
  const ways = tokens === null ? null : tokensBothWays(tokens);
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
    model,
    tokens_in: ways === null ? null : ways.tokensIn,
    tokens_out: ways === null ? null : ways.tokensOut,
    cost_usd: costNano === null ? null : usdText(costNano),
    unpriced: outcome.unpriced,
    usage: usage === null || usage.quality === "none" ? null : usage.quality,
    attempts: outcome.attempts,
    scrubbed: outcome.scrubbed,
  };
}

function endedRequest(outcome: Outcome, { tokens, costNano }: Use): EndedRequest {
  return {
    route: outcome.route,
    client: outcome.client,
    credential: outcome.attempts > 0 ? outcome.credential : null,
    outcome: outcomeLabel(outcome),
    totalMs: outcome.totalMs,
    overheadMs: overheadMs(outcome),
    upstreamMs: outcome.upstreamMs,
    tokens,
    costNano,
    unpriced: outcome.unpriced,
    estimated: outcome.usage?.quality === "estimated",
    scrubbed: outcome.scrubbed,
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
