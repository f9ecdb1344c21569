import { type BudgetWarning, type LimitRequest, LimitTable } from "../policy/limit.ts";
import { loadLimitState } from "../store/limit-state.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import type { Parts } from "./parts.ts";
import { nodeTimer, steadyClockUs } from "./pipeline/clock.ts";
import { createLimiter, type Limiter, type LimiterOptions } from "./pipeline/limiter.ts";
import { createProviderLimits, type LiveLimits } from "./pipeline/provider-limits.ts";
import { openPriceSource, type PriceSource } from "./price-source.ts";

/** Who is told, and asked, once the other parts are there. */
export interface LimitHooks {
  onBudgetWarning: (warning: BudgetWarning) => void;
  /** The provider that counts this credential together with all others of it, by our address; else null. */
  countedTogether: (credentialId: string) => string | null;
}

export interface LimitParts {
  /** The limits of the policy. */
  readonly limiter: Limiter;
  /** The providers' own limits. */
  readonly liveLimits: LiveLimits;
  /** Milliseconds since the epoch, from the clock of the providers' limits. */
  readonly limitsNowMs: () => number;
  readonly prices: PriceSource;
  readonly limitHooks: LimitHooks;
}

export interface LimitPlace {
  /** Where the counters of an earlier run are. */
  readonly usagePath: string;
  readonly pricesFile: string;
}

/** What is counted, against which limits, and what it costs. @throws DatabaseError */
export function openLimits(place: LimitPlace, log: Log, metrics: Metrics, parts: Parts): LimitParts {
  const limitHooks: LimitHooks = { onBudgetWarning: () => {}, countedTogether: () => null };
  const table = new LimitTable();
  table.importState(loadLimitState(place.usagePath), steadyClockUs());
  const limitsNowMs = (): number => steadyClockUs() / 1000;
  const prices = parts.keep(openPriceSource({ file: place.pricesFile, log, onReload: () => {} }));
  metrics.observe({ prices: () => prices.health() });
  return {
    limiter: createLimiter({
      table,
      nowUs: steadyClockUs,
      setTimer: nodeTimer,
      ...budgetReports(log, limitHooks),
    }),
    liveLimits: createProviderLimits({
      nowMs: limitsNowMs,
      setTimer: nodeTimer,
      random: Math.random,
      countedTogether: (id) => limitHooks.countedTogether(id),
    }),
    limitsNowMs,
    prices,
    limitHooks,
  };
}

/** What a budget has to tell goes to the log. Amounts are tokens or nano-dollars; `counter` says whose budget it is. */
function budgetReports(log: Log, hooks: LimitHooks): Pick<LimiterOptions, "onWarning" | "onOverrun"> {
  const counterOf = ({ key }: LimitRequest): string => key.replaceAll("\n", " ");
  return {
    onWarning: (warning) => {
      const { percent, used, limit, resetMs } = warning;
      log.warn("budget_level", { counter: counterOf(warning), percent, used, limit, reset_ms: Math.round(resetMs) });
      hooks.onBudgetWarning(warning);
    },
    onOverrun: (overrun) => log.error("budget_overrun", { counter: counterOf(overrun), over: overrun.over }),
  };
}
