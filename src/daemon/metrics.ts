import { collectDefaultMetrics, Registry } from "prom-client";
import { NANO_PER_USD } from "../policy/amount.ts";
import type { TokenSums } from "../providers/usage/token-sums.ts";
import { counter, FoldedHistogram, gauge, type Sample, type Series } from "./metrics-exposition.ts";
import { child, type Distribution, distribution, MAX_LABEL_VALUES, observe, type Tally } from "./metrics-numbers.ts";

const REQUEST_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const OVERHEAD_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5];
const WAIT_SECONDS = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Label `direction` of the tokens; together they are all tokens. */
const DIRECTIONS: readonly (readonly [direction: string, sum: keyof TokenSums])[] = [
  ["input", "input"],
  ["cached_input", "cachedInput"],
  ["cache_write", "cacheWrite"],
  ["output", "output"],
  ["reasoning", "reasoning"],
];

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
  tokens: TokenSums | null;
  costNano: number | null;
  /** Something was used that has no price. */
  unpriced: boolean;
  /** What was used was worked out; the provider did not say. */
  estimated: boolean;
  /** Secrets that were taken out of the answer. */
  scrubbed: number;
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
  alertsOpen: () => Iterable<{ readonly severity: string }>;
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

interface RouteSeries {
  request: Distribution;
  overhead: Distribution;
  upstream: Distribution;
  outcomes: Map<string, Map<string, Tally>>;
  injections: Map<string, Tally>;
  waits: Map<string, Distribution>;
  /** In the order of DIRECTIONS. */
  tokens: Float64Array;
  /** Whole nano-dollars by credential: exact up to nine million dollars. */
  costs: Map<string, Tally>;
  unpriced: number;
  estimated: number;
  scrubbed: number;
  retries: Map<string, Tally>;
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
  tokens: new Float64Array(DIRECTIONS.length),
  costs: new Map(),
  unpriced: 0,
  estimated: 0,
  scrubbed: 0,
  retries: new Map(),
});

function countUse(series: RouteSeries, request: EndedRequest): void {
  const { tokens, costNano } = request;
  if (tokens !== null) {
    const { tokens: sums } = series;
    for (let at = 0; at < DIRECTIONS.length; at++) {
      const [, sum] = DIRECTIONS[at] as (typeof DIRECTIONS)[number];
      sums[at] = (sums[at] as number) + tokens[sum];
    }
  }
  if (costNano !== null) child(series.costs, request.credential, newTally).n += costNano;
  if (request.unpriced) series.unpriced++;
  if (request.estimated) series.estimated++;
  series.scrubbed += request.scrubbed;
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

function* eachTally(
  routes: Routes,
  label: string,
  pick: (series: RouteSeries) => Map<string, Tally>,
): Iterable<Sample> {
  for (const [route, series] of routes) {
    for (const [value, tally] of pick(series)) yield [{ route, [label]: value }, tally.n];
  }
}

/** Five series only for routes whose providers count in tokens. */
function* eachToken(routes: Routes): Iterable<Sample> {
  for (const [route, { tokens }] of routes) {
    if (tokens.every((count) => count === 0)) continue;
    for (const [at, [direction]] of DIRECTIONS.entries()) yield [{ route, direction }, tokens[at] as number];
  }
}

function* eachCost(routes: Routes): Iterable<Sample> {
  for (const [labels, nano] of eachTally(routes, "credential", (series) => series.costs)) {
    yield [labels, nano / NANO_PER_USD];
  }
}

function registerUse(register: Registry, routes: Routes): void {
  counter(register, "sidekey_tokens_total", "Tokens used, each counted once.", ["route", "direction"], () =>
    eachToken(routes),
  );
  counter(register, "sidekey_cost_usd_total", "Dollars, as far as prices are known.", ["route", "credential"], () =>
    eachCost(routes),
  );
  const counts: [string, string, (series: RouteSeries) => number][] = [
    ["sidekey_unpriced_total", "Requests that used something without a price.", (series) => series.unpriced],
    ["sidekey_usage_estimated_total", "Requests whose usage was worked out.", (series) => series.estimated],
    ["sidekey_scrubbed_total", "Secrets taken out of answers.", (series) => series.scrubbed],
  ];
  for (const [name, help, pick] of counts) {
    counter(register, name, help, ["route"], () =>
      [...routes].map(([route, series]): Sample => [{ route }, pick(series)]),
    );
  }
}

function registerTraffic(
  register: Registry,
  routes: Routes,
  denials: ReadonlyMap<string, Tally>,
  overloads: ReadonlyMap<string, Tally>,
): void {
  counter(register, "sidekey_requests_total", "Exchanges by how they ended.", ["route", "client", "outcome"], () =>
    eachOutcome(routes),
  );
  counter(register, "sidekey_injections_total", "Requests that carried a credential.", ["route", "credential"], () =>
    eachTally(routes, "credential", (series) => series.injections),
  );
  counter(register, "sidekey_retries_total", "Requests that were sent once more.", ["route", "reason"], () =>
    eachTally(routes, "reason", (series) => series.retries),
  );
  counter(register, "sidekey_denials_total", "Requests that sidekey refused, by reason.", ["reason"], () =>
    [...denials].map(([reason, tally]): Sample => [{ reason }, tally.n]),
  );
  counter(register, "sidekey_overload_total", "Requests refused for there was too much to do.", ["reason"], () =>
    [...overloads].map(([reason, tally]): Sample => [{ reason }, tally.n]),
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
    const open = sources.alertsOpen === undefined ? null : [...sources.alertsOpen()];
    const count = (severity: string) => open?.filter((alert) => alert.severity === severity).length ?? 0;
    return open === null
      ? []
      : ["info", "warning", "critical"].map((each): Sample => [{ severity: each }, count(each)]);
  });
  const credentials = () => [...(sources.credentials?.() ?? [])].slice(0, MAX_LABEL_VALUES);
  gauge(register, "sidekey_credential_state", "1 for the state a credential is in.", ["credential", "state"], () =>
    credentials().map(({ name, state }): Sample => [{ credential: name, state }, 1]),
  );
  gauge(
    register,
    "sidekey_credential_expires_timestamp_seconds",
    "When a credential expires, in seconds since the epoch.",
    ["credential"],
    () =>
      credentials().flatMap(({ name, expiresAt }): Sample[] =>
        expiresAt === null ? [] : [[{ credential: name }, expiresAt / 1000]],
      ),
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
  const overloads = new Map<string, Tally>();
  const sources: Partial<MetricSources> = {};
  let policy: PolicyState | null = null;

  collectDefaultMetrics({ register });
  registerTraffic(register, routes, denials, overloads);
  registerUse(register, routes);
  registerSources(register, sources);
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
      countUse(series, request);
    },
    denied(reason) {
      child(denials, reason, newTally).n++;
    },
    limitWaited(route, limit, waitMs) {
      observe(child(child(routes, route, newRoute).waits, limit, newWait), waitMs / 1000);
    },
    retried(route, reason) {
      child(child(routes, route, newRoute).retries, reason, newTally).n++;
    },
    overloaded(reason) {
      child(overloads, reason, newTally).n++;
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
