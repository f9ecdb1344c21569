import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import type { Config } from "../../src/daemon/config.ts";
import { DEFAULT_LIMITS } from "../../src/daemon/config-limits.ts";
import { type Daemon, startDaemon } from "../../src/daemon/daemon.ts";
import { createRoot } from "../../src/daemon/ingress/certificate-authority.ts";
import { Secret } from "../../src/secret.ts";
import { createVault } from "../../src/store/create-vault.ts";
import type { Vault } from "../../src/store/vault.ts";
import { tempDir } from "./temp-dir.ts";

/** The catalog that ships with sidekey. */
export const CATALOG_DIR = fileURLToPath(new URL("../../config/providers", import.meta.url));

export interface TestCredential {
  readonly provider: string;
  readonly environment?: string;
  readonly category?: string;
  readonly hosts: readonly string[];
  readonly fields: Readonly<Record<string, string>>;
  readonly ownerUser?: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt?: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

export interface SidekeyOptions {
  readonly policy: string;
  /** By name. */
  readonly credentials?: Readonly<Record<string, TestCredential>>;
  /** Clients that get a token. */
  readonly clients?: readonly string[];
  /** YAML by provider id; without it the shipped catalog is used. */
  readonly providers?: Readonly<Record<string, string>>;
  /** Content of prices.yaml; without it there is none. */
  readonly prices?: string;
  /** By `host` or `host:port`: where that name really leads, and who signs for it. */
  readonly hosts?: Readonly<Record<string, { readonly port: number; readonly caPem: string | null }>>;
  readonly config?: Partial<Config>;
  readonly resolve?: (host: string) => Promise<readonly string[]>;
}

export interface RunningSidekey {
  readonly daemon: Daemon;
  readonly port: number;
  readonly metricsUrl: string;
  readonly dataDir: string;
  readonly policyFile: string;
  /** PEM of the root that clients have to trust. */
  readonly caPem: string;
  /** Tokens by client. */
  readonly tokens: Readonly<Record<string, string>>;
  /** `http://client:token@127.0.0.1:port` */
  proxyUrl(client: string): string;
  /** Everything logged so far. */
  log(): string;
  /** The `request` lines logged so far, parsed. */
  requests(): Record<string, unknown>[];
  /** Waits until as many request lines are there. */
  requestsLogged(count: number): Promise<Record<string, unknown>[]>;
  /** Changes the vault as the CLI would: from outside the daemon. */
  withVault(change: (vault: Vault) => void): Promise<void>;
  /** Stops this daemon and starts another one on the same data directory, on another port. */
  restart(): Promise<RunningSidekey>;
}

/** What outlives one daemon. */
interface Home {
  readonly config: Config;
  readonly unlocker: { readonly kind: "file"; readonly path: string };
  readonly tokens: Readonly<Record<string, string>>;
  readonly caPem: string;
  readonly options: SidekeyOptions;
}

/** A whole daemon in this process, with a real vault, real files and real sockets; it stops when the test ends. */
export async function startSidekey(t: TestContext, options: SidekeyOptions): Promise<RunningSidekey> {
  const home = tempDir(t);
  const dataDir = join(home, "data");
  const unlocker = { kind: "file" as const, path: join(dataDir, "root.key") };
  mkdirSync(dataDir, { mode: 0o700 });
  const { tokens, caPem } = await fillVault(dataDir, unlocker, options);
  const policyFile = join(home, "policy.yaml");
  writeFileSync(policyFile, options.policy, { mode: 0o600 });
  chmodSync(policyFile, 0o600);
  if (options.prices !== undefined) writeFileSync(join(home, "prices.yaml"), options.prices, { mode: 0o600 });
  const config = { ...testConfig(home, dataDir, policyFile, options), ...options.config };
  return runSidekey(t, { config, unlocker, tokens, caPem, options });
}

async function runSidekey(t: TestContext, home: Home): Promise<RunningSidekey> {
  const { config, unlocker, tokens, caPem, options } = home;
  const { dataDir, policyFile } = config;
  const lines: Buffer[] = [];
  const daemon = await startDaemon({
    config,
    version: "test",
    unlockers: [unlocker],
    writeLog: (bytes) => lines.push(Buffer.from(bytes)),
    ...(options.resolve ? { testOnlyResolve: options.resolve } : {}),
  });
  t.after(async () => {
    daemon.kill();
    await daemon.stop();
  });
  const port = Number(daemon.listening.proxy.split(":").pop());
  const log = (): string => Buffer.concat(lines).toString("utf8");
  const requests = (): Record<string, unknown>[] =>
    log()
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter((line) => line.msg === "request");
  return {
    daemon,
    port,
    metricsUrl: `http://${daemon.listening.metrics}`,
    dataDir,
    policyFile,
    caPem,
    tokens,
    proxyUrl: (client) => `http://${client}:${tokens[client]}@127.0.0.1:${port}`,
    log,
    requests,
    requestsLogged: async (count) => {
      const deadline = performance.now() + 10_000;
      while (requests().length < count && performance.now() < deadline) await pause(10);
      return requests();
    },
    withVault: async (change) => {
      const { openVault } = await import("../../src/store/vault.ts");
      const vault = await openVault(dataDir);
      try {
        await vault.unseal([unlocker]);
        change(vault);
      } finally {
        vault.close();
      }
    },
    restart: async () => {
      await daemon.stop();
      return runSidekey(t, home);
    },
  };
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function fillVault(
  dataDir: string,
  unlocker: { kind: "file"; path: string },
  options: SidekeyOptions,
): Promise<{ tokens: Record<string, string>; caPem: string }> {
  const vault = await createVault(dataDir, unlocker);
  try {
    const root = await createRoot(Date.now());
    vault.putSealed("ca-root-certificate", Secret.copyOf(Buffer.from(root.certificatePem, "ascii")), "test");
    vault.putSealed("ca-root", root.privateKey, "test");
    for (const [name, credential] of Object.entries(options.credentials ?? {})) addCredential(vault, name, credential);
    const tokens: Record<string, string> = {};
    for (const client of options.clients ?? ["app"]) tokens[client] = vault.addClientToken(client, {}, "test").token;
    return { tokens, caPem: root.certificatePem };
  } finally {
    vault.close();
  }
}

/** Stores one credential; also for tests that add one while the daemon runs. */
export function addCredential(vault: Vault, name: string, credential: TestCredential): void {
  const fields = new Map(
    Object.entries(credential.fields).map(([field, text]) => [field, Secret.copyOf(Buffer.from(text, "latin1"))]),
  );
  vault.addCredential(
    {
      name,
      provider: credential.provider,
      environment: credential.environment ?? "live",
      category: credential.category ?? "market-data",
      hosts: credential.hosts,
      owner: credential.ownerUser ? { kind: "user", id: credential.ownerUser } : { kind: "service" },
      expiresAt: credential.expiresAt ?? null,
      metadata: credential.metadata ?? {},
    },
    fields,
    "test",
  );
}

function testConfig(home: string, dataDir: string, policyFile: string, options: SidekeyOptions): Config {
  const hosts = new Map(
    Object.entries(options.hosts ?? {}).map(([name, { port, caPem }]) => [
      name,
      { address: "127.0.0.1", port, ca: caPem },
    ]),
  );
  return {
    file: null,
    dataDir,
    configDir: home,
    listen: {
      proxy: { host: "127.0.0.1", port: 0 },
      proxySocket: null,
      admin: null,
      metrics: { host: "127.0.0.1", port: 0 },
    },
    localNames: ["localhost", "sidekey"],
    unlock: [],
    policyFile,
    providersDir: providersDir(home, options),
    pricesFile: join(home, "prices.yaml"),
    upstream: { hosts, proxy: null },
    monitor: { checkMs: null },
    secretsIdleMs: 200,
    usage: { flushMs: 50, keepDays: 90 },
    log: { level: "info", format: "json" },
    demo: false,
    limits: DEFAULT_LIMITS,
    drainMs: 5_000,
    warnings: [],
  };
}

function providersDir(home: string, { providers }: SidekeyOptions): string {
  if (!providers) return CATALOG_DIR;
  const dir = join(home, "providers");
  mkdirSync(dir);
  for (const [id, text] of Object.entries(providers)) writeFileSync(join(dir, `${id}.yaml`), text);
  return dir;
}
