import type { Server } from "node:http";
import { join } from "node:path";
import type { Unlocker } from "../store/wrappers.ts";
import { type Base, buildBase } from "./base.ts";
import type { Config } from "./config.ts";
import { type Control, startControl } from "./control.ts";
import { observeLimits, readiness, statusOf } from "./daemon-status.ts";
import { type Demo, startDemo } from "./demo-provider.ts";
import { startDuties } from "./duties.ts";
import { exchangeParts } from "./exchange-parts.ts";
import { failureLogger } from "./failure-log.ts";
import { createIngress, type Ingress } from "./ingress/server.ts";
import { WAITS } from "./ingress/waits.ts";
import { LeafSource } from "./leaf-source.ts";
import { listen } from "./listen.ts";
import { createMetricsServer } from "./metrics-server.ts";
import { type Monitor, startMonitor } from "./monitor/monitor.ts";
import type { Rotations } from "./monitor/rotation.ts";
import { isOwnListener } from "./own-addresses.ts";
import { Parts } from "./parts.ts";
import type { AccessTokens } from "./pipeline/access-token.ts";
import { knowsClient } from "./pipeline/authenticate.ts";
import { Dialer } from "./pipeline/dial.ts";
import { ProxyError } from "./pipeline/errors.ts";
import type { Outcome } from "./pipeline/exchange.ts";
import { watchLoopLag } from "./pipeline/loop-lag.ts";
import { createOverloadGate, type OverloadGate, TICK_MS } from "./pipeline/overload.ts";
import { createPipeline, type PipelineOptions } from "./pipeline/pipeline.ts";
import { runTunnel } from "./pipeline/tunnel.ts";
import { createPolicySource, type PolicySource } from "./policy-source.ts";
import { recordReload } from "./reload-record.ts";
import { listenOn, proxyCredentials } from "./start-steps.ts";
import { followSubmissions } from "./submissions.ts";

export interface DaemonOptions {
  readonly config: Config;
  readonly version: string;
  readonly unlockers: readonly Unlocker[];
  /** What in the environment can give keys away and was allowed all the same; goes into the audit. */
  readonly dangers?: readonly string[];
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
  /** Why the vault is sealed; null while it is not. */
  sealed(): string | null;
  /** Drains: in-flight exchanges finish within `config.drainMs`, new ones get 503; then flushes and closes. */
  stop(): Promise<void>;
  /** Reads policy, catalog, prices and vault again, as a file change would. */
  reload(): Promise<{ readonly ok: boolean; readonly problems: readonly string[] }>;
  /** Ends every connection at once; `stop` then only has to flush. */
  kill(): void;
  readonly closed: Promise<void>;
}

/** A drill reaches no provider. */
const NO_TOKENS: AccessTokens = {
  take: () => {
    throw new ProxyError("no_usable_credential", "this is a drill");
  },
};
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
    const server = traffic.metricsServer;
    if (metrics && server) {
      base.state.listeners.set("metrics", await listenOn("listen.metrics", metrics, (at) => listen(server, at)));
    }
    return running(options, base, policy, traffic, parts);
  } catch (error) {
    await parts.close();
    throw error;
  }
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
  base.onVaultChange = () => {
    source.reload("vault").then(
      () => leafs.follow(source.current().interceptHosts),
      () => {},
    );
  };
  observeLimits(base, source);
  await leafs.follow(source.current().interceptHosts);
  const renewal = setInterval(() => void leafs.follow(source.current().interceptHosts), CERTIFICATE_CHECK_MS).unref();
  parts.keep({ close: () => clearInterval(renewal) });
  return { source, leafs };
}

interface Traffic {
  readonly ingress: Ingress;
  readonly metricsServer: Server | null;
  /** Reads policy, catalog, prices, submissions and vault again. */
  readonly reload: (trigger: string) => Promise<{ readonly ok: boolean; readonly problems: readonly string[] }>;
}

async function buildTraffic(options: DaemonOptions, base: Base, policy: PolicyParts, parts: Parts): Promise<Traffic> {
  const { config } = options;
  const { state, vault, metrics } = base;
  const demo = config.demo ? parts.keep(await startDemo(Date.now())) : null;
  const dialer = parts.keep(newDialer(options, base, demo));
  const monitor = parts.keep(newMonitor(options, base, policy, dialer));
  const submissions = parts.keep(followSubmissions({ vault, config, log: base.log, alerts: monitor.alerts }));
  base.view.refresh();
  base.onUnseal = () => submissions.apply();
  const reload: Traffic["reload"] = async (trigger) => {
    submissions.apply();
    base.view.refresh();
    const prices = base.prices.reload(trigger);
    const result = await policy.source.reload(trigger);
    return { ...result, ok: result.ok && prices.ok, problems: [...result.problems, ...prices.problems] };
  };
  const control: Control = parts.keep(
    await startControl(join(config.dataDir, "daemon.sock"), {
      status: () =>
        statusOf({ ...base, ...monitor, ...policy, version: options.version, policy: policy.source, dialer, ingress }),
      reload: () => reload("command"),
      seal: () => base.gate.seal(),
      unseal: (root) => base.gate.unsealWith(root),
      expectRoot: (root) => vault.expectRoot(root),
    }),
  );
  const duties = options.drill ? null : startDuties(base, { ...options, policy: policy.source, monitor }, parts);
  const pipelineOptions: PipelineOptions = {
    ...base,
    policy: () => policy.source.current(),
    tokens: () => base.view.tokens,
    ...exchangeParts(base, monitor),
    dialer,
    accessTokens: duties?.accessTokens ?? NO_TOKENS,
    vaultSealed: () => vault.sealed,
    draining: () => state.draining,
    gate: startGate(config, parts),
    record: recorder(base, control, monitor, duties?.rotations ?? null),
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
    maxConnectionsPerAddress: config.limits.connectionsPerAddress,
    waits: { ...WAITS, slowMs: config.limits.slowClientMs },
    draining: () => state.draining,
    vaultSealed: () => vault.sealed,
    refused: (reason) => metrics.denied(reason),
  });
  parts.keep({ close: () => ingress.destroy() });
  const ready = () => readiness(vault, state);
  const metricsServer = config.listen.metrics
    ? createMetricsServer(metrics, { ready, beforeScrape: () => base.outcomes.flush() })
    : null;
  if (metricsServer) parts.keepServer(metricsServer);
  return { ingress, metricsServer, reload };
}

/** Decides who may begin while there is too much to do; it listens to the event loop from now on. */
function startGate({ limits }: Config, parts: Parts): OverloadGate {
  const gate = createOverloadGate({
    maxPerClient: limits.connectionsPerClient,
    maxInFlight: limits.connections,
    nextTurn: setImmediate,
  });
  parts.keep(watchLoopLag(TICK_MS, (lateMs) => gate.tick(lateMs)));
  return gate;
}

function newMonitor(options: DaemonOptions, base: Base, { source }: PolicyParts, dialer: Dialer): Monitor {
  const { dataDir, monitor } = options.config;
  const checkMs = options.drill ? null : monitor.checkMs;
  base.limitHooks.countedTogether = (id) => {
    const provider = source.provider(base.view.byId(id)?.provider ?? "");
    return provider?.limitHeaders?.per === "address" ? provider.id : null;
  };
  return startMonitor({ ...base, dataDir, checkMs, dialer, policy: source, now: Date.now });
}

function recorder(
  base: Base,
  control: Control,
  monitor: Monitor,
  rotations: Rotations | null,
): PipelineOptions["record"] {
  const logInternal = failureLogger(base.log, "internal");
  return (outcome: Outcome, failure: ProxyError | null) => {
    base.state.inFlight--;
    base.outcomes.add(outcome);
    rotations?.outcome(outcome);
    control.publish(outcome);
    monitor.observe(outcome);
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
    socketsPerPool: options.config.limits.socketsPerPool,
    ...(options.testOnlyResolve ? { resolve: options.testOnlyResolve } : {}),
    ...(options.drill ? { resolve: async () => [] } : {}),
  });
}

function running(
  { config }: DaemonOptions,
  { state, log, gate }: Base,
  { source }: PolicyParts,
  { ingress, reload }: Traffic,
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
    sealed: () => gate.problem,
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
    reload: () => reload("signal"),
    kill: () => ingress.destroy(),
    closed: closed.promise,
  };
}
