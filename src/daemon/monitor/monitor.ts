import type { PolicySnapshot } from "../../policy/compile.ts";
import type { TrafficMeaning } from "../../providers/classify-traffic.ts";
import { readLimits } from "../../providers/limit-headers.ts";
import type { Provider } from "../../providers/schema.ts";
import type { Credential } from "../../store/credentials.ts";
import { openMonitorStore } from "../../store/monitor.ts";
import type { Vault } from "../../store/vault.ts";
import type { Log } from "../log.ts";
import type { CredentialGauge, Metrics } from "../metrics.ts";
import { nodeTimer, type SetTimer } from "../pipeline/clock.ts";
import type { Dialer } from "../pipeline/dial.ts";
import type { Outcome } from "../pipeline/exchange.ts";
import type { Limiter } from "../pipeline/limiter.ts";
import type { Usable } from "../pipeline/pool-health.ts";
import type { LiveLimits } from "../pipeline/provider-limits.ts";
import type { Splice } from "../pipeline/splice.ts";
import { providerGauges } from "../provider-gauges.ts";
import type { VaultView } from "../vault-view.ts";
import { type AlertBook, createAlerts } from "./alerts.ts";
import { createCallProvider } from "./call-provider.ts";
import { createGrants, routesOf } from "./grant.ts";
import { currentVersion, expiryOf, HealthTable, shownState } from "./health.ts";
import { isDoubtful, keyVerdict } from "./key-verdict.ts";
import { keepProviderLimits } from "./limit-keeper.ts";
import { createProbe, type ProbeDeps, type ProbeVersion } from "./probe.ts";
import type { CallProvider } from "./provider-call.ts";
import { createReview } from "./review.ts";
import { Scheduler } from "./scheduler.ts";
import { createWatch, type Watch } from "./watch/watch.ts";

export interface MonitorParts {
  readonly dataDir: string;
  /** Milliseconds between two checks of one credential; null: only suspicions are followed up. */
  readonly checkMs: number | null;
  readonly vault: Pick<Vault, "openFields" | "sealed">;
  readonly view: VaultView;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly limiter: Limiter;
  readonly liveLimits: LiveLimits;
  readonly limitsNowMs: () => number;
  readonly splice: Splice;
  readonly dialer: Dialer;
  readonly policy: { current(): PolicySnapshot; provider(id: string): Provider | undefined };
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly setTimer?: SetTimer;
}

/** Watches over the stored keys: checks them, learns their expiry, takes refused ones out of use, tells the operator. */
export interface Monitor {
  readonly alerts: AlertBook;
  /** Requests of sidekey's own, through the daemon's dialer and splice. */
  readonly call: CallProvider;
  readonly probe: ProbeVersion;
  readonly health: HealthTable;
  readonly usable: Usable;
  /** When a check last found that a version is not refused, ms since the epoch; null while it is in doubt. */
  readonly verifiedAt: (credentialId: string, version: number) => number | null;
  /** What is told of traffic; `connect` it with what only the pipeline knows. */
  readonly watch: Watch;
  /** The provider did not do what was asked with this version; checks its key if that may be the reason. */
  doubted(credentialId: string, version: number, meaning: TrafficMeaning): void;
  /** From now on told of each version that its provider does not accept. */
  onInvalid(tell: (credentialId: string, version: number, detail: string) => void): void;
  /** Told of every outcome; a lookup and a comparison unless the provider refused the key. */
  observe(outcome: Outcome): void;
  close(): void;
}

/** @throws DatabaseError when monitor.db cannot be used */
export function startMonitor(parts: MonitorParts): Monitor {
  const { view, log, policy, now, metrics } = parts;
  const store = openMonitorStore(parts.dataDir);
  const onFailure = onceUntilWell(log);
  const alerts = createAlerts({ store: store.alerts, dataVersion: () => store.dataVersion(), log, now });
  const health = new HealthTable(store, onFailure);
  const call = createCallProvider(parts.dialer, parts.splice);
  const probe = createProbe({
    call,
    provider: (id) => policy.provider(id),
    openFields: (id, version) => parts.vault.openFields(id, version, "probe"),
    private: (credential) => routesOf(policy.current(), credential).flatMap((route) => route.private),
    answered: observeProbe(parts),
  });
  const keeper = keepProviderLimits({ store, limits: parts.liveLimits, onFailure });
  const credentials = () => view.list();
  const watch = createWatch({
    alerts,
    view,
    vaultSealed: () => parts.vault.sealed,
    policy: () => policy.current(),
    ready: ({ id }, version) => health.usable(id, version),
    usedPercent: () => null,
    broken: () => [],
    now,
  });
  const review = createReview({ store, health, alerts, log, credentials, now, onFailure });
  let tellInvalid: Parameters<Monitor["onInvalid"]>[0] = () => {};
  const scheduler = new Scheduler({
    onInvalid: ({ id }, version, detail) => tellInvalid(id, version, detail),
    health,
    probe,
    grant: createGrants(parts.limiter, () => policy.current()),
    credentials,
    byName: (name) => view.byName(name),
    canProbe: (id) => policy.provider(id)?.probe != null,
    everyMs: parts.checkMs,
    review: () => inTurn([review, watch.look, alerts.look], onFailure),
    onFailure,
    now,
    setTimer: parts.setTimer ?? nodeTimer,
  });
  // While it is sealed nothing is known, which does not mean that nothing is there.
  if (!parts.vault.sealed) forgetRemoved(store, view, onFailure);
  metrics.observe({
    alertsOpen: () => alerts.open(),
    alertsOpened: () => alerts.opened(),
    providerLimits: () => providerGauges(parts.liveLimits.views(), (id) => view.byId(id)?.name),
    credentials: () => credentials().map((credential) => gaugeOf(credential, health, now())),
  });
  return {
    alerts,
    call,
    probe,
    health,
    usable: (id, version) => health.usable(id, version),
    verifiedAt: (id, version) => health.verifiedAt(id, version),
    onInvalid: (tell) => {
      tellInvalid = tell;
    },
    watch,
    ...trafficObserver({ view, watch, health, scheduler }),
    close: () => {
      scheduler.close();
      keeper.close();
      alerts.close();
      store.close();
    },
  };
}

/** What the answer to a check tells of the provider's limits. */
function observeProbe({ liveLimits, limitsNowMs, policy }: MonitorParts): NonNullable<ProbeDeps["answered"]> {
  return (credential, version, { status, headers, body }) => {
    const limits = readLimits(policy.provider(credential.provider)?.limitHeaders ?? null, {
      status,
      field: (name) => headers.get(name) ?? null,
      names: () => headers.keys(),
      body,
      nowMs: limitsNowMs(),
    });
    liveLimits.observe({ credential: credential.id, version, status, limits });
  };
}

interface TrafficReaders {
  readonly view: Pick<VaultView, "byId">;
  readonly watch: Watch;
  readonly health: HealthTable;
  readonly scheduler: Scheduler;
}

function trafficObserver({ view, watch, health, scheduler }: TrafficReaders): Pick<Monitor, "observe" | "doubted"> {
  return {
    doubted(id, version, meaning) {
      const credential = isDoubtful(meaning) ? view.byId(id) : undefined;
      if (credential) scheduler.refused(credential.name, version);
    },
    observe(outcome) {
      watch.outcome(outcome);
      const { credential, version, attempts, atMs } = outcome;
      if (credential === null || version === null || attempts === 0) return;
      const verdict = keyVerdict(outcome);
      if (verdict === "accepted") health.answered(credential, version, atMs);
      else if (verdict === "doubtful") scheduler.refused(credential, version);
    },
  };
}

/** One that fails must not keep the others from looking. */
function inTurn(looks: readonly (() => void)[], onFailure: (error: unknown) => void): void {
  for (const look of looks) {
    try {
      look();
    } catch (error) {
      onFailure(error);
    }
  }
}

function gaugeOf(credential: Credential, health: HealthTable, nowMs: number): CredentialGauge {
  const version = currentVersion(credential);
  const known = version === null ? undefined : health.get(credential.id, version);
  const state = shownState(credential, known, nowMs);
  return { name: credential.name, state, expiresAt: expiryOf(credential, known) };
}

/** A disk that stays full would fill the log as well. */
function onceUntilWell(log: Log): (error: unknown) => void {
  let told = "";
  return (error) => {
    const problem = error instanceof Error ? error.message : "monitor.db could not be used";
    if (problem !== told) log.error("monitor", { problem });
    told = problem;
  };
}

function forgetRemoved(
  store: { keepOnly(existing: ReadonlySet<string>): void },
  view: VaultView,
  onFailure: (error: unknown) => void,
): void {
  try {
    const existing = new Set(view.list().map(({ id }) => id));
    // An empty list may also mean that the vault cannot be read yet.
    if (existing.size > 0) store.keepOnly(existing);
  } catch (error) {
    onFailure(error);
  }
}
