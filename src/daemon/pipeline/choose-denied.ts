import type { Route } from "../../policy/compile.ts";
import { ProxyError, vaultSealed } from "./errors.ts";
import type { Held, HoldReason, Readiness } from "./pool-health.ts";

/**
 * How a credential of a route stands. `absent`: there is none of this name. `unusable`: disabled, expired, not bound to
 * this host, or without a version in use. `tried`: this exchange has used it.
 */
export type Standing = Readiness | "absent" | "unusable" | "tried" | { readonly sealed: string };

interface Candidate {
  /** Null for a route without a credential. */
  readonly name: string | null;
  readonly standing: Standing;
}

/** Names that an answer lists. */
const MOST_NAMES = 8;

/**
 * Why a route has no credential now, as the answer to its client. What comes back first decides: the client learns
 * when, and whose limit it is.
 * @param user the user whose own credential was wanted; null for the route's
 */
export function noneReady(
  route: Route,
  user: string | null,
  candidates: readonly Candidate[],
  nowMs: number,
): ProxyError {
  const [first, ...others] = candidates.flatMap(({ standing }) => (isHeld(standing) ? [standing] : []));
  if (first) return notYet(route, candidates, others.reduce(sooner, first), nowMs);
  for (const { standing } of candidates) {
    if (typeof standing === "object" && "sealed" in standing) return vaultSealed(standing.sealed, route.id);
  }
  const which =
    user === null
      ? `none of its credentials (${candidates.map(({ name }) => name).join(", ")})`
      : `no credential of user ${user}`;
  return new ProxyError(
    "no_usable_credential",
    `route ${route.id}: ${which} exists, is enabled, unexpired, bound to this host and accepted by its provider; see \`sidekey credential list\`, add one with \`sidekey credential add ${route.provider.id}\``,
    { reason: candidates.some(({ standing }) => standing === "out") ? "out_of_use" : null, route: route.id },
  );
}

const CODES = {
  provider_limit: "limit_exceeded",
  quota: "no_usable_credential",
  failing: "upstream_unavailable",
} as const;
const REASONS = { provider_limit: "provider_limit", quota: "quota_used_up", failing: null } as const;

function notYet(route: Route, candidates: readonly Candidate[], { why, untilMs }: Held, nowMs: number): ProxyError {
  const seconds = secondsUntil(untilMs, nowMs);
  const told = candidates.slice(0, MOST_NAMES).map((one) => describe(one, nowMs));
  const more = candidates.length > MOST_NAMES ? `, ${candidates.length - MOST_NAMES} more` : "";
  return new ProxyError(CODES[why], `route ${route.id}: ${told.join(", ")}${more}; try again in ${seconds} s`, {
    reason: REASONS[why],
    route: route.id,
    fields: ["Retry-After", String(seconds)],
  });
}

const HELD: Readonly<Record<HoldReason, string>> = {
  provider_limit: "is held by its provider's limit",
  quota: "has nothing left at its provider",
  failing: "gets no answer, or only failures, from its provider",
};

function describe({ name, standing }: Candidate, nowMs: number): string {
  const what = name === null ? "it" : `credential ${name}`;
  if (isHeld(standing)) return `${what} ${HELD[standing.why]} (${secondsUntil(standing.untilMs, nowMs)} s)`;
  if (typeof standing === "object") return `${what} is sealed`;
  if (standing === "out") return `${what} is refused by its provider`;
  if (standing === "tried") return `${what} was tried`;
  return standing === "absent" ? `${what} does not exist` : `${what} is disabled, expired or for another host`;
}

function isHeld(standing: Standing): standing is Held {
  return typeof standing === "object" && "why" in standing;
}

function sooner(one: Held, other: Held): Held {
  return other.untilMs < one.untilMs ? other : one;
}

/** Rounded up, so that a client that obeys is not refused again; at least 1, because 0 means "at once". */
function secondsUntil(untilMs: number, nowMs: number): number {
  return Math.max(1, Math.ceil((untilMs - nowMs) / 1000));
}
