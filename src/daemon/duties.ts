import { join } from "node:path";
import { ANCHOR_FILE } from "../store/audit-anchor.ts";
import type { Base } from "./base.ts";
import type { Config } from "./config.ts";
import { failureLogger } from "./failure-log.ts";
import { startAnchorPublisher } from "./monitor/anchors.ts";
import { startBackups } from "./monitor/backups.ts";
import type { Monitor } from "./monitor/monitor.ts";
import { startRewrapping } from "./monitor/rewrap.ts";
import { type Rotations, startRotations } from "./monitor/rotation.ts";
import type { Parts } from "./parts.ts";
import { nodeTimer } from "./pipeline/clock.ts";
import { longestWaitMs } from "./pipeline/ramp.ts";
import type { PolicySource } from "./policy-source.ts";

export interface DutiesOptions {
  readonly config: Config;
  readonly version: string;
  readonly policy: PolicySource;
  readonly monitor: Monitor;
}

/** What the daemon does by itself, beside its traffic: rotations, re-wrapping, backups, anchors. */
export function startDuties(base: Base, options: DutiesOptions, parts: Parts): { readonly rotations: Rotations } {
  const { config, policy } = options;
  const { alerts, probe } = options.monitor;
  const common = { ...base, alerts, now: Date.now };
  parts.keep(startRewrapping(base.vault, failureLogger(base.log, "rewrap")));
  const rotations = parts.keep(
    startRotations({
      ...common,
      provider: (id) => policy.provider(id),
      prober: { probe },
      uses: (id, version) => base.secrets.users(id, version),
      settleMs: (provider) => longestWaitMs(policy.current(), provider),
      setTimer: nodeTimer,
      onFailure: failureLogger(base.log, "rotation"),
    }),
  );
  if (config.backup) parts.keep(startBackups({ ...common, ...options, schedule: config.backup }));
  if (config.anchor) {
    const file = join(config.dataDir, ANCHOR_FILE);
    parts.keep(startAnchorPublisher({ file, config: config.anchor, alerts, now: Date.now }));
  }
  return { rotations };
}
