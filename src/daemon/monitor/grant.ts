import type { PolicySnapshot, Route } from "../../policy/compile.ts";
import { bucketKey, type LimitRequest } from "../../policy/limit.ts";
import type { Credential } from "../../store/credentials.ts";
import { LimitDenied } from "../pipeline/limit-denied.ts";
import type { Limiter } from "../pipeline/limiter.ts";
import type { TakeGrant } from "./scheduler.ts";

const NOBODY_LEAVES = new AbortController().signal;

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
 * client's request comes first. Limits per client or user are theirs, not the provider's, and are left alone.
 */
export function createGrants(limiter: Pick<Limiter, "reserve">, policy: () => PolicySnapshot): TakeGrant {
  return (credential) => {
    try {
      const held = limiter.reserve(wantedFor(credential, policy()), () => NOBODY_LEAVES);
      // Without a wait in any limit it is never a promise; if it were, letting go of it is what is owed.
      if (held instanceof Promise) void held.then((hold) => hold.refund());
      else return { release: () => held.release() };
      return { retryMs: 0 };
    } catch (error) {
      if (error instanceof LimitDenied) return { retryMs: error.retryAfterMs };
      throw error;
    }
  };
}

function wantedFor(credential: Credential, policy: PolicySnapshot): LimitRequest[] {
  const wanted = new Map<string, LimitRequest>();
  for (const route of routesOf(policy, credential)) {
    const ids = { client: null, credential: credential.name, provider: route.provider.id, route: route.id, user: null };
    for (const spec of route.limits) {
      if (spec.per.includes("client") || spec.per.includes("user")) continue;
      const key = bucketKey(spec, ids);
      if (!wanted.has(key)) wanted.set(key, { spec: { ...spec, waitMs: 0 }, key });
    }
  }
  return [...wanted.values()];
}
