import type { Registry } from "prom-client";
import { NANO_PER_USD } from "../policy/amount.ts";
import type { TokenSums } from "../providers/usage/token-sums.ts";
import { type Distribution, distribution, FoldedHistogram, observe, type Series } from "./folded-histogram.ts";
import { counter, type Sample } from "./metrics-exposition.ts";
import { child, type Tally } from "./metrics-numbers.ts";

/*
 * Metrics of exchanges. Recording touches plain numbers only (well under 2 us a request); prom-client sees them when
 * somebody scrapes. The other metrics are in metrics.ts.
 */

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

/** What the exchanges of this run have left. */
export class TrafficMetrics {
  readonly #routes = new Map<string, RouteSeries>();
  readonly #denials = new Map<string, Tally>();
  readonly #overloads = new Map<string, Tally>();

  constructor(register: Registry) {
    registerTraffic(register, this.#routes, this.#denials, this.#overloads);
    registerUse(register, this.#routes);
  }

  requestEnded(request: EndedRequest): void {
    const series = this.#route(request.route);
    child(child(series.outcomes, request.client, newTallies), request.outcome, newTally).n++;
    observe(series.request, request.totalMs / 1000);
    if (request.overheadMs !== null) observe(series.overhead, request.overheadMs / 1000);
    if (request.upstreamMs !== null) observe(series.upstream, request.upstreamMs / 1000);
    if (request.credential !== null) child(series.injections, request.credential, newTally).n++;
    countUse(series, request);
  }

  denied(reason: string): void {
    child(this.#denials, reason, newTally).n++;
  }

  overloaded(reason: string): void {
    child(this.#overloads, reason, newTally).n++;
  }

  retried(route: string, reason: string): void {
    child(this.#route(route).retries, reason, newTally).n++;
  }

  limitWaited(route: string, limit: string, waitMs: number): void {
    observe(child(this.#route(route).waits, limit, newWait), waitMs / 1000);
  }

  #route(name: string | null): RouteSeries {
    return child(this.#routes, name, newRoute);
  }
}
