import type { LimitSpec } from "../../policy/compile.ts";
import type { LimitRequest } from "../../policy/limit.ts";
import { ProxyError } from "./errors.ts";
import { type LimitState, rateLimitFields } from "./ratelimit-fields.ts";

/** `no_room`: nothing to wait for in time; `wait_expired`: it waited; `queue_full`: too many wait already. */
export type LimitReason = "no_room" | "wait_expired" | "queue_full";

/** A request that a limit refuses (429). It carries the headers that tell the client when to come back. */
export class LimitDenied extends ProxyError {
  readonly spec: LimitSpec;
  readonly key: string;
  /** Until it is worth trying again, at least 1. */
  readonly retryAfterMs: number;
  readonly limit: number;
  readonly remaining: number;
  /** Until nothing would be missing; null when nobody can know (concurrent limits). */
  readonly resetMs: number | null;

  /**
   * @param state of the limit that refuses
   * @param states of all limits that the request had to pass, for the headers
   */
  constructor(
    { spec, key }: LimitRequest,
    reason: LimitReason,
    retryAfterMs: number,
    state: LimitState,
    states: readonly LimitState[],
  ) {
    const seconds = retryAfterSeconds(retryAfterMs);
    super("limit_exceeded", `limit ${spec.name} (${describe(spec)}) has no room; try again in ${seconds} s`, {
      reason,
      fields: ["Retry-After", String(seconds), ...rateLimitFields(states)],
    });
    this.name = "LimitDenied";
    this.spec = spec;
    this.key = key;
    this.retryAfterMs = Math.max(1, Math.ceil(retryAfterMs));
    this.limit = spec.count;
    this.remaining = state.remaining;
    this.resetMs = state.resetMs;
  }
}

/** Whole seconds, rounded up so that a client that obeys is not refused again; 0 would mean "at once". */
function retryAfterSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000));
}

function describe(spec: LimitSpec): string {
  const per = `per ${spec.per.join(" and ")}`;
  return spec.kind === "concurrent"
    ? `${spec.count} at once ${per}`
    : `${spec.count} in ${spec.periodMs / 1000} s ${per}`;
}
