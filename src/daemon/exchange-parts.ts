import { fingerprintFields } from "../store/known-values.ts";
import type { Base } from "./base.ts";
import { failureLogger } from "./failure-log.ts";
import type { Monitor } from "./monitor/monitor.ts";
import { earlierAttempt } from "./monitor/watch/attempt.ts";
import { createChooser } from "./pipeline/choose.ts";
import { nodeTimer } from "./pipeline/clock.ts";
import type { PipelineOptions } from "./pipeline/pipeline.ts";
import { PoolHealth } from "./pipeline/pool-health.ts";
import { RetryBudget } from "./pipeline/retry-budget.ts";
import { createTripwire } from "./pipeline/tripwire.ts";

/** What the pipeline asks about keys, limits and prices, and whom it tells what it sees. */
export type ExchangeParts = Pick<
  PipelineOptions,
  | "chooser"
  | "health"
  | "limiter"
  | "liveLimits"
  | "limitsNowMs"
  | "limitWaited"
  | "retryBudget"
  | "retried"
  | "triedBefore"
  | "prices"
  | "unpriced"
  | "tripwire"
  | "setTimer"
  | "random"
  | "now"
>;

export function exchangeParts(base: Base, monitor: Monitor): ExchangeParts {
  const { view, vault, limiter, liveLimits, limitsNowMs, prices, metrics } = base;
  const { watch } = monitor;
  const health = new PoolHealth({
    usable: monitor.usable,
    verifiedAt: monitor.verifiedAt,
    heldUntil: (id, version) => liveLimits.heldUntil(id, version),
    onRefused: (id, version, meaning) => monitor.doubted(id, version, meaning),
    now: Date.now,
    random: Math.random,
  });
  const broken = () => health.state().breakers.map(({ authority }) => authority);
  metrics.observe({ broken });
  watch.connect({
    ready: ({ id }, version, authority, nowMs) => {
      const standing = health.ready({ credentialId: id, version, authority, client: "" }, nowMs);
      return standing === "ready" || standing === "probe";
    },
    usedPercent: (counter) => {
      const [state] = limiter.states([counter]);
      const { count } = counter.spec;
      return state === undefined || count === 0 ? null : ((count - state.remaining) / count) * 100;
    },
    broken,
  });
  base.limitHooks.onBudgetWarning = (warning) => watch.budget(warning);
  return {
    chooser: createChooser(view, health),
    health,
    limiter,
    liveLimits,
    limitsNowMs,
    limitWaited: (route, limit, waitMs) => metrics.limitWaited(route, limit, waitMs),
    retryBudget: new RetryBudget(Date.now),
    retried: (route, reason) => metrics.retried(route, reason),
    triedBefore: (earlier) => watch.attempt(earlierAttempt(earlier)),
    prices: () => prices.current(),
    unpriced: (call) => watch.unpriced(call),
    tripwire: createTripwire({
      values: () => view.values,
      fingerprint: (fields) => vault.read((stored) => fingerprintFields(stored, fields)),
      found: (finding, atMs) => watch.found(finding, atMs),
      onFailure: failureLogger(base.log, "tripwire"),
    }),
    setTimer: nodeTimer,
    random: Math.random,
    now: Date.now,
  };
}
