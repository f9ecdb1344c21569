import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import type { Dispatcher } from "undici";
import { readHead } from "../src/daemon/ingress/head.ts";
import { absoluteTarget } from "../src/daemon/ingress/target.ts";
import { createLog } from "../src/daemon/log.ts";
import { createMetrics } from "../src/daemon/metrics.ts";
import { createChooser } from "../src/daemon/pipeline/choose.ts";
import { nodeTimer, steadyClockUs } from "../src/daemon/pipeline/clock.ts";
import type { Dialer } from "../src/daemon/pipeline/dial.ts";
import type { Downstream, Incoming } from "../src/daemon/pipeline/exchange.ts";
import { createLimiter } from "../src/daemon/pipeline/limiter.ts";
import { OutcomeBatch } from "../src/daemon/pipeline/outcome-batch.ts";
import { createOverloadGate } from "../src/daemon/pipeline/overload.ts";
import { createPipeline } from "../src/daemon/pipeline/pipeline.ts";
import { PoolHealth } from "../src/daemon/pipeline/pool-health.ts";
import { createProviderLimits } from "../src/daemon/pipeline/provider-limits.ts";
import { RetryBudget } from "../src/daemon/pipeline/retry-budget.ts";
import { SecretPool } from "../src/daemon/pipeline/secret-pool.ts";
import { Splice } from "../src/daemon/pipeline/splice.ts";
import { createTripwire } from "../src/daemon/pipeline/tripwire.ts";
import { compilePolicy } from "../src/policy/compile.ts";
import { LimitTable } from "../src/policy/limit.ts";
import { parsePolicy } from "../src/policy/parse.ts";
import { NO_PRICES } from "../src/policy/price-table.ts";
import { parseProvider } from "../src/providers/schema.ts";
import { Secret } from "../src/secret.ts";
import { createVault } from "../src/store/create-vault.ts";
import type { Credential } from "../src/store/credentials.ts";
import { startUsageWriter } from "../src/store/usage.ts";
import { HOST, POLICY, POLICY_UNSCRUBBED, POLICY_WITHOUT_KEY, PROVIDER, PROVIDER_WITHOUT_KEY } from "./fixture.ts";

/** `keyless`: the same provider without a key to inject. `unscrubbed`: with one, and its answers pass unsearched. */
const VARIANTS = {
  keyed: { policy: POLICY, provider: PROVIDER },
  keyless: { policy: POLICY_WITHOUT_KEY, provider: PROVIDER_WITHOUT_KEY },
  unscrubbed: { policy: POLICY_UNSCRUBBED, provider: PROVIDER },
} as const;
export type PipelineVariant = keyof typeof VARIANTS;

/**
 * What sidekey's own stages cost for one request, without Node's HTTP server, undici, TLS and the kernel: microseconds
 * per exchange from the parsed head to the recorded outcome. The wire is a stub that answers at once, with 1 KB of JSON.
 */
export async function pipelineCost(exchanges: number, variant: PipelineVariant = "keyed"): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), "sidekey-bench-"));
  const vault = await createVault(dir, { kind: "file", path: join(dir, "root.key") });
  const { token } = vault.addClientToken("app", {}, "bench");
  const provider = parseProvider(VARIANTS[variant].provider, "bench.yaml");
  const { snapshot } = compilePolicy(
    parsePolicy(VARIANTS[variant].policy, "policy.yaml"),
    { providers: new Map([["bench", provider]]) },
    { credentials: new Map([["bench-main", { provider: "bench", environment: "live" }]]), clients: new Set(["app"]) },
    "bench",
  );
  const secrets = new SecretPool(
    () => new Map([["api_key", Secret.copyOf(Buffer.from(`sk-bench-${"k7Qz".repeat(6)}`))]]),
    5_000,
  );
  const usage = startUsageWriter(join(dir, "usage.db"), { maxQueue: exchanges });
  const sinks = {
    usage,
    metrics: createMetrics(),
    log: createLog({ level: "info", format: "json", write: () => {}, scrubber: secrets }),
  };
  const outcomes = new OutcomeBatch(sinks);
  const tokens = vault.loadTokenTable();
  const splice = new Splice();
  splice.attach(stubSocket, { authority: `${HOST}:443`, route: "bench", client: "app" });
  const run = createPipeline({
    policy: () => snapshot,
    tokens: () => tokens,
    ...neighbours(),
    secrets,
    splice,
    dialer: { pool: () => stubDispatcher } as unknown as Dialer,
    accessTokens: {
      take: () => {
        throw new Error("the bench's provider takes its key as it is stored");
      },
    },
    vaultSealed: () => false,
    draining: () => false,
    gate: createOverloadGate({ maxPerClient: 256, maxInFlight: 4096, nextTurn: setImmediate }),
    limitWaited: () => {},
    record: (outcome) => outcomes.add(outcome),
    now: Date.now,
  });
  const basic = `Basic ${Buffer.from(`app:${token}`).toString("base64")}`;
  const fields = ["Host", "localhost", "Proxy-Authorization", basic, "User-Agent", "bench", "Accept", "*/*"];
  const batch = async (count: number): Promise<number> => {
    const startedAt = performance.now();
    for (let n = 0; n < count; n++) await run(incoming(fields));
    return ((performance.now() - startedAt) / count) * 1000;
  };
  try {
    await batch(exchanges / 4);
    return await batch(exchanges);
  } finally {
    outcomes.close();
    await usage.close();
    sinks.log.close();
    secrets.close();
    vault.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** What the pipeline asks about keys, limits and prices. */
function neighbours() {
  return {
    chooser: createChooser(
      { byName: () => CREDENTIAL, ownedBy: () => undefined, isOpen: () => true, ramps: new Map() },
      { ready: () => "ready" },
    ),
    health: new PoolHealth({
      usable: () => true,
      verifiedAt: () => null,
      heldUntil: () => null,
      onRefused: () => {},
      now: Date.now,
      random: Math.random,
    }),
    liveLimits: createProviderLimits({
      nowMs: Date.now,
      setTimer: nodeTimer,
      random: Math.random,
      countedTogether: () => null,
    }),
    limitsNowMs: Date.now,
    retryBudget: new RetryBudget(Date.now),
    retried: () => {},
    triedBefore: () => {},
    prices: () => NO_PRICES,
    unpriced: () => {},
    tripwire: createTripwire({ values: () => null, fingerprint: () => null, found: () => {}, onFailure: () => {} }),
    setTimer: nodeTimer,
    random: Math.random,
    limiter: createLimiter({ table: new LimitTable(), nowUs: steadyClockUs, setTimer: nodeTimer }),
  };
}

const CREDENTIAL: Credential = {
  id: "bench",
  name: "bench-main",
  provider: "bench",
  environment: "live",
  category: "market-data",
  owner: { kind: "service" },
  hosts: ["localhost"],
  fields: ["api_key"],
  state: "enabled",
  expiresAt: null,
  createdAt: 0,
  metadata: {},
  versions: [{ number: 1, stage: "current", createdAt: 0, fingerprint: "000000000000" }],
};

function incoming(fields: readonly string[]): Incoming {
  return {
    form: "absolute",
    method: "GET",
    fields,
    parse: () => ({
      target: absoluteTarget(readHead("GET", "http://localhost/1k", "1.1", fields)),
      body: null,
      bodyLength: null,
      expectContinue: false,
      websocketKey: null,
    }),
    upgradeHead: null,
    remoteAddress: "127.0.0.1",
    connectAuthorization: null,
    downstream: stubDownstream,
    arrivedAt: performance.now(),
  };
}

const stubDownstream: Downstream = {
  headSent: false,
  sendInformational() {},
  sendContinue() {},
  sendHead() {},
  write: () => true,
  onDrain() {},
  end() {},
  abort() {},
  onClose() {},
  switchProtocols() {
    throw new Error("not part of this benchmark");
  },
};

const BODY = Buffer.alloc(1024, '{"symbol":"AAPL","price":187.44,"volume":51005900,"name":"Apple Inc."},', "latin1");
const ANSWER = [
  ["Date", "Sat, 28 Nov 2026 05:00:00 GMT"],
  ["Content-Type", "application/json; charset=utf-8"],
  ["Content-Length", String(BODY.length)],
  ["Cache-Control", "no-cache"],
  ["X-RateLimit-Limit", "300"],
  ["X-RateLimit-Remaining", "299"],
  ["X-Request-Id", "8b1c8f8e-5a43-4d0e-9a38-0f6ed1b4c7a1"],
  ["Strict-Transport-Security", "max-age=31536000"],
  ["Vary", "Origin"],
].flatMap((field) => field.map((text) => Buffer.from(text)));

/** Looks like a verified socket to the splice, and drops what it is given. */
const stubSocket = {
  encrypted: true,
  authorized: true,
  writableCorked: 0,
  write(_bytes: Uint8Array, _encoding: unknown, done?: () => void): boolean {
    done?.();
    return true;
  },
} as unknown as TLSSocket;

const stubDispatcher = {
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const controller = { rawHeaders: ANSWER, rawTrailers: [] } as unknown as Dispatcher.DispatchController;
    handler.onRequestStart?.(controller, {});
    stubSocket.write(`GET / HTTP/1.1\r\n${(options.headers as string[]).join("\r\n")}\r\n\r\n`, "latin1");
    handler.onResponseStart?.(controller, 200, {}, "OK");
    handler.onResponseData?.(controller, BODY);
    handler.onResponseEnd?.(controller, {});
    return true;
  },
} as unknown as Dispatcher;
