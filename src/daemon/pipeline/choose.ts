import type { Route } from "../../policy/compile.ts";
import type { Credential } from "../../store/credentials.ts";
import type { AccessToken } from "./access-token.ts";
import { ProxyError, vaultSealed } from "./errors.ts";
import type { Identity } from "./exchange.ts";
import { bucketOf, type Ramp } from "./ramp.ts";

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

export interface Chooser {
  /**
   * @param authority `host:port` the request goes to; a credential not bound to it is never chosen
   * @returns null for routes that need no credential
   * @throws ProxyError no_usable_credential
   */
  choose(route: Route, identity: Identity, authority: string, nowMs: number): Choice | null;
}

/** Whether a version may be used: false once its provider has refused it. Asked for every request. */
export type Usable = (credentialId: string, version: number) => boolean;

/** Rotation state (whose turn it is) is kept per route and forgotten with the chooser. */
export function createChooser(table: CredentialTable, healthy: Usable = () => true): Chooser {
  const turns = new Map<string, number>();
  return {
    choose(route, identity, authority, nowMs) {
      if (route.provider.auth.every((rule) => rule.scheme === "none")) return null;
      const usable = (credential: Credential | undefined) =>
        credential && table.isOpen(credential.category) && isUsable(credential, authority, nowMs)
          ? inVersion(credential, identity, table.ramps, healthy)
          : null;
      const owned = ownCredential(route, identity, table);
      if (owned) return usable(owned) ?? fail(route, `no credential of user ${identity.user ?? ""}`, [owned], table);
      for (const name of ordered(route, turns)) {
        const choice = usable(table.byName(name));
        if (choice) return choice;
      }
      const tried = names(route).map((name) => table.byName(name));
      return fail(route, `none of its credentials (${names(route).join(", ")})`, tried, table);
    },
  };
}

function ownCredential(route: Route, identity: Identity, table: CredentialTable): Credential | undefined {
  if (route.credentials.owner !== "user" || identity.user === null) return undefined;
  return table.ownedBy(route.provider.id, identity.user);
}

function names(route: Route): string[] {
  const listed = route.credentials.use.map((ref) => ref.name);
  return route.credentials.else === null ? listed : [...listed, route.credentials.else];
}

/** The order to try them in; only the first usable one is used. */
function ordered(route: Route, turns: Map<string, number>): string[] {
  const all = names(route);
  if (route.credentials.choose === "failover" || all.length < 2) return all;
  const slots =
    route.credentials.choose === "round-robin"
      ? all
      : route.credentials.use.flatMap((ref) => new Array<string>(ref.weight).fill(ref.name));
  const turn = turns.get(route.id) ?? 0;
  turns.set(route.id, (turn + 1) % slots.length);
  const first = slots[turn % slots.length] ?? "";
  return [first, ...all.filter((name) => name !== first)];
}

function isUsable(credential: Credential, authority: string, nowMs: number): boolean {
  if (credential.state !== "enabled") return false;
  if (credential.expiresAt !== null && credential.expiresAt <= nowMs) return false;
  return boundTo(credential, authority);
}

/**
 * The current version, or the one that takes over when this client's turn has come. A new version that the provider
 * has refused leaves its clients on the current one.
 */
function inVersion(
  credential: Credential,
  identity: Identity,
  ramps: CredentialTable["ramps"],
  healthy: Usable,
): Choice | null {
  const { id } = credential;
  const ramp = ramps.size === 0 ? undefined : ramps.get(id);
  if (ramp !== undefined && bucketOf(id, identity) < ramp.percent && healthy(id, ramp.to)) {
    return { credential, version: ramp.to };
  }
  const current = credential.versions.find((version) => version.stage === "current");
  return current && healthy(id, current.number) ? { credential, version: current.number } : null;
}

/** A stored host without a port means 443. */
export function boundTo(credential: Credential, authority: string): boolean {
  return credential.hosts.some((host) => host === authority || `${host}:443` === authority);
}

function fail(
  route: Route,
  which: string,
  tried: readonly (Credential | undefined)[],
  table: Pick<CredentialTable, "isOpen">,
): never {
  const sealed = tried.find((credential) => credential !== undefined && !table.isOpen(credential.category));
  if (sealed !== undefined) throw vaultSealed(sealed.category, route.id);
  throw new ProxyError(
    "no_usable_credential",
    `route ${route.id}: ${which} exists, is enabled, unexpired, bound to this host and accepted by its provider; see \`sidekey credential list\`, add one with \`sidekey credential add ${route.provider.id}\``,
    { route: route.id },
  );
}
