import type { TrafficMeaning } from "../../../providers/classify-traffic.ts";
import type { EarlierTry } from "../../pipeline/attempts.ts";
import type { Outcome } from "../../pipeline/exchange.ts";

/**
 * How one try at a provider ended, for those who watch over providers. `ok`: it did what was asked. `answered`: it said
 * no to this request, which says nothing against the provider.
 */
export type AttemptResult = "ok" | "answered" | "failed" | "limited" | "quota";

/** One try. Names are those of the policy and the vault, so there are few of them. */
export interface Attempt {
  readonly provider: string;
  readonly host: string;
  /** Null where the provider takes no key. */
  readonly credential: string | null;
  readonly result: AttemptResult;
  /** Why it failed, for people: `upstream_timeout`, `status 503`; empty when it did not. */
  readonly cause: string;
  readonly atMs: number;
}

/** Ways in which the way to a provider, or its answer, breaks. */
const BROKEN: ReadonlySet<string> = new Set([
  "upstream_connect",
  "upstream_dns",
  "upstream_tls",
  "upstream_timeout",
  "upstream_protocol",
  "truncated",
]);

/** An answer of 501 says that there is no such thing, not that the provider fails (RFC 9110 section 15.6.2). */
const NOT_IMPLEMENTED = 501;

const RESULTS: Readonly<Partial<Record<TrafficMeaning, AttemptResult>>> = {
  ok: "ok",
  quota: "quota",
  limited: "limited",
  unavailable: "failed",
};

/** A try after which there was another one. */
export function earlierAttempt({ provider, host, credential, status, meaning, atMs }: EarlierTry): Attempt {
  if (meaning === "connect") return { provider, host, credential, result: "failed", cause: "no answer", atMs };
  const result = RESULTS[meaning] ?? "answered";
  return { provider, host, credential, result, cause: result === "failed" ? `status ${status}` : "", atMs };
}

/** The last try of an exchange; null when it says nothing of a provider. */
export function attemptOf(outcome: Outcome): Attempt | null {
  const { provider, host, credential, atMs } = outcome;
  const result = provider === null ? null : resultOf(outcome);
  if (provider === null || result === null) return null;
  const cause = result === "failed" ? causeOf(outcome) : "";
  return { provider, host, credential, result, cause, atMs };
}

/** Empty for what sidekey has held back: the cause is that of a request before. */
function causeOf({ outcome, reason, status, attempts }: Outcome): string {
  if (attempts === 0) return "";
  return outcome === "ok" ? `status ${status}` : (reason ?? outcome);
}

function resultOf({ outcome, status, reason, meaning, attempts }: Outcome): AttemptResult | null {
  // Held back by sidekey: because the provider has said so, because it fails.
  if (reason === "provider_limit") return "limited";
  if (outcome === "upstream_unavailable") return "failed";
  if (attempts === 0) return null;
  if (BROKEN.has(outcome)) return "failed";
  if (outcome !== "ok") return null;
  if (meaning !== null && meaning !== "unknown") return RESULTS[meaning] ?? "answered";
  if (status === 429) return "limited";
  if (status >= 500) return status === NOT_IMPLEMENTED ? "answered" : "failed";
  return status > 0 && status < 400 ? "ok" : "answered";
}
