import type { PolicySnapshot, Route } from "./compile.ts";
import { authorityKey } from "./host.ts";
import { readPath } from "./path-reading.ts";
import { coversPath, restrictsPaths, routeRank } from "./rank.ts";

/** One question to the policy. `host` is canonical (`canonicalHost`). */
export interface PolicyQuery {
  readonly host: string;
  readonly port: number;
  /** Raw path as sent, without the query; not looked at in phase `connect`. */
  readonly path: string;
  readonly method: string;
  /** Authenticated client; null when it has not shown who it is, which only a `connect` may do. */
  readonly client: string | null;
  /** `connect`: may a CONNECT to this authority be accepted? Its inner requests are asked about one by one. */
  readonly phase: "request" | "connect";
}

export type DenyReason =
  | "host_not_in_policy"
  | "port_not_in_policy"
  | "client_not_on_route"
  | "method_not_on_route"
  | "path_not_on_route"
  | "path_ambiguous"
  | "trace_refused";

export type DenyCode = "no_route" | "not_allowed" | "bad_request" | "method_not_allowed";

export type Decision =
  | { readonly allow: true; readonly route: Route }
  | {
      readonly allow: false;
      readonly code: DenyCode;
      readonly reason: DenyReason;
      /** The route that came nearest; null when none is in question. */
      readonly route: Route | null;
    };

/**
 * The one decision for every request form (guarantee G3). Costs one map lookup and a look at the routes of that very
 * authority, however many routes there are. Among several routes for the same client the one whose rule names the
 * request most narrowly wins; ties were refused when the policy was compiled.
 */
export function decide(policy: PolicySnapshot, query: PolicyQuery): Decision {
  // Case-insensitive: what a lenient provider takes for TRACE would send the key back.
  if (query.phase === "request" && /^trac[ek]$/i.test(query.method)) return deny("method_not_allowed", "trace_refused");
  const routes = policy.byAuthority.get(authorityKey(query.host, query.port));
  if (routes === undefined) {
    return deny("no_route", policy.interceptHosts.has(query.host) ? "port_not_in_policy" : "host_not_in_policy");
  }
  const mine = routesOf(routes, query.client);
  if (query.phase === "connect" && query.client === null) return firstOf(routes);
  if (mine.length === 0) return deny("not_allowed", "client_not_on_route", onlyOf(routes));
  return query.phase === "connect" ? firstOf(mine) : decideRequest(mine, query);
}

/** The list itself when all of it is the client's, which is the common case. */
function routesOf(routes: readonly Route[], client: string | null): readonly Route[] {
  if (client === null) return [];
  if (routes.every((route) => route.clients.has(client))) return routes;
  return routes.filter((route) => route.clients.has(client));
}

function decideRequest(routes: readonly Route[], { method, path }: PolicyQuery): Decision {
  // RFC 9112 section 3.2.4: `*` is no path; it asks about the server as a whole.
  const reading = path === "*" && method === "OPTIONS" ? "plain" : readPath(path);
  if (reading === "malformed" || reading === "dot-segments")
    return deny("bad_request", "path_ambiguous", onlyOf(routes));
  let best: { route: Route; rank: number } | null = null;
  for (const route of routes) {
    const rank = routeRank(route, method, path);
    if (rank > (best?.rank ?? -1)) best = { route, rank };
  }
  // Between routes, a path that could be read as another one could also change the route, so one restriction is enough.
  if (reading === "decodable" && routes.some(restrictsPaths)) {
    return deny("not_allowed", "path_ambiguous", best?.route ?? onlyOf(routes));
  }
  if (best !== null) return { allow: true, route: best.route };
  const covering = routes.find((route) => coversPath(route, path));
  if (covering !== undefined) return deny("not_allowed", "method_not_on_route", covering);
  return deny("not_allowed", "path_not_on_route", onlyOf(routes));
}

function deny(code: DenyCode, reason: DenyReason, route: Route | null = null): Decision {
  return { allow: false, code, reason, route };
}

function onlyOf(routes: readonly Route[]): Route | null {
  return routes.length === 1 ? (routes[0] ?? null) : null;
}

function firstOf(routes: readonly Route[]): Decision {
  const route = routes[0];
  return route === undefined ? deny("no_route", "host_not_in_policy") : { allow: true, route };
}

/**
 * Routes that the first segment of a base URL may mean, best first: the route of that id, then the routes to the
 * provider of that id. Which of them serves a request is still up to `decide`.
 */
export function routeForSegment(policy: PolicySnapshot, segment: string): readonly Route[] {
  let index = segments.get(policy);
  if (index === undefined) {
    index = indexSegments(policy);
    segments.set(policy, index);
  }
  return index.get(segment) ?? [];
}

const segments = new WeakMap<PolicySnapshot, ReadonlyMap<string, readonly Route[]>>();

/** Built once per snapshot, so that a base URL costs one lookup however many routes there are. */
function indexSegments(policy: PolicySnapshot): ReadonlyMap<string, readonly Route[]> {
  const index = new Map<string, Route[]>(policy.routes.map((route) => [route.id, [route]]));
  for (const route of policy.routes) {
    const sameProvider = index.get(route.provider.id);
    if (sameProvider === undefined) index.set(route.provider.id, [route]);
    else if (sameProvider[0] !== route) sameProvider.push(route);
  }
  return index;
}
