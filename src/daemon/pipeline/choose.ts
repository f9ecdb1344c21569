import type { Route } from "../../policy/compile.ts";
import type { Credential } from "../../store/credentials.ts";
import type { AccessToken } from "./access-token.ts";
import { noneReady, type Standing } from "./choose-denied.ts";
import type { Identity } from "./exchange.ts";
import type { Readiness, VersionUse } from "./pool-health.ts";
import { bucketOf, type Ramp } from "./ramp.ts";
import { type Turns, takeTurn } from "./turns.ts";

/** The credential version that one exchange uses. */
export interface Choice {
  readonly credential: Credential;
  readonly version: number;
  /** What the version's fields were exchanged for, where the provider takes an access token. */
  readonly token?: AccessToken;
}

/** What the daemon knows of the vault's credentials without opening any. */
export interface CredentialTable {
  byName(name: string): Credential | undefined;
  ownedBy(provider: string, userId: string): Credential | undefined;
  /** False while the category is sealed. */
  isOpen(category: string): boolean;
  /** By credential id: whose traffic is moving to a new version. Usually empty. */
  readonly ramps: ReadonlyMap<string, Ramp>;
}

/** Whether a version may be used now. */
export interface VersionHealth {
  ready(use: VersionUse, nowMs: number): Readiness;
}

export interface ChooseOptions {
  /** What this exchange has used, by `triedKey`. */
  readonly tried?: ReadonlySet<string>;
  /** A version that its provider's own limit frees within this time may be chosen: the caller waits for it. */
  readonly patienceMs?: number;
}

export interface Chooser {
  /**
   * @param authority `host:port` the request goes to; a credential not bound to it is never chosen
   * @param nowMs of this try, not of the request's arrival
   * @returns null for routes that need no credential
   * @throws ProxyError that says which credentials are not ready, why, and until when
   */
  choose(route: Route, identity: Identity, authority: string, nowMs: number, options?: ChooseOptions): Choice | null;
  /** Whether there is another one than these that is well. Takes no turn. */
  hasOther(route: Route, identity: Identity, authority: string, nowMs: number, tried: ReadonlySet<string>): boolean;
}

/** How an exchange remembers what it has used. */
export function triedKey({ credential, version }: Pick<Choice, "credential" | "version">): string {
  return `${credential.name}\n${version}`;
}

interface Wanted {
  readonly route: Route;
  readonly identity: Identity;
  readonly authority: string;
  readonly nowMs: number;
  readonly tried: ReadonlySet<string>;
}

/** A credential of the route, the version of it that would be used, and how that stands. */
interface Candidate {
  readonly name: string;
  readonly weight: number;
  readonly choice: Choice | null;
  readonly standing: Standing;
}

const NOTHING: ReadonlySet<string> = new Set();

/** Whose turn it is is kept per route of a policy snapshot and forgotten with it. */
export function createChooser(table: CredentialTable, health: VersionHealth): Chooser {
  const turns = new WeakMap<Route, Turns>();
  return {
    choose(route, identity, authority, nowMs, { tried = NOTHING, patienceMs = 0 } = {}) {
      if (needsNone(route))
        return withoutCredential(route, { ...KEYLESS, authority, client: identity.client }, nowMs, health);
      const candidates = candidatesFor({ route, identity, authority, nowMs, tried }, table, health);
      const usable =
        well(candidates, tried.size > 0) ??
        soonest(candidates, nowMs + patienceMs) ??
        nonEmpty(candidates.filter(({ standing }) => standing === "suspect"));
      if (usable === null) {
        const owned = ownCredential(route, identity, table) !== undefined;
        throw noneReady(route, owned ? identity.user : null, candidates, nowMs);
      }
      if (route.credentials.choose === "failover" || usable.length === 1) return usable[0].choice;
      const turn = turns.get(route) ?? new Map();
      turns.set(route, turn);
      return takeTurn(turn, usable).choice;
    },
    hasOther(route, identity, authority, nowMs, tried) {
      if (needsNone(route)) return false;
      return well(candidatesFor({ route, identity, authority, nowMs, tried }, table, health), true) !== null;
    },
  };
}

const KEYLESS = { credentialId: "", version: 0 };

function needsNone(route: Route): boolean {
  return route.provider.auth.every((rule) => rule.scheme === "none");
}

/** Whether its provider answers at all is known of a route without a credential too. */
function withoutCredential(route: Route, use: VersionUse, nowMs: number, health: VersionHealth): null {
  const standing = health.ready(use, nowMs);
  if (typeof standing === "object") throw noneReady(route, null, [{ name: null, standing }], nowMs);
  return null;
}

function candidatesFor(wanted: Wanted, table: CredentialTable, health: VersionHealth): Candidate[] {
  const { route, identity } = wanted;
  const { use, choose, else: other } = route.credentials;
  const weighted = choose === "weighted";
  const candidate = (name: string, weight: number, credential: Credential | undefined): Candidate => {
    return { name, weight: weighted ? weight : 1, ...inVersion(credential, wanted, table, health) };
  };
  const owned = ownCredential(route, identity, table);
  // Another's key must not stand in for one that the user had taken away.
  if (owned) return [candidate(owned.name, 1, owned)];
  const candidates = use.map(({ name, weight }) => candidate(name, weight, table.byName(name)));
  if (other !== null) candidates.push(candidate(other, 1, table.byName(other)));
  return candidates;
}

function ownCredential(route: Route, identity: Identity, table: CredentialTable): Credential | undefined {
  if (route.credentials.owner !== "user" || identity.user === null) return undefined;
  return table.ownedBy(route.provider.id, identity.user);
}

/**
 * The current version, or the one that takes over when this client's turn has come. A new version that is not well
 * leaves its clients on the current one, and a current one that was tried moves this exchange to the new one.
 */
function inVersion(
  credential: Credential | undefined,
  { identity, authority, nowMs, tried }: Wanted,
  table: CredentialTable,
  health: VersionHealth,
): Pick<Candidate, "choice" | "standing"> {
  if (credential === undefined) return { choice: null, standing: "absent" };
  if (!table.isOpen(credential.category)) return { choice: null, standing: { sealed: credential.category } };
  if (!isUsable(credential, authority, nowMs)) return { choice: null, standing: "unusable" };
  let best: Pick<Candidate, "choice" | "standing"> = { choice: null, standing: "unusable" };
  for (const version of versionsFor(credential, identity, table.ramps)) {
    const choice = { credential, version };
    const use = { credentialId: credential.id, version, authority, client: identity.client };
    const standing = tried.has(triedKey(choice)) ? "tried" : health.ready(use, nowMs);
    if (standing === "ready") return { choice, standing };
    if (best.choice === null || rank(standing) < rank(best.standing)) best = { choice, standing };
  }
  return best;
}

/** In the order in which they suit this client; at most two. */
function versionsFor(credential: Credential, identity: Identity, ramps: CredentialTable["ramps"]): number[] {
  const versions = credential.versions.flatMap(({ stage, number }) => (stage === "current" ? [number] : []));
  const ramp = ramps.size === 0 ? undefined : ramps.get(credential.id);
  if (ramp !== undefined && bucketOf(credential.id, identity) < ramp.percent) versions.unshift(ramp.to);
  return versions;
}

function rank(standing: Standing): number {
  if (standing === "ready" || standing === "probe") return 0;
  if (standing === "suspect") return 1;
  return typeof standing === "object" ? 2 : 3;
}

function isUsable(credential: Credential, authority: string, nowMs: number): boolean {
  if (credential.state !== "enabled") return false;
  if (credential.expiresAt !== null && credential.expiresAt <= nowMs) return false;
  return boundTo(credential, authority);
}

/** A stored host without a port means 443. */
export function boundTo(credential: Credential, authority: string): boolean {
  return credential.hosts.some((host) => host === authority || `${host}:443` === authority);
}

type Some<T> = readonly [T, ...T[]];

function nonEmpty<T>(list: readonly T[]): Some<T> | null {
  const [first, ...others] = list;
  return first === undefined ? null : [first, ...others];
}

/** @param again a request that has failed once is not the one to find out whether another version is well again */
function well(candidates: readonly Candidate[], again: boolean): Some<Candidate> | null {
  const sure = again ? nonEmpty(candidates.filter(({ standing }) => standing === "ready")) : null;
  return sure ?? nonEmpty(candidates.filter(({ standing }) => standing === "ready" || standing === "probe"));
}

/** The one that its provider's own limit frees first, when that is before `untilMs`. */
function soonest(candidates: readonly Candidate[], untilMs: number): Some<Candidate> | null {
  let first: Candidate | null = null;
  let firstMs = untilMs;
  for (const candidate of candidates) {
    const { standing } = candidate;
    if (typeof standing !== "object" || !("why" in standing) || standing.why !== "provider_limit") continue;
    if (standing.untilMs > firstMs) continue;
    firstMs = standing.untilMs;
    first = candidate;
  }
  return first === null ? null : [first];
}
