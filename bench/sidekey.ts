import { mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Config } from "../src/daemon/config.ts";
import { DEFAULT_LIMITS } from "../src/daemon/config-limits.ts";
import { startDaemon } from "../src/daemon/daemon.ts";
import { createRoot } from "../src/daemon/ingress/certificate-authority.ts";
import { Secret } from "../src/secret.ts";
import { createVault } from "../src/store/create-vault.ts";
import type { Vault } from "../src/store/vault.ts";
import { FLOOD_HOST, FLOOD_PROVIDER, HOST, POLICY_WITH_FLOOD, PROVIDER } from "./fixture.ts";

/**
 * A whole sidekey for the benchmarks, in a process of its own: vault, policy with a limit, usage, metrics, log to a
 * file, injection. Reads `{ upstreamPort, caPem }` from stdin; prints one JSON line with what a client needs.
 */

interface Plan {
  readonly upstreamPort: number;
  readonly caPem: string;
  /** Another policy than the usual one. */
  readonly policy?: string;
  /** Where the route of the second client leads, if anything is to be sent there. */
  readonly flood?: { readonly port: number; readonly caPem: string };
  /** Instead of the defaults. */
  readonly limits?: Config["limits"];
}

process.stdin.once("data", (line) => void start(JSON.parse(line.toString()) as Plan));

async function start(plan: Plan): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), "sidekey-bench-"));
  const dataDir = join(home, "data");
  mkdirSync(dataDir, { mode: 0o700 });
  writeFileSync(join(home, "policy.yaml"), plan.policy ?? POLICY_WITH_FLOOD, { mode: 0o600 });
  mkdirSync(join(home, "providers"));
  writeFileSync(join(home, "providers", "bench.yaml"), PROVIDER, { mode: 0o600 });
  writeFileSync(join(home, "providers", "flood.yaml"), FLOOD_PROVIDER, { mode: 0o600 });
  const unlocker = { kind: "file" as const, path: join(dataDir, "root.key") };
  const vault = await createVault(dataDir, unlocker);
  const root = await createRoot(Date.now());
  vault.putSealed("ca-root-certificate", Secret.copyOf(Buffer.from(root.certificatePem, "ascii")), "bench");
  vault.putSealed("ca-root", root.privateKey, "bench");
  const tokens = {
    token: addClient(vault, "app", "bench", HOST),
    floodToken: addClient(vault, "flood", "flood", FLOOD_HOST),
  };
  vault.close();
  const log = openSync(join(home, "sidekey.log"), "a", 0o600);
  const daemon = await startDaemon({
    config: config(home, dataDir, plan),
    version: "bench",
    unlockers: [unlocker],
    writeLog: (bytes) => writeSync(log, bytes),
  });
  const port = Number(daemon.listening.proxy.split(":").pop());
  process.stdout.write(`${JSON.stringify({ port, ...tokens, caPem: root.certificatePem })}\n`);
  process.once("SIGTERM", () => {
    void daemon.stop().then(() => {
      rmSync(home, { recursive: true, force: true });
      process.exit(0);
    });
  });
}

/** A client and the credential of its provider; returns the client's token. */
function addClient(vault: Vault, client: string, provider: string, host: string): string {
  vault.addCredential(
    {
      name: `${provider}-main`,
      provider,
      environment: "live",
      category: "market-data",
      hosts: [host],
      owner: { kind: "service" },
    },
    new Map([["api_key", Secret.copyOf(Buffer.from(`sk-bench-${"k".repeat(40)}`))]]),
    "bench",
  );
  return vault.addClientToken(client, {}, "bench").token;
}

function config(home: string, dataDir: string, plan: Plan): Config {
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
    localNames: ["localhost"],
    unlock: [],
    policyFile: join(home, "policy.yaml"),
    providersDir: join(home, "providers"),
    pricesFile: join(home, "prices.yaml"),
    upstream: {
      hosts: new Map([
        [HOST, { address: "127.0.0.1", port: plan.upstreamPort, ca: plan.caPem }],
        ...(plan.flood
          ? ([[FLOOD_HOST, { address: "127.0.0.1", port: plan.flood.port, ca: plan.flood.caPem }]] as const)
          : []),
      ]),
      proxy: null,
    },
    monitor: { checkMs: null },
    secretsIdleMs: 5_000,
    usage: { flushMs: 1_000, keepDays: 90 },
    log: { level: "info", format: "json" },
    demo: false,
    limits: plan.limits ?? DEFAULT_LIMITS,
    drainMs: 1_000,
    warnings: [],
  };
}
