import type { Route } from "../../policy/compile.ts";
import type { Credential } from "../../store/credentials.ts";
import type { AccessToken } from "./access-token.ts";
import { ProxyError } from "./errors.ts";
import type { Identity } from "./exchange.ts";

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
}

export interface Chooser {
  /**
   * @param authority `host:port` the request goes to; a credential not bound to it is never chosen
   * @returns null for routes that need no credential
   * @throws ProxyError no_usable_credential
   */
  choose(route: Route, identity: Identity, authority: string, nowMs: number): Choice | null;
}

/** Rotation state (whose turn it is) is kept per route and forgotten with the chooser. */
export function createChooser(table: CredentialTable): Chooser {
  const turns = new Map<string, number>();
  return {
    choose(route, identity, authority, nowMs) {
      if (route.provider.auth.every((rule) => rule.scheme === "none")) return null;
      const usable = (credential: Credential | undefined) => usableVersion(credential, authority, nowMs);
      const owned = ownCredential(route, identity, table);
      if (owned) return usable(owned) ?? fail(route, `no credential of user ${identity.user ?? ""}`);
      for (const name of ordered(route, turns)) {
        const choice = usable(table.byName(name));
        if (choice) return choice;
      }
      return fail(route, `none of its credentials (${names(route).join(", ")})`);
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

function usableVersion(credential: Credential | undefined, authority: string, nowMs: number): Choice | null {
  if (credential?.state !== "enabled") return null;
  if (credential.expiresAt !== null && credential.expiresAt <= nowMs) return null;
  if (!boundTo(credential, authority)) return null;
  const current = credential.versions.find((version) => version.stage === "current");
  return current ? { credential, version: current.number } : null;
}

/** A stored host without a port means 443. */
export function boundTo(credential: Credential, authority: string): boolean {
  return credential.hosts.some((host) => host === authority || `${host}:443` === authority);
}

function fail(route: Route, which: string): never {
  throw new ProxyError(
    "no_usable_credential",
    `route ${route.id}: ${which} exists, is enabled, unexpired and bound to this host; see \`sidekey credential list\`, add one with \`sidekey credential add ${route.provider.id}\``,
    { route: route.id },
  );
}
