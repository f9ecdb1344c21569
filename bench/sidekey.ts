import { mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Config } from "../src/daemon/config.ts";
import { startDaemon } from "../src/daemon/daemon.ts";
import { createRoot } from "../src/daemon/ingress/certificate-authority.ts";
import { Secret } from "../src/secret.ts";
import { createVault } from "../src/store/create-vault.ts";
import { HOST, POLICY, PROVIDER } from "./fixture.ts";

/**
 * A whole sidekey for the benchmarks, in a process of its own: vault, policy with a limit, usage, metrics, log to a
 * file, injection. Reads `{ upstreamPort, caPem }` from stdin; prints one JSON line with what a client needs.
 */

interface Plan {
  readonly upstreamPort: number;
  readonly caPem: string;
  /** Instead of the defaults. */
  readonly limits?: Config["limits"];
}

process.stdin.once("data", (line) => void start(JSON.parse(line.toString()) as Plan));

async function start(plan: Plan): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), "sidekey-bench-"));
  const dataDir = join(home, "data");
  mkdirSync(dataDir, { mode: 0o700 });
  writeFileSync(join(home, "policy.yaml"), POLICY, { mode: 0o600 });
  mkdirSync(join(home, "providers"));
  writeFileSync(join(home, "providers", "bench.yaml"), PROVIDER, { mode: 0o600 });
  const unlocker = { kind: "file" as const, path: join(dataDir, "root.key") };
  const vault = await createVault(dataDir, unlocker);
  const root = await createRoot(Date.now());
  vault.putSealed("ca-root-certificate", Secret.copyOf(Buffer.from(root.certificatePem, "ascii")), "bench");
  vault.putSealed("ca-root", root.privateKey, "bench");
  vault.addCredential(
    {
      name: "bench-main",
      provider: "bench",
      environment: "live",
      category: "market-data",
      hosts: [HOST],
      owner: { kind: "service" },
    },
    new Map([["api_key", Secret.copyOf(Buffer.from(`sk-bench-${"k".repeat(40)}`))]]),
    "bench",
  );
  const { token } = vault.addClientToken("app", {}, "bench");
  vault.close();
  const log = openSync(join(home, "sidekey.log"), "a", 0o600);
  const daemon = await startDaemon({
    config: config(home, dataDir, plan),
    version: "bench",
    unlockers: [unlocker],
    writeLog: (bytes) => writeSync(log, bytes),
  });
  process.stdout.write(
    `${JSON.stringify({ port: Number(daemon.listening.proxy.split(":").pop()), token, caPem: root.certificatePem })}\n`,
  );
  process.once("SIGTERM", () => {
    void daemon.stop().then(() => {
      rmSync(home, { recursive: true, force: true });
      process.exit(0);
    });
  });
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
    upstream: {
      hosts: new Map([[HOST, { address: "127.0.0.1", port: plan.upstreamPort, ca: plan.caPem }]]),
      proxy: null,
    },
    monitor: { checkMs: null },
    secretsIdleMs: 5_000,
    usage: { flushMs: 1_000, keepDays: 90 },
    log: { level: "info", format: "json" },
    demo: false,
    limits: plan.limits ?? { connections: 4096, connectionsPerClient: 256 },
    drainMs: 1_000,
    warnings: [],
  };
}
