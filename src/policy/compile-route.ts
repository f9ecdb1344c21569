import { compileGlob } from "../providers/glob.ts";
import type { HostPattern, Provider } from "../providers/schema.ts";
import type { YamlPath } from "../providers/yaml-document.ts";
import { parseCidr } from "./address.ts";
import type {
  AllowRule,
  KnownObjects,
  PolicyClient,
  ResponseSpec,
  RetryReason,
  RetrySpec,
  Route,
  RouteCredentials,
} from "./compile.ts";
import { compileCredentials } from "./compile-credentials.ts";
import { compileLimit } from "./compile-limit.ts";
import { parseDuration } from "./duration.ts";
import { frozenList, frozenSet } from "./freeze.ts";
import { parseAuthority } from "./host.ts";
import type { RouteFile } from "./schema.ts";

/** Takes problems while compiling goes on, so that one load reports all of them. */
export interface Report {
  error(path: YamlPath, message: string): void;
  warning(path: YamlPath, message: string): void;
}

/** What is needed of the provider catalog. */
export interface ProviderSource {
  readonly providers: ReadonlyMap<string, Provider>;
}

export interface RouteContext {
  readonly catalog: ProviderSource;
  readonly known: KnownObjects;
  readonly clients: ReadonlyMap<string, PolicyClient>;
  readonly report: Report;
}

/** Compiles one route; null when its provider or environment does not exist, so that nothing else can be said. */
export function compileRoute(id: string, file: RouteFile, context: RouteContext): Route | null {
  const { catalog, report } = context;
  const at = ["routes", id];
  const provider = catalog.providers.get(file.provider);
  if (provider === undefined) {
    report.error([...at, "provider"], `unknown provider "${file.provider}"; see: sidekey provider list`);
    return null;
  }
  if (id !== provider.id && catalog.providers.has(id)) {
    report.error(at, `is the name of another provider, so base URLs would mislead; rename it to ${provider.id}-${id}`);
  }
  const environment = file.environment ?? provider.environments.keys().next().value ?? "";
  const offered = provider.environments.get(environment)?.hosts;
  if (offered === undefined) {
    const names = [...provider.environments.keys()].join(", ");
    report.error([...at, "environment"], `${provider.id} has no environment "${environment}"; write one of ${names}`);
    return null;
  }
  checkClients(file, at, context);
  const credentials = compileCredentials(file, { at, provider, environment }, context);
  const retry = compileRetry(file.retry);
  checkRetry(retry, credentials, at, report);
  return Object.freeze({
    id,
    provider,
    environment,
    hosts: compileHosts(file, offered, { at, provider, environment, report }),
    credentials,
    clients: frozenSet(file.clients),
    allow: frozenList((file.allow ?? []).map(compileAllow)),
    limits: frozenList((file.limits ?? []).map(compileLimit)),
    response: compileResponse(file.response ?? {}),
    retry,
    pace: file.pace === "on",
    askUsage: file.usage?.ask !== "off",
    timeouts: Object.freeze({
      connectMs: parseDuration(file.timeouts?.connect ?? "5s"),
      headersMs: parseDuration(file.timeouts?.headers ?? "300s"),
      idleMs: parseDuration(file.timeouts?.idle ?? "300s"),
    }),
    private: frozenList((file.private ?? []).map(parseCidr)),
    upstream: file.upstream ?? "https",
    keepAlive: file.keepAlive ?? true,
  });
}

function checkClients(file: RouteFile, at: YamlPath, { clients, report }: RouteContext): void {
  for (const [index, name] of file.clients.entries()) {
    if (clients.has(name)) continue;
    report.error(
      [...at, "clients", index],
      `unknown client "${name}"; add it under clients, such as ${name}: { token: true }`,
    );
  }
}

interface HostContext {
  readonly at: YamlPath;
  readonly provider: Provider;
  readonly environment: string;
  readonly report: Report;
}

function compileHosts(file: RouteFile, offered: readonly HostPattern[], context: HostContext): readonly HostPattern[] {
  const { at, provider, environment, report } = context;
  if (file.hosts === undefined) {
    const open = offered.find(({ wildcard }) => wildcard);
    if (open !== undefined) {
      report.error(
        at,
        `${provider.id} answers on ${open.host}; name the exact ones, such as hosts: [${open.host.replace("*", "my")}]`,
      );
    }
    return frozenList(offered.filter(({ wildcard }) => !wildcard).map(({ host, port }) => exactHost(host, port)));
  }
  return frozenList(
    file.hosts.flatMap((text, index) => {
      const authority = parseAuthority(text, 443);
      if (!authority.ok) return [];
      const { host, port } = authority;
      if (!offered.some((pattern) => patternCovers(pattern, host, port))) {
        const names = offered.map((pattern) => hostText(pattern)).join(", ");
        report.error(
          [...at, "hosts", index],
          `"${text}" is not a host of ${provider.id} (${environment}); its hosts are ${names}`,
        );
      }
      return exactHost(host, port);
    }),
  );
}

function exactHost(host: string, port: number): HostPattern {
  return Object.freeze({ host, port, wildcard: false });
}

function hostText({ host, port }: HostPattern): string {
  return port === 443 ? host : `${host}:${port}`;
}

/** `*.suffix` covers exactly one more label, never the suffix itself. */
function patternCovers(pattern: HostPattern, host: string, port: number): boolean {
  if (pattern.port !== port) return false;
  if (!pattern.wildcard) return pattern.host === host;
  const suffix = pattern.host.slice(1);
  const label = host.slice(0, -suffix.length);
  return host.endsWith(suffix) && label !== "" && !label.includes(".");
}

function compileAllow(rule: NonNullable<RouteFile["allow"]>[number]): AllowRule {
  return Object.freeze({
    methods: rule.methods === undefined ? null : frozenSet(rule.methods),
    paths: rule.paths === undefined ? null : frozenList(rule.paths.map(compileGlob)),
  });
}

function compileResponse(file: NonNullable<RouteFile["response"]>): ResponseSpec {
  return Object.freeze({
    scrub: file.scrub !== "off",
    setCookie: file.setCookie ?? "strip",
    authenticate: file.authenticate ?? "strip",
    tokens: file.tokens ?? "strip",
    rateLimit: file.rateLimit !== "off",
  });
}

const RETRY_REASONS: readonly RetryReason[] = ["connect", "refused", "limited", "unavailable"];

function compileRetry(file: RouteFile["retry"]): RetrySpec | null {
  if (file === undefined) return null;
  return Object.freeze({
    attempts: file.attempts ?? 2,
    on: frozenSet(file.on ?? RETRY_REASONS),
    withinMs: parseDuration(file.within ?? "10s"),
  });
}

/** These want another key; with one key they can only be written by mistake. */
const NEEDS_ANOTHER: ReadonlySet<RetryReason> = new Set(["refused", "limited"]);

function checkRetry(retry: RetrySpec | null, { use, owner }: RouteCredentials, at: YamlPath, report: Report): void {
  const alone = owner === "user" || use.length < 2;
  if (retry === null || !alone || [...retry.on].some((reason) => !NEEDS_ANOTHER.has(reason))) return;
  const whose = owner === "user" ? "a user has only one" : "there is none";
  report.warning(
    [...at, "retry", "on"],
    `refused and limited are tried again with another credential, and ${whose}; name a second one under credentials, or remove retry`,
  );
}
