import { NOTHING_KNOWN } from "../../policy/budget.ts";
import type { PolicySnapshot, Route } from "../../policy/compile.ts";
import { bucketKey, type LimitRequest } from "../../policy/limit.ts";
import type { Credential } from "../../store/credentials.ts";
import { LimitDenied } from "../pipeline/limit-denied.ts";
import type { Caller, Limiter } from "../pipeline/limiter.ts";
import type { TakeGrant } from "./scheduler.ts";

const NOBODY_LEAVES = new AbortController().signal;
/** A check uses nothing that a budget counts. */
const CHECK: Caller = { client: "", ask: NOTHING_KNOWN, gone: () => NOBODY_LEAVES };

/** The routes that may send this credential's key. */
export function routesOf(policy: PolicySnapshot, credential: Credential): Route[] {
  return policy.routes.filter(({ provider, credentials: { use, else: other, owner } }) => {
    if (provider.id !== credential.provider) return false;
    if (owner === "user" && credential.owner.kind === "user") return true;
    return other === credential.name || use.some(({ name }) => name === credential.name);
  });
}

/**
 * A check counts against the limits of all routes that use the credential, as a request does, but never waits: a
 * client's request comes first. Limits per client or user are theirs, not the provider's, and are left alone; so are
 * budgets, which would otherwise end all checks until they reset.
 */
export function createGrants(limiter: Pick<Limiter, "reserve">, policy: () => PolicySnapshot): TakeGrant {
  return (credential) => {
    try {
      const held = limiter.reserve(wantedFor(credential, policy()), CHECK);
      // Without a wait in any limit it is never a promise; if it were, letting go of it is what is owed.
      if (held instanceof Promise) void held.then((hold) => hold.refund());
      else return { release: () => held.release(null) };
      return { retryMs: 0 };
    } catch (error) {
      if (error instanceof LimitDenied && error.retryAfterMs !== null) return { retryMs: error.retryAfterMs };
      throw error;
    }
  };
}

function wantedFor(credential: Credential, policy: PolicySnapshot): LimitRequest[] {
  const wanted = new Map<string, LimitRequest>();
  for (const route of routesOf(policy, credential)) {
    const ids = { client: null, credential: credential.name, provider: route.provider.id, route: route.id, user: null };
    for (const spec of route.limits) {
      if (spec.budget !== null || spec.per.includes("client") || spec.per.includes("user")) continue;
      const key = bucketKey(spec, ids);
      if (!wanted.has(key)) wanted.set(key, { spec: { ...spec, waitMs: 0 }, key });
    }
  }
  return [...wanted.values()];
}
