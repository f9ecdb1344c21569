import type { PolicySnapshot, Route } from "../../../policy/compile.ts";
import { authorityKey } from "../../../policy/host.ts";
import type { Credential } from "../../../store/credentials.ts";
import { isHoneytoken } from "../../../store/honeytoken.ts";
import { boundTo } from "../../pipeline/choose.ts";
import type { Outcome } from "../../pipeline/exchange.ts";
import type { Finding } from "../../pipeline/tripwire.ts";
import type { VaultView } from "../../vault-view.ts";
import type { AlertBook } from "../alerts.ts";
import { currentVersion } from "../health.ts";
import { type Attempt, attemptOf } from "./attempt.ts";
import { BreakerWatch, type BrokenPlace } from "./breaker-watch.ts";
import { Budgets, type BudgetUse, type UsedPercent } from "./budgets.ts";
import { type Pool, Pools } from "./pools.ts";
import { ProviderTrouble } from "./provider-trouble.ts";
import { Quotas } from "./quotas.ts";
import { Sightings } from "./sightings.ts";
import { UnknownHosts } from "./unknown-hosts.ts";
import { type UnpricedCall, UnpricedCalls } from "./unpriced.ts";

/** How often it is looked which credentials of the pools can be used. */
const POOLS_MS = 5_000;

/** Whether a version could be used for a request to this `host:port` now. */
export type Ready = (credential: Credential, version: number, authority: string, nowMs: number) => boolean;

/** What is only known where requests are handled. */
export interface WatchSources {
  readonly ready: Ready;
  readonly usedPercent: UsedPercent;
  /** The `host:port`s to which requests are held back, because they keep failing. */
  readonly broken: () => Iterable<string>;
}

export interface WatchDeps extends WatchSources {
  readonly alerts: AlertBook;
  readonly view: Pick<VaultView, "byName" | "ownedBy" | "anySealed">;
  readonly vaultSealed: () => boolean;
  readonly policy: () => PolicySnapshot;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Looks at traffic for what somebody should know of, and opens and closes its alerts. Bounded in memory. */
export interface Watch {
  /** Every exchange, once. On the request path. */
  outcome(outcome: Outcome): void;
  /** A try that was not the last one of its exchange. On the request path. */
  attempt(attempt: Attempt): void;
  budget(use: BudgetUse): void;
  unpriced(call: UnpricedCall): void;
  /** What the tripwire found. */
  found(finding: Finding, atMs: number): void;
  /** From now on asks these instead. */
  connect(sources: Partial<WatchSources>): void;
  /** To be called every second. */
  look(): void;
  /** Things that are kept in memory. */
  readonly size: number;
}

export function createWatch(deps: WatchDeps): Watch {
  const { alerts, view, now } = deps;
  const sources: { -readonly [name in keyof WatchSources]: WatchSources[name] } = {
    ready: deps.ready,
    usedPercent: deps.usedPercent,
    broken: deps.broken,
  };
  const trouble = new ProviderTrouble(alerts, now());
  const breakers = new BreakerWatch(trouble);
  const quotas = new Quotas(alerts, (name) => view.byName(name)?.state === "enabled");
  const pools = new Pools(alerts, now());
  const budgets = new Budgets(alerts, (counter) => sources.usedPercent(counter));
  const unpriced = new UnpricedCalls(alerts);
  const hosts = new UnknownHosts(alerts);
  const sightings = new Sightings(alerts);
  let pooledAt = Number.NEGATIVE_INFINITY;
  const attempt = (tried: Attempt): void => {
    trouble.seen(tried);
    quotas.seen(tried);
  };
  return {
    attempt,
    outcome(outcome) {
      const tried = attemptOf(outcome);
      if (tried !== null) attempt(tried);
      if (outcome.outcome === "ok") return;
      const { client, host, reason, atMs } = outcome;
      if (reason === "host_not_in_policy" && client !== null) hosts.seen(client, host, atMs);
      if (outcome.outcome !== "no_usable_credential") return;
      const bait = baitOf(outcome, deps);
      if (bait !== null) sightings.honeytoken({ credential: bait, client, route: outcome.route ?? "", atMs });
    },
    budget: (use) => budgets.passed(use, now()),
    unpriced: (call) => unpriced.seen(call),
    found: (finding, atMs) => sightings.found(finding, atMs),
    connect: (added) => void Object.assign(sources, added),
    look() {
      const nowMs = now();
      breakers.look(placesOf(sources.broken(), deps.policy()), nowMs);
      trouble.look(nowMs);
      budgets.look(nowMs);
      hosts.look(nowMs);
      // While it is sealed nothing can be used, and nothing is known of what could be.
      if (deps.vaultSealed() || view.anySealed) return;
      quotas.look();
      if (Math.abs(nowMs - pooledAt) < POOLS_MS) return;
      pooledAt = nowMs;
      pools.look(poolsOf(deps, sources.ready, nowMs), nowMs);
    },
    get size() {
      return trouble.size + quotas.size + pools.size + budgets.size + unpriced.size + hosts.size;
    },
  };
}

function placesOf(authorities: Iterable<string>, policy: PolicySnapshot): BrokenPlace[] {
  return [...authorities].flatMap((authority) => {
    const [route] = policy.byAuthority.get(authority) ?? [];
    const host = authority.slice(0, authority.lastIndexOf(":"));
    return route === undefined ? [] : [{ provider: route.provider.id, host }];
  });
}

function poolsOf({ policy, view }: WatchDeps, ready: Ready, nowMs: number): Pool[] {
  return policy().routes.flatMap((route): Pool[] => {
    const names = namesOf(route);
    if (names.size < 2) return [];
    const usable = [...names].filter((name) => isUsable(view.byName(name), route, ready, nowMs)).length;
    return [{ route: route.id, members: names.size, usable }];
  });
}

function namesOf({ credentials }: Route): Set<string> {
  const names = new Set(credentials.use.map(({ name }) => name));
  if (credentials.else !== null) names.add(credentials.else);
  return names;
}

function isUsable(credential: Credential | undefined, route: Route, ready: Ready, nowMs: number): boolean {
  if (credential?.state !== "enabled") return false;
  if (credential.expiresAt !== null && credential.expiresAt <= nowMs) return false;
  const version = currentVersion(credential);
  return (
    version !== null &&
    route.hosts.some(({ host, port }) => {
      const authority = authorityKey(host, port);
      return boundTo(credential, authority) && ready(credential, version, authority, nowMs);
    })
  );
}

/** The honeytoken that the request would have got; null for none. */
function baitOf({ route: id, user }: Outcome, { policy, view }: WatchDeps): string | null {
  const route = id === null ? undefined : policy().routesById.get(id);
  if (route === undefined) return null;
  const owned = route.credentials.owner === "user" && user !== null ? view.ownedBy(route.provider.id, user) : undefined;
  const candidates = owned ? [owned] : [...namesOf(route)].map((name) => view.byName(name));
  return candidates.find((credential) => credential !== undefined && isHoneytoken(credential))?.name ?? null;
}
