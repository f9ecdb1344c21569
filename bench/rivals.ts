import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { HOST } from "./fixture.ts";
import { spawnPinned, stop } from "./process.ts";
import { connectPlan, FIELDS, type Target, type Upstream } from "./targets.ts";

/** Other proxies, as far as they are installed, set up to do what sidekey does as nearly as they can. */

type StartOther = (upstream: Upstream, stops: (() => Promise<void>)[]) => Promise<Target>;

export const RIVALS: readonly (readonly [string, StartOther])[] = [
  ["squid", startSquid],
  ["nginx", startNginx],
  ["haproxy", startHaproxy],
  ["mitmdump", startMitmproxy],
];

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
