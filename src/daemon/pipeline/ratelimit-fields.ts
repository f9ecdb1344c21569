import type { LimitSpec } from "../../policy/compile.ts";

/** Where one limit stands for one request. */
export interface LimitState {
  readonly spec: LimitSpec;
  readonly remaining: number;
  /** Until nothing would be missing; null when nobody can know. */
  readonly resetMs: number | null;
}

/**
 * `RateLimit-Policy` and `RateLimit`, flat `[name, value, ...]`, one list item per limit; nothing when there
 * are none. Syntax: draft-ietf-httpapi-ratelimit-headers-10 section 3 and 4 (Structured Fields lists of
 * strings with integer parameters). Shadow limits are left out: they never refuse anything.
 */
export function rateLimitFields(states: readonly LimitState[]): string[] {
  const shown = states.filter(({ spec }) => spec.mode === "enforce");
  if (shown.length === 0) return [];
  return [
    "RateLimit-Policy",
    shown.map(({ spec }) => policyItem(spec)).join(", "),
    "RateLimit",
    shown.map(stateItem).join(", "),
  ];
}

function policyItem(spec: LimitSpec): string {
  if (spec.kind === "concurrent") return `${quoted(spec.name)};q=${spec.count};qu="concurrent-requests"`;
  return `${quoted(spec.name)};q=${spec.count};w=${Math.ceil(spec.periodMs / 1000)}`;
}

function stateItem({ spec, remaining, resetMs }: LimitState): string {
  const item = `${quoted(spec.name)};r=${Math.max(0, Math.floor(remaining))}`;
  return resetMs === null ? item : `${item};t=${Math.ceil(resetMs / 1000)}`;
}

/** A Structured Fields string (RFC 9651 section 4.1.6); what is not printable ASCII has no place in one. */
function quoted(name: string): string {
  return `"${name.replace(/[^\x20-\x7e]/g, "?").replace(/["\\]/g, "\\$&")}"`;
}
