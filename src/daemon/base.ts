import { join } from "node:path";
import { startLimitStateSaver } from "../store/limit-state.ts";
import { startUsageWriter, type UsageWriter } from "../store/usage.ts";
import type { Vault } from "../store/vault.ts";
import type { Unlocker } from "../store/wrappers.ts";
import type { Config } from "./config.ts";
import { observeDaemon, type RunState } from "./daemon-status.ts";
import { failureLogger } from "./failure-log.ts";
import { type LimitParts, openLimits } from "./limit-parts.ts";
import { createLog, type Log } from "./log.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import type { Parts } from "./parts.ts";
import { OutcomeBatch } from "./pipeline/outcome-batch.ts";
import { SecretPool } from "./pipeline/secret-pool.ts";
import { Splice } from "./pipeline/splice.ts";
import { recordDangers } from "./process-hygiene.ts";
import { existingVault, selfCheck } from "./start-steps.ts";
import { VaultGate } from "./vault-gate.ts";
import { type VaultView, watchVault } from "./vault-view.ts";

export interface BaseOptions {
  readonly config: Config;
  readonly unlockers: readonly Unlocker[];
  /** Writes whole log lines, synchronously. */
  readonly writeLog: (bytes: Buffer) => void;
  /** What of the environment was allowed although it can give keys away; the audit records it. */
  readonly dangers?: readonly string[];
}

/** Vault, records and what every other part needs. */
export interface Base extends LimitParts {
  readonly vault: Vault;
  readonly gate: VaultGate;
  readonly view: VaultView;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly usage: UsageWriter;
  readonly outcomes: OutcomeBatch;
  readonly splice: Splice;
  readonly secrets: SecretPool;
  readonly state: RunState;
  /** Set once the policy is there: the vault's view changes what the policy knows. */
  onVaultChange: () => void;
  /** Set once something waits for them. `onSeal` is also for a category. */
  onUnseal: () => void;
  onSeal: () => void;
}

/** Opens what outlives every request, and the vault if it can be. @throws StartError, DatabaseError */
export async function buildBase(options: BaseOptions, parts: Parts): Promise<Base> {
  const { config } = options;
  const vault = parts.keep(existingVault(config.dataDir));
  await selfCheck(Date.now());
  const splice = new Splice();
  const open = (id: string, version: number) => {
    try {
      return vault.openFields(id, version, "inject");
    } catch (error) {
      base.gate.noticed(error);
      throw error;
    }
  };
  // Closed after the log, which scrubs its last lines with what is open here.
  const secrets = parts.keep(new SecretPool(open, config.secretsIdleMs));
  const log = parts.keep(createLog({ ...config.log, write: options.writeLog, scrubber: secrets }));
  const metrics = createMetrics();
  const usagePath = join(config.dataDir, "usage.db");
  const limits = openLimits({ usagePath, pricesFile: config.pricesFile }, log, metrics, parts);
  const usage = parts.keep(
    startUsageWriter(usagePath, { ...config.usage, onProblem: (problem) => log.error("usage", { problem }) }),
  );
  parts.keep(startLimitStateSaver(usage, () => limits.limiter.changedState()));
  const outcomes = parts.keep(new OutcomeBatch({ usage, log, metrics }));
  const gate = parts.keep(newGate(options, vault, log, () => base));
  const watchFailed = failureLogger(log, "vault_watch");
  const base: Base = {
    vault,
    gate,
    view: parts.keep(
      watchVault(
        vault,
        () => base.onVaultChange(),
        (error) => gate.noticed(error) || watchFailed(error),
        () => {
          secrets.retain((id, version) => mayBeUsed(base.view, id, version));
          if (base.view.anySealed) base.onSeal();
        },
      ),
    ),
    log,
    metrics,
    usage,
    outcomes,
    ...limits,
    splice,
    secrets,
    state: { draining: false, inFlight: 0, startedAt: Date.now(), listeners: new Map() },
    onVaultChange: () => {},
    onUnseal: () => {},
    onSeal: () => {},
  };
  observeDaemon(base);
  await gate.open();
  return base;
}

/** @param base what follows the vault's state; complete by the time anything changes */
function newGate(options: BaseOptions, vault: Vault, log: Log, base: () => Base): VaultGate {
  const dangers = [...(options.dangers ?? [])];
  return new VaultGate({
    vault,
    unlockers: options.unlockers,
    onChange: () => {
      const { secrets, view, onSeal, onUnseal, onVaultChange } = base();
      log.info(vault.sealed ? "vault_sealed" : "vault_unsealed", {});
      if (vault.sealed) {
        secrets.clear();
        onSeal();
      } else if (dangers.length > 0) recordDangers(vault, dangers.splice(0));
      view.refresh();
      onVaultChange();
      if (!vault.sealed) onUnseal();
    },
    onProblem: (problem) => log.error("vault_sealed", { problem }),
  });
}

/** Whether the version of an opened secret may still be sent: a revoked or disabled one leaves memory at once. */
function mayBeUsed(view: VaultView, credentialId: string, version: number): boolean {
  const credential = view.list().find(({ id }) => id === credentialId);
  if (credential?.state !== "enabled" || !view.isOpen(credential.category)) return false;
  return credential.versions.some(({ number, stage }) => number === version && stage !== "revoked");
}
