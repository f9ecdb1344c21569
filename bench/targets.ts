import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLoopbackIdentity, type LoopbackIdentity } from "../src/daemon/loopback-identity.ts";
import { HOST } from "./fixture.ts";
import type { LoadPlan } from "./load.ts";
import { type Running, spawnPinned, startScript, stop } from "./process.ts";

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
  readonly upstreamPort: number;
  readonly targets: readonly Target[];
  readonly skipped: readonly string[];
  stop(): Promise<void>;
}

interface Upstream {
  readonly port: number;
  readonly identity: LoopbackIdentity;
  /** What the other proxies show to clients. */
  readonly front: LoopbackIdentity;
  readonly dir: string;
}

const FIELDS = "User-Agent: bench\r\nAccept: */*\r\n";

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
  for (const [program, start] of OTHERS) {
    if (!installed(program)) skipped.push(program);
    else targets.push(await start(upstream, stops));
  }
  return {
    upstreamPort: upstream.port,
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

async function sidekeyTargets(upstream: Upstream, stops: (() => Promise<void>)[]): Promise<Target[]> {
  const running = await startScript("sidekey.ts", "proxy", {
    upstreamPort: upstream.port,
    caPem: upstream.identity.caPem,
  });
  stops.push(running.stop);
  const { port, token, caPem } = JSON.parse(running.line) as { port: number; token: string; caPem: string };
  const basic = `Proxy-Authorization: Basic ${Buffer.from(`app:${token}`).toString("base64")}\r\n`;
  return proxyTargets("sidekey", running, port, caPem, basic, [
    {
      name: "sidekey",
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

function connectPlan(
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

type StartOther = (upstream: Upstream, stops: (() => Promise<void>)[]) => Promise<Target>;

const OTHERS: readonly (readonly [string, StartOther])[] = [
  ["squid", startSquid],
  ["nginx", startNginx],
  ["haproxy", startHaproxy],
  ["mitmdump", startMitmproxy],
];

function installed(program: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${program}`], { env: { PATH: `${pathNow()}:/usr/sbin` } }).status === 0;
}

function pathNow(): string {
  return "/usr/local/bin:/usr/bin:/bin";
}

async function startSquid(upstream: Upstream, stops: (() => Promise<void>)[]): Promise<Target> {
  const { dir } = upstream;
  const port = await freePort();
  const root = squidAuthority(dir);
  spawnSync("/usr/lib/squid/security_file_certgen", ["-c", "-s", join(dir, "certs"), "-M", "4MB"]);
  spawnSync("chown", ["-R", "proxy", dir]);
  writeFileSync(
    join(dir, "squid.conf"),
    [
      `http_port 127.0.0.1:${port} ssl-bump tls-cert=${root.file} generate-host-certificates=on dynamic_cert_mem_cache_size=4MB`,
      `sslcrtd_program /usr/lib/squid/security_file_certgen -s ${join(dir, "certs")} -M 4MB`,
      `tls_outgoing_options cafile=${join(dir, "upstream-ca.pem")}`,
      "acl step1 at_step SslBump1",
      "ssl_bump peek step1",
      "ssl_bump bump all",
      "http_access allow all",
      "cache deny all",
      "access_log none",
      "cache_log /dev/null",
      "pid_filename none",
      `coredump_dir ${dir}`,
      "shutdown_lifetime 1 second",
    ].join("\n"),
  );
  const child = spawnPinned("/usr/sbin/squid", ["-N", "-f", join(dir, "squid.conf")], "proxy");
  stops.push(() => stop(child));
  await answers(port);
  const authority = `${HOST}:${upstream.port}`;
  return {
    name: "squid ssl-bump",
    form: "connect",
    pid: child.pid ?? null,
    plan: (path) => connectPlan(port, authority, authority, root.pem, path, ""),
  };
}

/** Squid signs with an RSA or EC root of its own; openssl makes one in a line. */
function squidAuthority(dir: string): { file: string; pem: string } {
  const file = join(dir, "squid-root.pem");
  const made = spawnSync("openssl", [
    ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=bench".split(" "),
    "-keyout",
    `${file}.key`,
    "-out",
    `${file}.crt`,
  ]);
  if (made.status !== 0) throw new Error("openssl could not make squid's root certificate");
  spawnSync("sh", ["-c", `cat ${file}.key ${file}.crt > ${file}`]);
  return { file, pem: spawnSync("cat", [`${file}.crt`]).stdout.toString() };
}

async function startNginx(upstream: Upstream, stops: (() => Promise<void>)[]): Promise<Target> {
  const port = await freePort();
  const dir = join(upstream.dir, "nginx");
  mkdirSync(dir);
  writeFileSync(
    join(dir, "nginx.conf"),
    `worker_processes 1; daemon off; master_process off; pid ${dir}/pid; error_log /dev/null;
events { worker_connections 1024; }
http {
  access_log off;
  ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${dir}/${name};`).join(" ")}
  upstream up { server 127.0.0.1:${upstream.port}; keepalive 64; keepalive_requests 10000000; }
  server {
    listen 127.0.0.1:${port}; keepalive_requests 10000000;
    location / {
      proxy_pass https://up; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host ${HOST}; proxy_set_header Authorization "Bearer nginx-bench-key";
      proxy_ssl_server_name on; proxy_ssl_name ${HOST}; proxy_ssl_verify on; proxy_ssl_verify_depth 3;
      proxy_ssl_trusted_certificate ${join(upstream.dir, "upstream-ca.pem")};
    }
  }
}`,
  );
  const child = spawnPinned("/usr/sbin/nginx", ["-c", join(dir, "nginx.conf")], "proxy");
  stops.push(() => stop(child));
  await answers(port);
  return baseUrlTarget("nginx (reverse)", child.pid, port);
}

async function startHaproxy(upstream: Upstream, stops: (() => Promise<void>)[]): Promise<Target> {
  const port = await freePort();
  const file = join(upstream.dir, "haproxy.cfg");
  writeFileSync(
    file,
    `global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend f
  bind 127.0.0.1:${port}
  default_backend b
backend b
  http-reuse always
  http-request set-header Authorization "Bearer haproxy-bench-key"
  server s 127.0.0.1:${upstream.port} ssl verify required ca-file ${join(upstream.dir, "upstream-ca.pem")} sni str(${HOST}) verifyhost ${HOST}
`,
  );
  const child = spawnPinned("/usr/sbin/haproxy", ["-f", file, "-db"], "proxy");
  stops.push(() => stop(child));
  await answers(port);
  return baseUrlTarget("haproxy (reverse)", child.pid, port);
}

async function startMitmproxy(upstream: Upstream, stops: (() => Promise<void>)[]): Promise<Target> {
  const port = await freePort();
  const conf = join(upstream.dir, "mitm");
  const child = spawnPinned(
    "mitmdump",
    [
      "-q",
      "-p",
      String(port),
      "--listen-host",
      "127.0.0.1",
      "--set",
      `confdir=${conf}`,
      "--set",
      "stream_large_bodies=1k",
      "--set",
      `ssl_verify_upstream_trusted_ca=${join(upstream.dir, "upstream-ca.pem")}`,
    ],
    "proxy",
  );
  stops.push(() => stop(child));
  await answers(port);
  const authority = `${HOST}:${upstream.port}`;
  const ca = spawnSync("cat", [join(conf, "mitmproxy-ca-cert.pem")]).stdout.toString();
  return {
    name: "mitmproxy",
    form: "connect",
    pid: child.pid ?? null,
    plan: (path) => connectPlan(port, authority, authority, ca, path, ""),
  };
}

function baseUrlTarget(name: string, pid: number | undefined, port: number): Target {
  const request = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${FIELDS}\r\n`;
  return {
    name,
    form: "base-url",
    pid: pid ?? null,
    plan: (path) => ({ port, tls: "none", host: HOST, ca: "", connect: null, request: request(path) }),
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}

async function answers(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => {
        socket.destroy();
        resolve(true);
      });
      socket.once("error", () => resolve(false));
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing listens on port ${port}`);
}
