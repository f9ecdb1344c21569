import type { Vault } from "../store/vault.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import type { ReloadResult } from "./policy-source.ts";

export interface ReloadSinks {
  readonly vault: Pick<Vault, "audit" | "sealed">;
  readonly log: Pick<Log, "info" | "error">;
  readonly metrics: Pick<Metrics, "policyReloaded">;
}

/**
 * What a reload of the policy leaves: a metric and a log line always, an audit entry when another policy came into
 * force or a bad one was refused. A reload that changed nothing is no event for the audit.
 */
export function recordReload(result: ReloadResult, { vault, log, metrics }: ReloadSinks): void {
  metrics.policyReloaded(result.ok, result.revision);
  const { ok, reason, revision, problems } = result;
  log[ok ? "info" : "error"]("policy_reload", { ok, reason, revision, problems });
  if ((ok && !result.changed) || vault.sealed) return;
  try {
    vault.audit({
      actor: "sidekey",
      action: ok ? "policy.reload" : "policy.refuse",
      object: "policy",
      detail: { reason, revision, problems: problems.length },
    });
  } catch {
    // The policy is in force (or the old one still is) whether or not the disk takes an entry about it.
    log.error("audit", { problem: "the reload of the policy could not be written to the audit" });
  }
}
