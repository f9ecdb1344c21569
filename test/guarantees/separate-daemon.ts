import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { Config } from "../../src/daemon/config.ts";
import { DEFAULT_LIMITS, type LimitsConfig } from "../../src/daemon/config-limits.ts";
import { createRoot } from "../../src/daemon/ingress/certificate-authority.ts";
import { Secret } from "../../src/secret.ts";
import { createVault } from "../../src/store/create-vault.ts";
import { addCredential, type TestCredential } from "../support/running-sidekey.ts";
import { tempDir } from "../support/temp-dir.ts";

/** What a daemon process is told; it never holds a key. */
export interface ProcessPlan {
  readonly home: string;
  readonly dataDir: string;
  readonly rootKey: string;
  readonly policyFile: string;
  readonly providersDir: string;
  readonly hosts: readonly (readonly [string, { readonly port: number; readonly caPem: string }])[];
  readonly secretsIdleMs: number;
  /** Keeps every opened secret as a string or in a Buffer. */
  readonly leak: "string" | "buffer" | null;
  readonly limits: LimitsConfig;
}

export interface SeparateOptions {
  readonly policy: string;
  readonly providers: Readonly<Record<string, string>>;
  readonly credentials: Readonly<Record<string, TestCredential>>;
  readonly hosts: ProcessPlan["hosts"];
  readonly clients: readonly string[];
  readonly leak?: ProcessPlan["leak"];
  readonly secretsIdleMs?: number;
  /** Instead of the defaults. */
  readonly limits?: Partial<LimitsConfig>;
}

export interface SeparateDaemon {
  readonly pid: number;
  readonly port: number;
  readonly metricsUrl: string;
  readonly dataDir: string;
  readonly home: string;
  readonly caPem: string;
  readonly tokens: Readonly<Record<string, string>>;
  log(): string;
  /** Writes node's diagnostic report of the daemon to `file`. */
  report(file: string): Promise<void>;
  stop(): Promise<void>;
  /** `kill -9`, then another process over the same data, on another port. */
  killAndRestart(): Promise<SeparateDaemon>;
}

export function daemonConfig(plan: ProcessPlan): Config {
  return {
    file: null,
    dataDir: plan.dataDir,
    configDir: plan.home,
    listen: {
      proxy: { host: "127.0.0.1", port: 0 },
      proxySocket: null,
      admin: null,
      metrics: { host: "127.0.0.1", port: 0 },
    },
    localNames: ["localhost", "sidekey"],
    unlock: [],
    policyFile: plan.policyFile,
    providersDir: plan.providersDir,
    pricesFile: join(plan.home, "prices.yaml"),
    upstream: {
      hosts: new Map(plan.hosts.map(([name, { port, caPem }]) => [name, { address: "127.0.0.1", port, ca: caPem }])),
      proxy: null,
    },
    monitor: { checkMs: null },
    secretsIdleMs: plan.secretsIdleMs,
    usage: { flushMs: 50, keepDays: 90 },
    log: { level: "info", format: "json" },
    demo: false,
    limits: plan.limits,
    drainMs: 2_000,
    warnings: [],
  };
}

/** Fills a vault here, then starts the daemon over it in another process. */
export async function startSeparateDaemon(t: TestContext, options: SeparateOptions): Promise<SeparateDaemon> {
  const home = tempDir(t);
  const dataDir = join(home, "data");
  const providersDir = join(home, "providers");
  for (const dir of [dataDir, providersDir]) mkdirSync(dir, { mode: 0o700 });
  for (const [id, text] of Object.entries(options.providers)) writeFileSync(join(providersDir, `${id}.yaml`), text);
  const policyFile = join(home, "policy.yaml");
  writeFileSync(policyFile, options.policy);
  chmodSync(policyFile, 0o600);
  const rootKey = join(dataDir, "root.key");
  const { tokens, caPem } = await fillVault(dataDir, rootKey, options);
  const plan: ProcessPlan = {
    home,
    dataDir,
    rootKey,
    policyFile,
    providersDir,
    hosts: options.hosts,
    secretsIdleMs: options.secretsIdleMs ?? 300,
    leak: options.leak ?? null,
    limits: { ...DEFAULT_LIMITS, ...options.limits },
  };
  const planFile = join(home, "plan.json");
  writeFileSync(planFile, JSON.stringify(plan));
  return launch(t, planFile, { dataDir, home, caPem, tokens });
}

type Kept = Pick<SeparateDaemon, "dataDir" | "home" | "caPem" | "tokens">;

async function launch(t: TestContext, planFile: string, kept: Kept): Promise<SeparateDaemon> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "daemon-process.ts"), planFile], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { PATH: process.env.PATH },
  });
  t.after(() => child.kill("SIGKILL"));
  const said = linesOf(child);
  const errors: string[] = [];
  child.stderr?.setEncoding("utf8").on("data", (text: string) => errors.push(text));
  const first = await said.next();
  if (first === null) throw new Error(`the daemon did not start: ${errors.join("")}`);
  const listening = JSON.parse(first) as { proxy: string; metrics: string };
  const exited = new Promise((resolve) => child.once("exit", resolve));
  return {
    ...kept,
    pid: child.pid ?? 0,
    port: Number(listening.proxy.split(":").pop()),
    metricsUrl: `http://${listening.metrics}`,
    log: () => errors.join(""),
    report: async (file) => {
      child.stdin?.write(`report ${file}\n`);
      await said.next();
    },
    stop: async () => {
      child.stdin?.write("stop\n");
      await exited;
    },
    killAndRestart: async () => {
      child.kill("SIGKILL");
      await exited;
      return launch(t, planFile, kept);
    },
  };
}

/** A vault with a CA, the credentials and a token for each client. */
export async function fillVault(
  dataDir: string,
  rootKey: string,
  options: Pick<SeparateOptions, "credentials" | "clients">,
): Promise<{ tokens: Record<string, string>; caPem: string }> {
  const vault = await createVault(dataDir, { kind: "file", path: rootKey });
  try {
    const root = await createRoot(Date.now());
    vault.putSealed("ca-root-certificate", Secret.copyOf(Buffer.from(root.certificatePem, "ascii")), "test");
    vault.putSealed("ca-root", root.privateKey, "test");
    for (const [name, credential] of Object.entries(options.credentials)) addCredential(vault, name, credential);
    const tokens: Record<string, string> = {};
    for (const client of options.clients) tokens[client] = vault.addClientToken(client, {}, "test").token;
    return { tokens, caPem: root.certificatePem };
  } finally {
    vault.close();
  }
}

/** The child's lines one by one; null once it has ended. */
function linesOf(child: ChildProcess): { next(): Promise<string | null> } {
  const lines: string[] = [];
  let ended = false;
  let wake = (): void => {};
  let rest = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    lines.push(...parts);
    wake();
  });
  child.once("exit", () => {
    ended = true;
    wake();
  });
  return {
    async next() {
      while (lines.length === 0 && !ended) await new Promise<void>((resolve) => (wake = resolve));
      return lines.shift() ?? null;
    },
  };
}
