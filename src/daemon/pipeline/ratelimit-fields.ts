import type { LimitSpec } from "../../policy/compile.ts";
import type { LimitRequest, LimitTable } from "../../policy/limit.ts";

/** Dollars are told in whole micro-dollars: the fields take integers of 15 digits. */
const NANO_PER_MICRO = 1000;

/** Where one limit stands for one request. */
export interface LimitState {
  readonly spec: LimitSpec;
  readonly remaining: number;
  /** Until nothing would be missing; null when nobody can know. */
  readonly resetMs: number | null;
}

/** @param nowUs microseconds since the epoch */
export function limitState(table: LimitTable, { spec, key }: LimitRequest, nowUs: number): LimitState {
  const { remaining, resetUs } = table.remaining(spec, key, nowUs);
  return { spec, remaining, resetMs: resetUs === null ? null : resetUs / 1000 };
}

/**
 * `RateLimit-Policy` and `RateLimit`, flat `[name, value, ...]`, one list item per limit; nothing when there
 * are none. Syntax: draft-ietf-httpapi-ratelimit-headers-10 section 3 and 4 (Structured Fields lists of
 * strings with integer parameters). Shadow limits are left out: they never refuse anything. The quota units (`qu`)
 * `tokens` and `micro-usd` are sidekey's own, and the window (`w`) of a calendar's budget is the length of its longest.
 */
export function rateLimitFields(states: readonly LimitState[]): string[] {
  const shown = states.filter(({ spec }) => spec.mode === "enforce");
  if (shown.length === 0) return [];
  return [
    "RateLimit-Policy",
    shown.map(({ spec }) => knownOf(spec).policy).join(", "),
    "RateLimit",
    shown.map(stateItem).join(", "),
  ];
}

/** What is the same in every answer, by limit. */
const known = new WeakMap<LimitSpec, { readonly name: string; readonly policy: string }>();

function knownOf(spec: LimitSpec): { readonly name: string; readonly policy: string } {
  let texts = known.get(spec);
  if (texts === undefined) {
    texts = { name: quoted(spec.name), policy: policyItem(spec) };
    known.set(spec, texts);
  }
  return texts;
}

function policyItem(spec: LimitSpec): string {
  const quota = `${quoted(spec.name)};q=${quotaUnits(spec, spec.count)}`;
  if (spec.kind === "concurrent") return `${quota};qu="concurrent-requests"`;
  const unit = spec.kind === "requests" ? "" : `;qu="${spec.kind === "usd" ? "micro-usd" : "tokens"}"`;
  return `${quota}${unit};w=${Math.ceil(spec.periodMs / 1000)}`;
}

function stateItem({ spec, remaining, resetMs }: LimitState): string {
  const item = `${knownOf(spec).name};r=${Math.max(0, quotaUnits(spec, remaining))}`;
  return resetMs === null ? item : `${item};t=${Math.ceil(resetMs / 1000)}`;
}

function quotaUnits({ kind }: LimitSpec, amount: number): number {
  return Math.floor(kind === "usd" ? amount / NANO_PER_MICRO : amount);
}

/** A Structured Fields string (RFC 9651 section 4.1.6); what is not printable ASCII has no place in one. */
function quoted(name: string): string {
  return `"${name.replace(/[^\x20-\x7e]/g, "?").replace(/["\\]/g, "\\$&")}"`;
}
