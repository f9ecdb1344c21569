import type { Ask } from "../../policy/budget.ts";
import type { Route } from "../../policy/compile.ts";
import { bucketKey, type LimitRequest } from "../../policy/limit.ts";
import type { Choice } from "./choose.ts";
import type { Identity } from "./exchange.ts";
import type { ExchangeState } from "./exchange-state.ts";
import type { Limiter, LimiterHold } from "./limiter.ts";

/** The limits that the policy sets for a route, as one exchange meets them. */
export interface OwnLimitDeps {
  readonly limiter: Limiter;
  readonly limitWaited: (route: string, limit: string, waitMs: number) => void;
}

/** Which counters of the route's limits an exchange falls under. */
export function limitRequests(route: Route, identity: Identity, choice: Choice | null): LimitRequest[] {
  const ids = {
    client: identity.client,
    credential: choice?.credential.name ?? null,
    provider: route.provider.id,
    route: route.id,
    user: identity.user,
  };
  return route.limits.map((spec) => ({ spec, key: bucketKey(spec, ids) }));
}

/**
 * Takes what the call asks of every limit of the route. Null when it had not to wait, which spares the promise.
 * @throws LimitDenied, and ProxyError client_closed; both also as rejections
 */
export function reserve(route: Route, x: ExchangeState, ask: Ask, deps: OwnLimitDeps): Promise<void> | null {
  if (route.limits.length === 0) return null;
  const wanted = limitRequests(route, x.identity, x.choice);
  const caller = { client: x.identity.client, ask, gone: () => x.clientGone() };
  const reserved = deps.limiter.reserve(wanted, caller);
  if (reserved instanceof Promise) return waitFor(reserved, route, x, deps);
  x.hold = reserved;
  return null;
}

async function waitFor(
  reserved: Promise<LimiterHold>,
  route: Route,
  x: ExchangeState,
  deps: OwnLimitDeps,
): Promise<void> {
  const queuedAt = performance.now();
  try {
    x.hold = await reserved;
  } finally {
    x.waitMs += performance.now() - queuedAt;
  }
  if (x.hold.waited) deps.limitWaited(route.id, x.hold.waited.limit, x.hold.waited.ms);
}
