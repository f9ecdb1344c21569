import { NANO_PER_USD } from "../../../policy/amount.ts";
import type { LimitSpec } from "../../../policy/compile.ts";
import type { Severity } from "../../../store/alerts.ts";
import type { Alerts } from "../alerts.ts";

const THRESHOLD = "budget_threshold";

/** From these per cents on it is a warning, and critical. */
const WARNING_PERCENT = 80;
const CRITICAL_PERCENT = 95;
/** A budget has come down from a level when it is so many per cents below it: calls that settle make it waver. */
const MARGIN_PERCENT = 5;
/** How often it is looked whether budgets have come down. */
const LOOK_MS = 10_000;
/** Shortest time after which an alert of a budget lapses. */
const MIN_LAPSE_MS = 60_000;
/** Budgets that are followed down; what is beyond these lapses when its window has passed. */
const MAX_BUDGETS = 500;

/** A budget, and which of its counters (`bucketKey`). */
export interface BudgetCounter {
  readonly spec: LimitSpec;
  readonly key: string;
}

/** The use of a budget has passed one of its levels. */
export interface BudgetUse extends BudgetCounter {
  readonly percent: number;
  /** Tokens or nano-dollars, and of how many. */
  readonly used: number;
  readonly limit: number;
  /** Until nothing would be missing if nothing more were used. */
  readonly resetMs: number;
}

/** @returns per cents that are used now; null when nobody knows the counter */
export type UsedPercent = (counter: BudgetCounter) => number | null;

interface Told {
  readonly use: BudgetUse;
  readonly severity: Severity;
}

/** Tells how far budgets are used up, until they have room again. */
export class Budgets {
  readonly #alerts: Alerts;
  readonly #usedPercent: UsedPercent;
  /** By what their alert is about. */
  readonly #told = new Map<string, Told>();
  #lookedAt = Number.NEGATIVE_INFINITY;

  constructor(alerts: Alerts, usedPercent: UsedPercent) {
    this.#alerts = alerts;
    this.#usedPercent = usedPercent;
  }

  get size(): number {
    return this.#told.size;
  }

  passed(use: BudgetUse, nowMs: number): void {
    const object = counterName(use.key);
    const severity = severityOf(use.percent);
    this.#told.delete(object);
    const [oldest] = this.#told.keys();
    if (oldest !== undefined && this.#told.size >= MAX_BUDGETS) this.#told.delete(oldest);
    this.#told.set(object, { use, severity });
    this.#raise(object, use, severity, nowMs);
  }

  /** To be called every second or so. */
  look(nowMs: number): void {
    if (Math.abs(nowMs - this.#lookedAt) < LOOK_MS) return;
    this.#lookedAt = nowMs;
    for (const [object, { use, severity }] of this.#told) {
      const now = this.#usedPercent(use);
      if (now === null) continue;
      const level = levelOf(use.spec, now + MARGIN_PERCENT);
      if (level === null) {
        this.#told.delete(object);
        this.#alerts.clear(THRESHOLD, object);
      } else if (severityOf(level) !== severity && level < use.percent) {
        const lower = { ...use, percent: level, used: Math.round((use.limit * now) / 100) };
        this.#told.set(object, { use: lower, severity: severityOf(level) });
        this.#raise(object, lower, severityOf(level), nowMs);
      }
    }
  }

  /** After a restart nobody follows it down, so it lapses when the budget would have room again by itself. */
  #raise(object: string, { spec, percent, used, limit, resetMs }: BudgetUse, severity: Severity, nowMs: number): void {
    const resetAt = nowMs + Math.max(MIN_LAPSE_MS, Math.ceil(resetMs));
    const what = `${object.slice("limit:".length)} is used up to ${percent} %: ${shareText(spec, used, limit)}`;
    const next = "raise it in policy.yaml, or see who uses it with `sidekey usage`";
    const message = `budget ${what}; all of it is there again at ${new Date(resetAt).toISOString()}; ${next}`;
    this.#alerts.raise(THRESHOLD, object, severity, message, resetAt);
  }
}

/** The highest level that is reached; null for none. */
function levelOf({ budget }: LimitSpec, percent: number): number | null {
  return budget?.warn.findLast((level) => level <= percent) ?? null;
}

function severityOf(percent: number): Severity {
  if (percent >= CRITICAL_PERCENT) return "critical";
  return percent >= WARNING_PERCENT ? "warning" : "info";
}

/** `limit:openai/spend client=app`, from the key that `bucketKey` makes. */
function counterName(key: string): string {
  const [, name = "", route = "", ...ids] = key.split("\n");
  let scopes = "";
  for (let at = 0; at + 1 < ids.length; at += 2) if (ids[at] !== "route") scopes += ` ${ids[at]}=${ids[at + 1]}`;
  return `limit:${route === "" ? "" : `${route}/`}${name}${scopes}`;
}

function shareText({ kind }: LimitSpec, used: number, limit: number): string {
  const digits = limit < NANO_PER_USD ? 6 : 2;
  if (kind !== "usd") return `${used.toLocaleString("en-US")} of ${limit.toLocaleString("en-US")} tokens`;
  return `$${(used / NANO_PER_USD).toFixed(digits)} of $${(limit / NANO_PER_USD).toFixed(digits)}`;
}
