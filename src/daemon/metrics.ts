import { collectDefaultMetrics, Registry } from "prom-client";
import { SEVERITIES } from "../store/alerts.ts";
import { counter, gauge, type Sample } from "./metrics-exposition.ts";
import { MAX_LABEL_VALUES } from "./metrics-numbers.ts";
import { type EndedRequest, TrafficMetrics } from "./metrics-traffic.ts";

export interface CredentialGauge {
  name: string;
  state: string;
  /** Milliseconds since the epoch, or null when it does not expire. */
  expiresAt: number | null;
}

export interface LimitGauge {
  route: string;
  limit: string;
  remaining: number;
}

/** One credential's limits at its provider. */
export interface ProviderLimitGauge {
  readonly credential: string;
  /** The provider does not want to see it for now. */
  readonly held: boolean;
  /** At most one per kind, from a closed set. */
  readonly windows: readonly {
    readonly kind: string;
    readonly limit: number | null;
    readonly remaining: number | null;
  }[];
}

/** State that other parts own and that is only read when somebody scrapes. */
export interface MetricSources {
  vaultSealed: () => boolean;
  usageQueued: () => number;
  usageDropped: () => number;
  auditEntries: () => number;
  lastBackupSeconds: () => number | undefined;
  credentials: () => Iterable<CredentialGauge>;
  /** The lowest remaining count of each (route, limit) over its keys. */
  limits: () => Iterable<LimitGauge>;
  providerLimits: () => Iterable<ProviderLimitGauge>;
  /** A `host:port` for each open breaker to it. */
  broken: () => Iterable<string>;
  /** The price table in force, and whether its file on disk is refused. */
  prices: () => { readonly ok: boolean; readonly table: string };
  alertsOpen: () => Iterable<{ readonly severity: string }>;
  alertsOpened: () => ReadonlyMap<string, number>;
}

export interface Metrics {
  requestEnded(request: EndedRequest): void;
  /** `reason` is a decision reason or an error code: a closed set. */
  denied(reason: string): void;
  limitWaited(route: string, limit: string, waitMs: number): void;
  /** A request is sent once more; `reason` is one of the policy's reasons to. */
  retried(route: string, reason: string): void;
  /** A request was refused because there is too much to do; `reason` is a closed set. */
  overloaded(reason: string): void;
  policyReloaded(ok: boolean, revision: string): void;
  /** Adds sources that are read at scrape time; a later call replaces the sources it names. */
  observe(sources: Partial<MetricSources>): void;
  /** The exposition text. A source that throws leaves its metric out rather than failing the scrape. */
  render(): Promise<string>;
  contentType: string;
}

function* one(value: number | undefined): Iterable<Sample> {
  if (value !== undefined) yield [{}, value];
}

function registerSources(register: Registry, sources: Partial<MetricSources>): void {
  gauge(register, "sidekey_vault_sealed", "1 while the vault is sealed.", [], () => {
    const sealed = sources.vaultSealed?.();
    return one(sealed === undefined ? undefined : Number(sealed));
  });
  gauge(register, "sidekey_usage_queue", "Usage records waiting to be written.", [], () =>
    one(sources.usageQueued?.()),
  );
  counter(register, "sidekey_usage_dropped_total", "Usage records lost: queue full or write failed.", [], () =>
    one(sources.usageDropped?.()),
  );
  // The chain outlives the process, so this counts entries of the audit, not of this run.
  counter(register, "sidekey_audit_entries_total", "Entries in the audit chain.", [], () =>
    one(sources.auditEntries?.()),
  );
  gauge(register, "sidekey_backup_last_success_timestamp_seconds", "When the newest good backup was made.", [], () =>
    one(sources.lastBackupSeconds?.()),
  );
  gauge(register, "sidekey_limit_remaining", "Lowest remaining count of a limit.", ["route", "limit"], () =>
    [...(sources.limits?.() ?? [])].map(({ route, limit, remaining }): Sample => [{ route, limit }, remaining]),
  );
  gauge(register, "sidekey_alerts_open", "Alerts that are open.", ["severity"], () => {
    const open = sources.alertsOpen && [...sources.alertsOpen()];
    const count = (severity: string) => open?.filter((alert) => alert.severity === severity).length ?? 0;
    return open ? SEVERITIES.map((severity): Sample => [{ severity }, count(severity)]) : [];
  });
  counter(register, "sidekey_alerts_opened_total", "Alerts that were opened since the start.", ["kind"], () =>
    [...(sources.alertsOpened?.() ?? [])].map(([kind, n]): Sample => [{ kind }, n]),
  );
  const credentials = () => [...(sources.credentials?.() ?? [])].slice(0, MAX_LABEL_VALUES);
  gauge(register, "sidekey_credential_state", "1 for the state a credential is in.", ["credential", "state"], () =>
    credentials().map(({ name, state }): Sample => [{ credential: name, state }, 1]),
  );
  gauge(register, "sidekey_credential_expires_timestamp_seconds", "When a credential ends.", ["credential"], () =>
    credentials().flatMap(({ name, expiresAt }): Sample[] =>
      expiresAt === null ? [] : [[{ credential: name }, expiresAt / 1000]],
    ),
  );
}

function registerProviderLimits(register: Registry, sources: Partial<MetricSources>): void {
  const known = () => [...(sources.providerLimits?.() ?? [])].slice(0, MAX_LABEL_VALUES);
  const numbers = (which: "limit" | "remaining"): Sample[] =>
    known().flatMap(({ credential, windows }) =>
      windows.flatMap((window): Sample[] => {
        const value = window[which];
        return value === null ? [] : [[{ credential, kind: window.kind }, value]];
      }),
    );
  const labels = ["credential", "kind"];
  gauge(register, "sidekey_provider_limit", "The provider's own limit.", labels, () => numbers("limit"));
  gauge(register, "sidekey_provider_remaining", "What the provider last said is left of its limit.", labels, () =>
    numbers("remaining"),
  );
  gauge(register, "sidekey_provider_held", "1 while the provider does not want a credential.", ["credential"], () =>
    known().map(({ credential, held }): Sample => [{ credential }, Number(held)]),
  );
}

function registerBreakers(register: Registry, sources: Partial<MetricSources>): void {
  gauge(register, "sidekey_breakers_open", "Circuit breakers that are open, by upstream.", ["upstream"], () => {
    const open = new Map<string, number>();
    for (const upstream of sources.broken?.() ?? []) open.set(upstream, (open.get(upstream) ?? 0) + 1);
    return [...open].slice(0, MAX_LABEL_VALUES).map(([upstream, n]): Sample => [{ upstream }, n]);
  });
}

function registerPrices(register: Registry, sources: Partial<MetricSources>): void {
  gauge(register, "sidekey_prices_reload_success", "1 when the last load of the prices succeeded.", [], () => {
    const prices = sources.prices?.();
    return one(prices === undefined ? undefined : Number(prices.ok));
  });
  gauge(register, "sidekey_prices_info", "1 for the price table in force.", ["table"], () => {
    const prices = sources.prices?.();
    return prices === undefined ? [] : [[{ table: prices.table }, 1] as const];
  });
}

interface PolicyState {
  ok: boolean;
  revision: string;
}

function registerPolicy(register: Registry, current: () => PolicyState | null): void {
  gauge(register, "sidekey_policy_reload_success", "1 when the last policy load succeeded.", [], () => {
    const state = current();
    return one(state === null ? undefined : Number(state.ok));
  });
  gauge(register, "sidekey_policy_revision_info", "1 for the policy revision in force.", ["revision"], () => {
    const state = current();
    return state === null || state.revision === "" ? [] : [[{ revision: state.revision }, 1] as const];
  });
}

/** All of sidekey's metrics; their names are here and in metrics-traffic.ts, and nowhere else. */
export function createMetrics(): Metrics {
  const register = new Registry();
  const sources: Partial<MetricSources> = {};
  let policy: PolicyState | null = null;

  collectDefaultMetrics({ register });
  const traffic = new TrafficMetrics(register);
  registerSources(register, sources);
  registerProviderLimits(register, sources);
  registerBreakers(register, sources);
  registerPrices(register, sources);
  registerPolicy(register, () => policy);

  return {
    contentType: register.contentType,
    requestEnded: (request) => traffic.requestEnded(request),
    denied: (reason) => traffic.denied(reason),
    limitWaited: (route, limit, waitMs) => traffic.limitWaited(route, limit, waitMs),
    retried: (route, reason) => traffic.retried(route, reason),
    overloaded: (reason) => traffic.overloaded(reason),
    policyReloaded(ok, revision) {
      policy = { ok, revision };
    },
    observe(added) {
      Object.assign(sources, added);
    },
    render: () => register.metrics(),
  };
}
