import type { Glob } from "../providers/glob.ts";
import type { HostPattern, Provider } from "../providers/schema.ts";
import type { YamlPath } from "../providers/yaml-document.ts";
import type { Cidr } from "./address.ts";
import { type Ambiguity, findAmbiguities } from "./ambiguity.ts";
import type { CalendarUnit } from "./amount.ts";
import { compileClients } from "./compile-client.ts";
import { compileRoute, type ProviderSource, type Report } from "./compile-route.ts";
import { frozenList, frozenMap, frozenSet } from "./freeze.ts";
import { authorityKey } from "./host.ts";
import type { PolicyDocument } from "./parse.ts";
import { MAX_PROBLEMS, PolicyError, type PolicyProblem } from "./problem.ts";
import { checkSharedCounters } from "./shared-counters.ts";

/** What a limit may be counted by. */
export type LimitScope = "client" | "credential" | "provider" | "route" | "user";

/** One limit of a route, with its units resolved. */
export interface LimitSpec {
  readonly name: string;
  readonly kind: "requests" | "concurrent" | "tokens" | "usd";
  /** In the order client, credential, provider, route, user, whatever the file says. */
  readonly per: readonly LimitScope[];
  /** Per period: grants (`requests`), tokens, or nano-dollars (`usd`). Or grants held at once (`concurrent`). */
  readonly count: number;
  /** 0 for `concurrent`; the longest length of a calendar period. */
  readonly periodMs: number;
  /** Grants that may follow each other without a pause, 1 to `count`; `count` for all kinds but `requests`. */
  readonly burst: number;
  /** How long a request may queue for this limit before it is denied. */
  readonly waitMs: number;
  /** `shadow`: counted and reported, never denied. */
  readonly mode: "enforce" | "shadow";
  /** Only for `tokens` and `usd`. */
  readonly budget: BudgetSpec | null;
}

/** How tokens or dollars are budgeted. */
export interface BudgetSpec {
  /** Null: the window slides. */
  readonly calendar: { readonly unit: CalendarUnit; readonly zone: string } | null;
  /** Only calls whose most expensive course fits are let through, so that it is never exceeded at all. */
  readonly strict: boolean;
  /** What to do with a call that has no price; `allow` for tokens. */
  readonly unpriced: "allow" | "deny";
  /** Per cents at which somebody is told, ascending. */
  readonly warn: readonly number[];
}

/** When a request is tried again. */
export interface RetrySpec {
  /** Tries in all, at least 1. */
  readonly attempts: number;
  readonly on: ReadonlySet<RetryReason>;
  /** Within this time after the request's arrival another try may begin. */
  readonly withinMs: number;
}

/**
 * `connect`: no connection, or it broke before an answer. `refused`: the provider did not take the key. `limited`: 429.
 * `unavailable`: the provider failed (5xx).
 */
export type RetryReason = "connect" | "refused" | "limited" | "unavailable";

/** What happens to answers of a route. */
export interface ResponseSpec {
  /** Whether the key is searched for. */
  readonly scrub: boolean;
  readonly setCookie: "strip" | "pass";
  readonly authenticate: "strip" | "pass";
  /** Tokens that the provider mints in an answer (OAuth, key endpoints). */
  readonly tokens: "strip" | "pass";
  /** Whether answers carry `RateLimit` and `RateLimit-Policy`. */
  readonly rateLimit: boolean;
}

/** One `allow` entry; null means any. */
export interface AllowRule {
  readonly methods: ReadonlySet<string> | null;
  readonly paths: readonly Glob[] | null;
}

export interface WeightedCredential {
  readonly name: string;
  readonly weight: number;
}

export interface RouteCredentials {
  readonly use: readonly WeightedCredential[];
  readonly choose: "failover" | "weighted" | "round-robin";
  /** `user`: the credential that belongs to the user the client acts for. */
  readonly owner: "user" | null;
  /** Credential to use when that user has none. */
  readonly else: string | null;
}

export interface Route {
  readonly id: string;
  readonly provider: Provider;
  readonly environment: string;
  /** Exact names, never wildcards. */
  readonly hosts: readonly HostPattern[];
  readonly credentials: RouteCredentials;
  readonly clients: ReadonlySet<string>;
  /** Empty = every method and path. */
  readonly allow: readonly AllowRule[];
  readonly limits: readonly LimitSpec[];
  readonly response: ResponseSpec;
  /** Null: never tried again. */
  readonly retry: RetrySpec | null;
  /** Whether requests are slowed down before the provider's own limits are reached. */
  readonly pace: boolean;
  /** Whether the provider is asked for usage that it would not report by itself. */
  readonly askUsage: boolean;
  readonly timeouts: { readonly connectMs: number; readonly headersMs: number; readonly idleMs: number };
  /** Non-public ranges that this route may dial. */
  readonly private: readonly Cidr[];
  readonly upstream: "https" | "http";
  readonly keepAlive: boolean;
}

export interface PolicyClient {
  readonly name: string;
  /** Known by a token. */
  readonly token: boolean;
  /** Addresses it must come from; empty = any. */
  readonly from: readonly Cidr[];
  /** Addresses that are believed without a token. */
  readonly trust: readonly Cidr[];
  /** `users`: may name the user whose own credential is used. */
  readonly actsFor: "users" | null;
}

/** The compiled policy. Frozen; an exchange holds on to the one it began with (guarantee G10). */
export interface PolicySnapshot {
  readonly revision: string;
  readonly unmatched: "deny" | "tunnel";
  readonly clients: ReadonlyMap<string, PolicyClient>;
  readonly routes: readonly Route[];
  readonly routesById: ReadonlyMap<string, Route>;
  /** Canonical names of all hosts that any route names. */
  readonly interceptHosts: ReadonlySet<string>;
  /** Key: `authorityKey(host, port)`. */
  readonly byAuthority: ReadonlyMap<string, readonly Route[]>;
}

/** The vault's objects that a policy refers to, as far as they exist now. */
export interface KnownObjects {
  readonly credentials: ReadonlyMap<string, { readonly provider: string; readonly environment: string }>;
  /** Clients that have a token. */
  readonly clients: ReadonlySet<string>;
}

/**
 * Turns a parsed policy into the snapshot that decisions are made with.
 * @param known what the vault holds; what is missing there is a warning, because a policy may come before its keys
 * @param revision hash of everything that the snapshot was made from
 * @throws PolicyError with the problems (50 at most) that keep the policy from taking effect
 */
export function compilePolicy(
  document: PolicyDocument,
  catalog: ProviderSource,
  known: KnownObjects,
  revision: string,
): { snapshot: PolicySnapshot; warnings: readonly PolicyProblem[] } {
  const errors: PolicyProblem[] = [];
  const warnings: PolicyProblem[] = [];
  const report: Report = {
    error: (path, message) => note(errors, document, path, message),
    warning: (path, message) => note(warnings, document, path, message),
  };
  const clients = compileClients(document.content, known, report);
  const routes = Object.entries(document.content.routes).flatMap(([id, file]) => {
    return compileRoute(id, file, { catalog, known, clients, report }) ?? [];
  });
  const byAuthority = groupByAuthority(routes);
  checkAmbiguities(byAuthority, report);
  checkSharedCounters(routes, report);
  if (errors.length > 0) throw new PolicyError(document.file, errors);
  const snapshot: PolicySnapshot = Object.freeze({
    revision,
    unmatched: document.content.unmatched ?? "deny",
    clients,
    routes: frozenList(routes),
    routesById: frozenMap(routes.map((route) => [route.id, route] as const)),
    interceptHosts: frozenSet(routes.flatMap((route) => route.hosts.map(({ host }) => host))),
    byAuthority: frozenMap([...byAuthority].map(([key, group]) => [key, frozenList(group)] as const)),
  });
  return { snapshot, warnings: frozenList(warnings) };
}

/** Each pair of routes is reported for the first authority that they share. */
function checkAmbiguities(byAuthority: ReadonlyMap<string, readonly Route[]>, report: Report): void {
  const reported = new Set<string>();
  for (const [authority, group] of byAuthority) {
    for (const pair of findAmbiguities(group)) {
      const key = `${pair.first.id} ${pair.second.id}`;
      if (!reported.has(key)) report.error(["routes", pair.second.id], ambiguityText(authority, pair));
      reported.add(key);
    }
  }
}

function note(problems: PolicyProblem[], document: PolicyDocument, path: YamlPath, message: string): void {
  if (problems.length < MAX_PROBLEMS) problems.push(document.problemAt(path, message));
}

function groupByAuthority(routes: readonly Route[]): Map<string, Route[]> {
  const groups = new Map<string, Route[]>();
  for (const route of routes) {
    for (const { host, port } of route.hosts) {
      const key = authorityKey(host, port);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [route]);
      else group.push(route);
    }
  }
  return groups;
}

function ambiguityText(authority: string, { first, second, patterns, client }: Ambiguity): string {
  return (
    `matches ${authority}${patterns[1]} for client ${client} as well as route ${first.id} does (${patterns[0]}); ` +
    `give ${second.id} or ${first.id} narrower paths, other methods or other clients`
  );
}
