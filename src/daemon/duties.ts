import { join } from "node:path";
import { ANCHOR_FILE } from "../store/audit-anchor.ts";
import type { Base } from "./base.ts";
import type { Config } from "./config.ts";
import { failureLogger } from "./failure-log.ts";
import { startAnchorPublisher } from "./monitor/anchors.ts";
import { startAutomation } from "./monitor/automation.ts";
import { startBackups } from "./monitor/backups.ts";
import type { Monitor } from "./monitor/monitor.ts";
import type { TokenSource } from "./monitor/refresh.ts";
import { startRewrapping } from "./monitor/rewrap.ts";
import { type Rotations, startRotations } from "./monitor/rotation.ts";
import { createRotationProber } from "./monitor/rotation-prober.ts";
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

export interface Duties {
  readonly rotations: Rotations;
  readonly accessTokens: TokenSource;
}

/** What the daemon does by itself, beside its traffic: rotations, access tokens, re-wrapping, backups, anchors. */
export function startDuties(base: Base, options: DutiesOptions, parts: Parts): Duties {
  const { config, policy } = options;
  const { alerts, probe, call } = options.monitor;
  const common = { ...base, alerts, now: Date.now };
  const provider = (id: string) => policy.provider(id);
  const onFailure = failureLogger(base.log, "automation");
  const { accessTokens } = parts.keep(startAutomation({ ...common, policy, call, onFailure }));
  base.onSeal = () => accessTokens.clear();
  parts.keep(startRewrapping(base.vault, failureLogger(base.log, "rewrap")));
  const rotations = parts.keep(
    startRotations({
      ...common,
      provider,
      prober: { probe: createRotationProber({ ...common, call, provider, accessTokens, probe }) },
      uses: (id, version) => base.secrets.users(id, version),
      settleMs: (provider) => longestWaitMs(policy.current(), provider),
      setTimer: nodeTimer,
      onFailure: failureLogger(base.log, "rotation"),
    }),
  );
  options.monitor.onInvalid((id, version, detail) => rotations.rejected(id, version, detail));
  if (config.backup) parts.keep(startBackups({ ...common, ...options, schedule: config.backup }));
  if (config.anchor) {
    const file = join(config.dataDir, ANCHOR_FILE);
    parts.keep(startAnchorPublisher({ file, config: config.anchor, alerts, now: Date.now }));
  }
  return { rotations, accessTokens };
}
