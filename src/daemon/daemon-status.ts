import { NANO_PER_USD } from "../policy/amount.ts";
import { listCategories } from "../store/categories.ts";
import type { UsageWriter } from "../store/usage.ts";
import type { Vault } from "../store/vault.ts";
import type { Ingress } from "./ingress/server.ts";
import type { LeafSource } from "./leaf-source.ts";
import type { Metrics } from "./metrics.ts";
import type { AlertBook } from "./monitor/alerts.ts";
import type { Dialer } from "./pipeline/dial.ts";
import type { Limiter } from "./pipeline/limiter.ts";
import type { PolicySource } from "./policy-source.ts";
import type { PriceSource } from "./price-source.ts";
import type { VaultGate } from "./vault-gate.ts";

/** What the daemon tells about itself: `sidekey status`, `/readyz` and the gauges of `/metrics`. */

export interface StatusSources {
  readonly version: string;
  readonly vault: Vault;
  readonly gate: VaultGate;
  readonly usage: UsageWriter;
  readonly policy: PolicySource;
  readonly prices: PriceSource;
  readonly ingress: Ingress;
  readonly leafs: LeafSource;
  readonly dialer: Dialer;
  readonly alerts: AlertBook;
  readonly state: RunState;
}

/** Changes while the daemon runs. */
export interface RunState {
  draining: boolean;
  inFlight: number;
  /** epoch milliseconds */
  readonly startedAt: number;
  /** Where sidekey itself listens, by name; dialling one of these is refused. */
  readonly listeners: Map<string, { readonly host: string; readonly port: number }>;
}

export function statusOf(sources: StatusSources): Record<string, unknown> {
  const { state, policy, usage } = sources;
  return {
    pid: process.pid,
    startedAt: state.startedAt,
    version: sources.version,
    sealed: sources.vault.sealed,
    sealedBecause: sources.gate.problem,
    sealedCategories: sources.vault.sealed ? [] : sealedCategories(sources.vault),
    draining: state.draining,
    policy: { revision: policy.current().revision, ...policy.health() },
    prices: sources.prices.health(),
    listeners: Object.fromEntries([...state.listeners].map(([name, { host, port }]) => [name, `${host}:${port}`])),
    counts: {
      connections: sources.ingress.connections,
      inFlight: state.inFlight,
      routes: policy.current().routes.length,
      upstreamPools: sources.dialer.poolCount,
      certificatesMinted: sources.leafs.minted,
    },
    alerts: sources.alerts.open(),
    queue: { usage: usage.queued(), usageDropped: usage.dropped() },
  };
}

function sealedCategories(vault: Vault): string[] {
  return vault.read(listCategories).flatMap(({ name, state }) => (state === "enabled" ? [] : [name]));
}

/** Whether traffic should be sent here. */
export function readiness(vault: Vault, state: RunState): { ok: boolean; reason: string } {
  if (vault.sealed) return { ok: false, reason: "vault_sealed" };
  if (state.draining) return { ok: false, reason: "draining" };
  return { ok: true, reason: "ready" };
}

/** Gauges that are read when somebody scrapes. */
export function observeDaemon(sources: { metrics: Metrics; vault: Vault; usage: UsageWriter }): void {
  const { vault, usage } = sources;
  sources.metrics.observe({
    vaultSealed: () => vault.sealed,
    usageQueued: () => usage.queued(),
    usageDropped: () => usage.dropped(),
    auditEntries: () => vault.listAudit({ limit: 1 }).at(-1)?.seq ?? 0,
  });
}

/** What is left of every limit of the policy in force: calls, tokens, or dollars. */
export function observeLimits(
  { metrics, limiter }: { metrics: Metrics; limiter: Limiter },
  policy: PolicySource,
): void {
  metrics.observe({
    limits: () =>
      policy.current().routes.flatMap((route) =>
        route.limits.map((spec) => ({
          route: route.id,
          limit: spec.name,
          remaining: (limiter.lowestRemaining(spec) ?? spec.burst) / (spec.kind === "usd" ? NANO_PER_USD : 1),
        })),
      ),
  });
}
