import type { Server } from "node:http";
import { join } from "node:path";
import { LimitTable } from "../policy/limit.ts";
import { loadLimitState, startLimitStateSaver } from "../store/limit-state.ts";
import { startUsageWriter, type UsageWriter } from "../store/usage.ts";
import type { Vault } from "../store/vault.ts";
import type { Unlocker } from "../store/wrappers.ts";
import type { Config } from "./config.ts";
import { type Control, startControl } from "./control.ts";
import { observeDaemon, observeLimits, type RunState, readiness, statusOf } from "./daemon-status.ts";
import { type Demo, startDemo } from "./demo-provider.ts";
import { createIngress, type Ingress } from "./ingress/server.ts";
import { LeafSource } from "./leaf-source.ts";
import { createLog, type Log } from "./log.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { createMetricsServer } from "./metrics-server.ts";
import { logAlerts, startBackups } from "./monitor/backups.ts";
import { isOwnListener } from "./own-addresses.ts";
import { knowsClient } from "./pipeline/authenticate.ts";
import { createChooser } from "./pipeline/choose.ts";
import { nodeTimer, steadyClockUs } from "./pipeline/clock.ts";
import { Dialer } from "./pipeline/dial.ts";
import type { ProxyError } from "./pipeline/errors.ts";
import type { Outcome } from "./pipeline/exchange.ts";
import { createLimiter, type Limiter } from "./pipeline/limiter.ts";
import { OutcomeBatch } from "./pipeline/outcome-batch.ts";
import { createPipeline, type PipelineOptions } from "./pipeline/pipeline.ts";
import { SecretPool } from "./pipeline/secret-pool.ts";
import { Splice } from "./pipeline/splice.ts";
import { runTunnel } from "./pipeline/tunnel.ts";
import { createPolicySource, type PolicySource } from "./policy-source.ts";
import { recordReload } from "./reload-record.ts";
import { listenOn, proxyCredentials, selfCheck } from "./start-steps.ts";
import { unlockedVault } from "./unlock.ts";
import { type VaultView, watchVault } from "./vault-view.ts";

export interface DaemonOptions {
  readonly config: Config;
  readonly version: string;
  readonly unlockers: readonly Unlocker[];
  /** Writes whole log lines, synchronously. */
  readonly writeLog: (bytes: Buffer) => void;
  /** Only to prove that it starts: no name resolves, and nothing that acts by itself may be started. */
  readonly drill?: boolean;
  /** Resolves names instead of the system's resolver. */
  readonly testOnlyResolve?: (host: string) => Promise<readonly string[]>;
}

export interface Daemon {
  readonly listening: { readonly proxy: string; readonly metrics: string | null };
  readonly warnings: readonly string[];
  /** Drains: in-flight exchanges finish within `config.drainMs`, new ones get 503; then flushes and closes. */
  stop(): Promise<void>;
  /** Reads policy, catalog and vault again, as a file change would. */
  reload(): Promise<{ readonly ok: boolean; readonly problems: readonly string[] }>;
  /** Ends every connection at once; `stop` then only has to flush. */
  kill(): void;
  readonly closed: Promise<void>;
}

const SOCKETS_PER_POOL = 64;
const DRAIN_STEP_MS = 20;
/** How often it is looked whether the intermediate certificate is due. */
const CERTIFICATE_CHECK_MS = 3_600_000;

/**
 * Builds and starts everything.
 * @throws StartError with a code and the next step; nothing is left running then
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const parts = new Parts();
  try {
    const base = await buildBase(options, parts);
    const policy = await buildPolicy(options, base, parts);
    const traffic = await buildTraffic(options, base, policy, parts);
    const { proxy, metrics } = options.config.listen;
    base.state.listeners.set("proxy", await listenOn("listen.proxy", proxy, (at) => traffic.ingress.listen(at)));
    const { metricsServer } = traffic;
    if (metrics && metricsServer) {
      base.state.listeners.set("metrics", await listenOn("listen.metrics", metrics, listener(metricsServer)));
    }
    return running(options, base, policy, traffic, parts);
  } catch (error) {
    await parts.close();
    throw error;
  }
}

/** What has been started, closed in reverse order. */
class Parts {
  readonly #closers: (() => unknown)[] = [];

  keep<T extends { close(): unknown }>(part: T): T {
    this.#closers.push(() => part.close());
    return part;
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }
}

/** Vault, records and what every other part needs. */
interface Base {
  readonly vault: Vault;
  readonly view: VaultView;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly usage: UsageWriter;
  readonly outcomes: OutcomeBatch;
  readonly limiter: Limiter;
  readonly splice: Splice;
  readonly secrets: SecretPool;
  readonly state: RunState;
  /** Set once the policy is there: the vault's view changes what the policy knows. */
  onVaultChange: () => void;
}

async function buildBase(options: DaemonOptions, parts: Parts): Promise<Base> {
  const { config } = options;
  const vault = parts.keep(await unlockedVault(config.dataDir, options.unlockers));
  await selfCheck(Date.now());
  const splice = new Splice();
  const open = (id: string, version: number) => vault.openFields(id, version, "inject");
  // Closed after the log, which scrubs its last lines with what is open here.
  const secrets = parts.keep(new SecretPool(open, config.secretsIdleMs));
  const log = parts.keep(createLog({ ...config.log, write: options.writeLog, scrubber: secrets }));
  const metrics = createMetrics();
  const usagePath = join(config.dataDir, "usage.db");
  const table = new LimitTable();
  table.importState(loadLimitState(usagePath), steadyClockUs());
  const limiter = createLimiter({ table, nowUs: steadyClockUs, setTimer: nodeTimer });
  const usage = parts.keep(
    startUsageWriter(usagePath, { ...config.usage, onProblem: (problem) => log.error("usage", { problem }) }),
  );
  parts.keep(startLimitStateSaver(usage, () => limiter.changedState()));
  const outcomes = parts.keep(new OutcomeBatch({ usage, log, metrics }));
  const base: Base = {
    vault,
    view: parts.keep(watchVault(vault, () => base.onVaultChange(), failureLogger(log, "vault_watch"))),
    log,
    metrics,
    usage,
    outcomes,
    limiter,
    splice,
    secrets,
    state: { draining: false, inFlight: 0, startedAt: Date.now(), listeners: new Map() },
    onVaultChange: () => {},
  };
  observeDaemon(base);
  return base;
}

interface PolicyParts {
  readonly source: PolicySource;
  readonly leafs: LeafSource;
}

async function buildPolicy({ config }: DaemonOptions, base: Base, parts: Parts): Promise<PolicyParts> {
  const leafs = new LeafSource(base.vault, Date.now, failureLogger(base.log, "certificates"));
  const source = parts.keep(
    await createPolicySource({
      policyFile: config.policyFile,
      providersDir: config.providersDir,
      known: () => base.view.known,
      onReload: (result) => {
        recordReload(result, base);
        if (result.ok) void leafs.follow(source.current().interceptHosts);
      },
    }),
  );
  base.metrics.policyReloaded(true, source.current().revision);
  base.onVaultChange = () => void source.reload("vault");
  observeLimits(base, source);
  await leafs.follow(source.current().interceptHosts);
  const renewal = setInterval(() => void leafs.follow(source.current().interceptHosts), CERTIFICATE_CHECK_MS).unref();
  parts.keep({ close: () => clearInterval(renewal) });
  return { source, leafs };
}

function keepBackups(options: DaemonOptions, base: Base, parts: Parts): void {
  const schedule = options.drill ? undefined : options.config.backup;
  if (schedule) parts.keep(startBackups({ ...base, ...options, schedule, alerts: logAlerts(base.log), now: Date.now }));
}

interface Traffic {
  readonly ingress: Ingress;
  readonly metricsServer: Server | null;
}

async function buildTraffic(options: DaemonOptions, base: Base, policy: PolicyParts, parts: Parts): Promise<Traffic> {
  const { config } = options;
  const { state, vault, metrics } = base;
  const demo = config.demo ? parts.keep(await startDemo(Date.now())) : null;
  const dialer = parts.keep(newDialer(options, base, demo));
  const control: Control = parts.keep(
    await startControl(join(config.dataDir, "daemon.sock"), {
      status: () =>
        statusOf({ ...base, version: options.version, policy: policy.source, leafs: policy.leafs, dialer, ingress }),
      reload: () => {
        base.view.refresh();
        return policy.source.reload("command");
      },
    }),
  );
  const pipelineOptions: PipelineOptions = {
    ...base,
    policy: () => policy.source.current(),
    tokens: () => base.view.tokens,
    chooser: createChooser(base.view),
    dialer,
    vaultSealed: () => vault.sealed,
    draining: () => state.draining,
    maxPerClient: config.limits.connectionsPerClient,
    record: recorder(base, control),
    limitWaited: (route, limit, waitMs) => metrics.limitWaited(route, limit, waitMs),
    now: Date.now,
  };
  const pipeline = createPipeline(pipelineOptions);
  const ingress = createIngress({
    pipeline: (incoming) => {
      state.inFlight++;
      return pipeline(incoming);
    },
    runTunnel: (tunnel) => {
      state.inFlight++;
      return runTunnel(tunnel, pipelineOptions);
    },
    knows: (authorization, remoteAddress) =>
      knowsClient(policy.source.current(), base.view.tokens, authorization, remoteAddress, Date.now()),
    policy: () => policy.source.current(),
    leafFor: (host) => policy.leafs.leafFor(host),
    localNames: new Set([...config.localNames, "127.0.0.1", "::1"]),
    maxConnections: config.limits.connections,
    draining: () => state.draining,
    refused: (reason) => metrics.denied(reason),
  });
  parts.keep({ close: () => ingress.destroy() });
  keepBackups(options, base, parts);
  const ready = () => readiness(vault, state);
  const metricsServer = config.listen.metrics
    ? createMetricsServer(metrics, { ready, beforeScrape: () => base.outcomes.flush() })
    : null;
  if (metricsServer) parts.keep(closing(metricsServer));
  return { ingress, metricsServer };
}

function recorder(base: Base, control: Control): PipelineOptions["record"] {
  const logInternal = failureLogger(base.log, "internal");
  return (outcome: Outcome, failure: ProxyError | null) => {
    base.state.inFlight--;
    base.outcomes.add(outcome);
    control.publish(outcome);
    if (outcome.outcome === "internal" || outcome.reason === "credential_not_opened") logInternal(failure?.cause);
  };
}

function newDialer(options: DaemonOptions, { splice, state }: Base, demo: Demo | null): Dialer {
  const { hosts, proxy } = options.config.upstream;
  return new Dialer({
    overrides: new Map([...hosts, ...(demo ? [demo.override] : [])]),
    proxy: proxy && { host: proxy.host, port: proxy.port, credentials: proxyCredentials(proxy) },
    isOwnListener: (address, port) => isOwnListener([...state.listeners.values()], address, port),
    splice,
    socketsPerPool: SOCKETS_PER_POOL,
    ...(options.testOnlyResolve ? { resolve: options.testOnlyResolve } : {}),
    ...(options.drill ? { resolve: async () => [] } : {}),
  });
}

/** Logs what kind of error it was and where; its text could hold a URL or an address (threats E3). */
function failureLogger(log: Log, msg: string): (error: unknown) => void {
  return (error) => {
    const {
      name = "unknown",
      code = null,
      stack = "",
    } = (error ?? {}) as { name?: string; code?: string | null; stack?: string };
    const frames = stack
      .split("\n")
      .filter((line) => line.trimStart().startsWith("at "))
      .slice(0, 5);
    log.error(msg, { error: name, code: typeof code === "string" ? code : null, stack: frames });
  };
}

function listener(server: Server): (at: { host: string; port: number }) => Promise<{ host: string; port: number }> {
  return (at) =>
    new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(at.port, at.host, () => {
        const address = server.address();
        resolve({ host: at.host, port: typeof address === "object" && address ? address.port : at.port });
      });
    });
}

function closing(server: Server): { close(): void } {
  return {
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

function running(
  { config }: DaemonOptions,
  { state, log, view }: Base,
  { source }: PolicyParts,
  { ingress }: Traffic,
  parts: Parts,
): Daemon {
  let stopped: Promise<void> | null = null;
  const closed = Promise.withResolvers<void>();
  const at = (name: string): string | null => {
    const own = state.listeners.get(name);
    return own ? `${own.host.includes(":") ? `[${own.host}]` : own.host}:${own.port}` : null;
  };
  const stop = async (): Promise<void> => {
    state.draining = true;
    const deadline = performance.now() + config.drainMs;
    while (state.inFlight + ingress.unfinished > 0 && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_STEP_MS));
    }
    log.info("stopping", { unfinished: state.inFlight });
    ingress.stopAccepting();
    ingress.destroy();
    // Exchanges that were cut leave their outcome before the records are closed.
    await new Promise((resolve) => setImmediate(resolve));
    await parts.close();
    closed.resolve();
  };
  log.info("started", { proxy: at("proxy"), metrics: at("metrics"), policy: source.current().revision });
  return {
    listening: { proxy: at("proxy") ?? "", metrics: at("metrics") },
    warnings: [...config.warnings, ...source.warnings()],
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
    reload: () => {
      view.refresh();
      return source.reload("signal");
    },
    kill: () => ingress.destroy(),
    closed: closed.promise,
  };
}
