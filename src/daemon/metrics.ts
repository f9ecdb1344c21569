import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { SEVERITIES } from "../store/alerts.ts";
import { type Distribution, distribution, FoldedHistogram, observe, type Series } from "./folded-histogram.ts";

/** Label value for everything that is not a configured name, so that a client cannot invent time series. */
const OTHER = "other";
/** Distinct values per label below one parent; user-owned credentials alone could otherwise be thousands. */
const MAX_LABEL_VALUES = 500;

const REQUEST_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const OVERHEAD_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5];
const WAIT_SECONDS = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** What one ended exchange leaves in the metrics. Names are configured names; null = unknown, counted as `other`. */
export interface EndedRequest {
  route: string | null;
  client: string | null;
  /** Credential that was injected, null when none was. */
  credential: string | null;
  outcome: string;
  totalMs: number;
  /** Time spent in sidekey itself; null when no upstream was involved. */
  overheadMs: number | null;
  upstreamMs: number | null;
}

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
  alertsOpen: () => Iterable<{ readonly severity: string }>;
  alertsOpened: () => ReadonlyMap<string, number>;
}

export interface Metrics {
  requestEnded(request: EndedRequest): void;
  /** `reason` is a decision reason or an error code: a closed set. */
  denied(reason: string): void;
  limitWaited(route: string, limit: string, waitMs: number): void;
  policyReloaded(ok: boolean, revision: string): void;
  /** Adds sources that are read at scrape time; a later call replaces the sources it names. */
  observe(sources: Partial<MetricSources>): void;
  /** The exposition text. A source that throws leaves its metric out rather than failing the scrape. */
  render(): Promise<string>;
  contentType: string;
}

interface Tally {
  n: number;
}

interface RouteSeries {
  request: Distribution;
  overhead: Distribution;
  upstream: Distribution;
  outcomes: Map<string, Map<string, Tally>>;
  injections: Map<string, Tally>;
  waits: Map<string, Distribution>;
}

const newTally = (): Tally => ({ n: 0 });
const newTallies = (): Map<string, Tally> => new Map();
const newWait = (): Distribution => distribution(WAIT_SECONDS);
const newRoute = (): RouteSeries => ({
  request: distribution(REQUEST_SECONDS),
  overhead: distribution(OVERHEAD_SECONDS),
  upstream: distribution(REQUEST_SECONDS),
  outcomes: new Map(),
  injections: new Map(),
  waits: new Map(),
});

/** The child for `key`, created on first use; past the bound everything new shares `other`. */
function child<V>(children: Map<string, V>, key: string | null, create: () => V): V {
  const found = children.get(key ?? OTHER);
  if (found !== undefined) return found;
  const name = key === null || children.size >= MAX_LABEL_VALUES ? OTHER : key;
  const existing = children.get(name);
  if (existing !== undefined) return existing;
  const created = create();
  children.set(name, created);
  return created;
}

type Sample = readonly [labels: Record<string, string>, value: number];

function counter(register: Registry, name: string, help: string, labels: string[], samples: () => Iterable<Sample>) {
  new Counter({
    name,
    help,
    labelNames: labels,
    registers: [register],
    collect() {
      this.reset();
      forgetZero(this, labels);
      for (const [values, value] of safely(samples)) this.inc(values, value);
    },
  });
}

function gauge(register: Registry, name: string, help: string, labels: string[], samples: () => Iterable<Sample>) {
  new Gauge({
    name,
    help,
    labelNames: labels,
    registers: [register],
    collect() {
      this.reset();
      forgetZero(this, labels);
      for (const [values, value] of safely(samples)) this.set(values, value);
    },
  });
}

/** A label-less metric reads 0 after reset(); a source that is not there (yet) must be absent, not 0. */
function forgetZero(metric: Counter | Gauge, labels: readonly string[]): void {
  if (labels.length === 0) metric.remove({});
}

/** One failing source (a vault being closed, say) must not take the whole scrape with it. */
function safely(samples: () => Iterable<Sample>): readonly Sample[] {
  try {
    return [...samples()];
  } catch {
    return [];
  }
}

type Routes = ReadonlyMap<string, RouteSeries>;

function* eachRoute(routes: Routes, pick: (series: RouteSeries) => Distribution): Iterable<Series> {
  for (const [route, series] of routes) yield { labels: { route }, distribution: pick(series) };
}

function* eachWait(routes: Routes): Iterable<Series> {
  for (const [route, series] of routes) {
    for (const [limit, wait] of series.waits) yield { labels: { route, limit }, distribution: wait };
  }
}

function* eachOutcome(routes: Routes): Iterable<Sample> {
  for (const [route, series] of routes) {
    for (const [client, outcomes] of series.outcomes) {
      for (const [outcome, tally] of outcomes) yield [{ route, client, outcome }, tally.n];
    }
  }
}

function* eachInjection(routes: Routes): Iterable<Sample> {
  for (const [route, series] of routes) {
    for (const [credential, tally] of series.injections) yield [{ route, credential }, tally.n];
  }
}

function registerTraffic(register: Registry, routes: Routes, denials: ReadonlyMap<string, Tally>): void {
  counter(register, "sidekey_requests_total", "Exchanges by how they ended.", ["route", "client", "outcome"], () =>
    eachOutcome(routes),
  );
  counter(register, "sidekey_injections_total", "Requests that carried a credential.", ["route", "credential"], () =>
    eachInjection(routes),
  );
  counter(register, "sidekey_denials_total", "Requests that sidekey refused, by reason.", ["reason"], () =>
    [...denials].map(([reason, tally]): Sample => [{ reason }, tally.n]),
  );
  const timings: [string, string, (series: RouteSeries) => Distribution][] = [
    ["sidekey_request_seconds", "Whole exchange, first byte in to last byte out.", (series) => series.request],
    ["sidekey_overhead_seconds", "Time spent in sidekey, without the provider and without waits.", (s) => s.overhead],
    ["sidekey_upstream_seconds", "Time the provider took.", (series) => series.upstream],
  ];
  for (const [name, help, pick] of timings) new FoldedHistogram(register, name, help, () => eachRoute(routes, pick));
  new FoldedHistogram(register, "sidekey_limit_wait_seconds", "Time requests queued for a limit.", () =>
    eachWait(routes),
  );
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

/**
 * All of sidekey's metrics and the only place that knows their names. Recording touches plain numbers
 * only (well under 2 us a request); prom-client sees them when somebody scrapes.
 */
export function createMetrics(): Metrics {
  const register = new Registry();
  const routes = new Map<string, RouteSeries>();
  const denials = new Map<string, Tally>();
  const sources: Partial<MetricSources> = {};
  let policy: PolicyState | null = null;

  collectDefaultMetrics({ register });
  registerTraffic(register, routes, denials);
  registerSources(register, sources);
  registerProviderLimits(register, sources);
  registerPolicy(register, () => policy);

  return {
    contentType: register.contentType,
    requestEnded(request) {
      const series = child(routes, request.route, newRoute);
      child(child(series.outcomes, request.client, newTallies), request.outcome, newTally).n++;
      observe(series.request, request.totalMs / 1000);
      if (request.overheadMs !== null) observe(series.overhead, request.overheadMs / 1000);
      if (request.upstreamMs !== null) observe(series.upstream, request.upstreamMs / 1000);
      if (request.credential !== null) child(series.injections, request.credential, newTally).n++;
    },
    denied(reason) {
      child(denials, reason, newTally).n++;
    },
    limitWaited(route, limit, waitMs) {
      observe(child(child(routes, route, newRoute).waits, limit, newWait), waitMs / 1000);
    },
    policyReloaded(ok, revision) {
      policy = { ok, revision };
    },
    observe(added) {
      Object.assign(sources, added);
    },
    render: () => register.metrics(),
  };
}
