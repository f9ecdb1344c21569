import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLoopbackIdentity, type LoopbackIdentity } from "../src/daemon/loopback-identity.ts";
import { HOST } from "./fixture.ts";
import type { LoadPlan } from "./load.ts";
import { type Running, startScript } from "./process.ts";
import { RIVALS } from "./rivals.ts";

/** What is measured: the same upstream behind every proxy, and how a client asks through it. */

export type Form = "direct" | "absolute" | "connect" | "base-url";

export interface Target {
  readonly name: string;
  readonly form: Form;
  /** Process whose CPU time and memory count; null for "direct". */
  readonly pid: number | null;
  plan(path: string): Pick<LoadPlan, "port" | "tls" | "host" | "ca" | "connect" | "request">;
}

export interface Bench {
  readonly upstream: Upstream;
  readonly targets: readonly Target[];
  readonly skipped: readonly string[];
  stop(): Promise<void>;
}

export interface Upstream {
  readonly port: number;
  readonly identity: LoopbackIdentity;
  /** What the other proxies show to clients. */
  readonly front: LoopbackIdentity;
  readonly dir: string;
}

export const FIELDS = "User-Agent: bench\r\nAccept: */*\r\n";

/** Starts the upstream and every proxy that is installed. */
export async function startBench(): Promise<Bench> {
  const dir = mkdtempSync(join(tmpdir(), "sidekey-bench-"));
  const identity = await createLoopbackIdentity(HOST, Date.now());
  const front = await createLoopbackIdentity(HOST, Date.now());
  const running = await startScript("upstream.ts", "others", { key: identity.keyPem, cert: identity.chainPem });
  const upstream: Upstream = { port: Number(running.line), identity, front, dir };
  writeFiles(upstream);
  const stops: (() => Promise<void>)[] = [running.stop];
  const targets: Target[] = [directTarget(upstream), ...(await sidekeyTargets(upstream, stops))];
  targets.push(...(await passthroughTargets(upstream, stops)));
  const skipped: string[] = [];
  for (const [program, start] of RIVALS) {
    if (!installed(program)) skipped.push(program);
    else targets.push(await start(upstream, stops));
  }
  return {
    upstream,
    targets,
    skipped,
    stop: async () => {
      for (const end of stops.reverse()) await end();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function writeFiles({ dir, identity, front }: Upstream): void {
  writeFileSync(join(dir, "upstream-ca.pem"), identity.caPem);
  writeFileSync(join(dir, "front.pem"), `${front.keyPem}\n${front.chainPem}`);
}

function directTarget(upstream: Upstream): Target {
  return {
    name: "direct",
    form: "direct",
    pid: null,
    plan: (path) => ({
      port: upstream.port,
      tls: "direct",
      host: HOST,
      ca: upstream.identity.caPem,
      connect: null,
      request: `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n${FIELDS}\r\n`,
    }),
  };
}

/** @param variant name and policy of a daemon that is another one than usual */
export async function sidekeyTargets(
  upstream: Pick<Upstream, "port" | "identity">,
  stops: (() => Promise<void>)[],
  variant: { readonly name: string; readonly policy?: string } = { name: "sidekey" },
): Promise<Target[]> {
  const running = await startScript("sidekey.ts", "proxy", {
    upstreamPort: upstream.port,
    caPem: upstream.identity.caPem,
    ...(variant.policy ? { policy: variant.policy } : {}),
  });
  stops.push(running.stop);
  const { port, token, caPem } = JSON.parse(running.line) as { port: number; token: string; caPem: string };
  const basic = `Proxy-Authorization: Basic ${Buffer.from(`app:${token}`).toString("base64")}\r\n`;
  return proxyTargets(variant.name, running, port, caPem, basic, [
    {
      name: variant.name,
      form: "base-url",
      pid: running.process.pid ?? null,
      plan: (path) => ({
        port,
        tls: "none",
        host: HOST,
        ca: "",
        connect: null,
        request: `GET /bench${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Api-Key: ${token}\r\n${FIELDS}\r\n`,
      }),
    },
  ]);
}

async function passthroughTargets(upstream: Upstream, stops: (() => Promise<void>)[]): Promise<Target[]> {
  const { front, identity, port } = upstream;
  const running = await startScript("passthrough.ts", "proxy", {
    upstreamPort: port,
    caPem: identity.caPem,
    host: HOST,
    key: front.keyPem,
    cert: front.chainPem,
  });
  stops.push(running.stop);
  return proxyTargets("node-passthrough", running, Number(running.line), front.caPem, "", []);
}

function proxyTargets(
  name: string,
  running: Running,
  port: number,
  ca: string,
  auth: string,
  more: Target[],
): Target[] {
  const pid = running.process.pid ?? null;
  return [
    { name, form: "absolute", pid, plan: (path) => absolutePlan(port, `http://${HOST}${path}`, HOST, auth) },
    { name, form: "connect", pid, plan: (path) => connectPlan(port, `${HOST}:443`, HOST, ca, path, auth) },
    ...more,
  ];
}

function absolutePlan(port: number, url: string, host: string, auth: string): ReturnType<Target["plan"]> {
  const request = `GET ${url} HTTP/1.1\r\nHost: ${host}\r\n${auth}${FIELDS}\r\n`;
  return { port, tls: "none", host: HOST, ca: "", connect: null, request };
}

export function connectPlan(
  port: number,
  authority: string,
  host: string,
  ca: string,
  path: string,
  auth: string,
): ReturnType<Target["plan"]> {
  return {
    port,
    tls: "connect",
    host: HOST,
    ca,
    connect: `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${auth}\r\n`,
    request: `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${FIELDS}\r\n`,
  };
}

function installed(program: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${program}`], { env: { PATH: `${pathNow()}:/usr/sbin` } }).status === 0;
}

function pathNow(): string {
  return "/usr/local/bin:/usr/bin:/bin";
}
