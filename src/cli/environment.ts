import { isAbsolute } from "node:path";
import { type TrustFiles, trustFiles } from "../daemon/ingress/trust-bundle.ts";
import { usageError } from "./failure.ts";

export interface ServiceEnvironmentInput {
  /** `http://client:token@127.0.0.1:8787`, user and password percent-encoded. */
  readonly proxyUrl: string;
  /** Absolute path of the data directory as the service sees it (a mount may differ from the daemon's). */
  readonly dataDir: string;
  /** Hosts, with or without port, that the service must reach without the proxy, besides loopback. */
  readonly directHosts?: readonly string[];
  /** What the service's environment says already; these two are extended, not replaced. */
  readonly inherited?: { readonly JAVA_TOOL_OPTIONS?: string; readonly NO_PROXY?: string };
}

const LOOPBACK = ["localhost", "127.0.0.1", "::1"];
const DEFAULT_HTTP_PORT = "80";
const NO_TOKEN = "sidekey";

/**
 * Every variable that sends a service's HTTP through sidekey and makes it trust sidekey's root, whatever it is written
 * in. Settings that *add* a root get the root alone; settings that *replace* the trusted roots get the whole bundle,
 * so that hosts which sidekey only tunnels still verify.
 * @throws Error when `proxyUrl` is not an http URL or `dataDir` is relative (the service starts elsewhere).
 */
export function serviceEnvironment(input: ServiceEnvironmentInput): Map<string, string> {
  const proxy = parseProxyUrl(input.proxyUrl);
  if (!isAbsolute(input.dataDir)) {
    throw usageError(
      `dataDir: "${input.dataDir}" is relative, and the service starts elsewhere; give the absolute path`,
    );
  }
  const trust = trustFiles(input.dataDir);
  return new Map([
    ...proxyVariables(input, direct(input)),
    ...trustVariables(trust),
    ["JAVA_TOOL_OPTIONS", javaToolOptions(input, proxy, trust)],
  ]);
}

function parseProxyUrl(text: string): URL {
  const url = URL.parse(text);
  if (url?.protocol !== "http:") {
    // The text is not quoted: it may hold a token.
    throw usageError("proxyUrl: not an http URL; write http://client:token@127.0.0.1:8787");
  }
  return url;
}

function direct(input: ServiceEnvironmentInput): readonly string[] {
  const inherited = (input.inherited?.NO_PROXY ?? "").split(",").map((host) => host.trim());
  const named = (input.directHosts ?? []).map(withoutPort);
  return [...new Set([...LOOPBACK, ...named, ...inherited])].filter((host) => host !== "");
}

/** Ports in NO_PROXY are read by some clients and defeat the entry in others (curl), so hosts go without. */
function withoutPort(authority: string): string {
  const bracketed = /^\[(.*)\](:\d+)?$/.exec(authority)?.[1];
  if (bracketed !== undefined) return bracketed;
  return /^([^:]*):\d+$/.exec(authority)?.[1] ?? authority;
}

function proxyVariables(input: ServiceEnvironmentInput, directHosts: readonly string[]): [string, string][] {
  const noProxy = directHosts.join(",");
  return [
    // Both cases: curl reads only the lower-case http_proxy, others only the upper-case names.
    ["HTTP_PROXY", input.proxyUrl],
    ["HTTPS_PROXY", input.proxyUrl],
    ["NO_PROXY", noProxy],
    ["http_proxy", input.proxyUrl],
    ["https_proxy", input.proxyUrl],
    ["no_proxy", noProxy],
    // Node 22.21 and 24 on: without it, node:http and the global fetch ignore the variables above.
    ["NODE_USE_ENV_PROXY", "1"],
  ];
}

function trustVariables(trust: TrustFiles): [string, string][] {
  return [
    ["NODE_EXTRA_CA_CERTS", trust.root],
    ["DENO_CERT", trust.root],
    // Both stores: an image may have no system roots at all.
    ["DENO_TLS_CA_STORE", "system,mozilla"],
    // OpenSSL and what follows it: Go, Python's ssl and httpx, aiohttp, Ruby, PHP, .NET, Rust.
    ["SSL_CERT_FILE", trust.bundle],
    ["REQUESTS_CA_BUNDLE", trust.bundle],
    ["CURL_CA_BUNDLE", trust.bundle],
    ["WEBSOCKET_CLIENT_CA_BUNDLE", trust.bundle],
    ["PIP_CERT", trust.bundle],
    ["AWS_CA_BUNDLE", trust.bundle],
    ["GIT_SSL_CAINFO", trust.bundle],
    // Else git first asks without the token and again when refused.
    ["GIT_HTTP_PROXY_AUTHMETHOD", "basic"],
    ["CARGO_HTTP_CAINFO", trust.bundle],
    ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", trust.bundle],
  ];
}

/**
 * Java has no property for a proxy's password. Such a service shows its token where the provider's key would be, which
 * sidekey accepts on requests inside an intercepted CONNECT. A program that sets an Authenticator may use Basic for
 * the tunnel, because the list of schemes the JDK refuses there is emptied.
 */
function javaToolOptions(input: ServiceEnvironmentInput, proxy: URL, trust: TrustFiles): string {
  const host = proxy.hostname.replace(/^\[|\]$/g, "");
  const port = proxy.port === "" ? DEFAULT_HTTP_PORT : proxy.port;
  const nonProxyHosts = direct(input).map(javaHostPattern).join("|");
  const options = [
    `-Dhttp.proxyHost=${host}`,
    `-Dhttp.proxyPort=${port}`,
    `-Dhttps.proxyHost=${host}`,
    `-Dhttps.proxyPort=${port}`,
    javaQuoted(`-Dhttp.nonProxyHosts=${nonProxyHosts}`),
    "-Djdk.http.auth.tunneling.disabledSchemes=",
    javaQuoted(`-Djavax.net.ssl.trustStore=${trust.javaTruststore}`),
    "-Djavax.net.ssl.trustStoreType=PKCS12",
  ];
  const inherited = input.inherited?.JAVA_TOOL_OPTIONS?.trim() ?? "";
  return inherited === "" ? options.join(" ") : `${inherited} ${options.join(" ")}`;
}

/** NO_PROXY's `.example.com` (and sub-domains) is Java's `*.example.com`; IPv6 addresses take brackets there. */
function javaHostPattern(host: string): string {
  if (host.startsWith(".")) return `*${host}`;
  return host.includes(":") ? `[${host}]` : host;
}

/** The JVM splits JAVA_TOOL_OPTIONS at white space and honours quotes of either kind, without escapes inside. */
function javaQuoted(option: string): string {
  if (!/[\s'"]/.test(option)) return option;
  if (!option.includes('"')) return `"${option}"`;
  if (!option.includes("'")) return `'${option}'`;
  throw usageError("JAVA_TOOL_OPTIONS: the data directory has both kinds of quote in its name; use another directory");
}

/**
 * The other way in, for SDKs that take a base URL: no proxy and no certificate, the client's token in place of the key.
 * Use these or the proxy variables. `proxyUrl` as for `serviceEnvironment`.
 */
export function baseUrlEnvironment(proxyUrl: string): Map<string, string> {
  const proxy = parseProxyUrl(proxyUrl);
  // SDKs refuse to start without a key, even where sidekey trusts loopback and looks at none.
  const token = decodeURIComponent(proxy.password) || NO_TOKEN;
  return new Map([
    ["OPENAI_BASE_URL", `${proxy.origin}/openai/v1`],
    ["OPENAI_API_KEY", token],
    ["ANTHROPIC_BASE_URL", `${proxy.origin}/anthropic`],
    ["ANTHROPIC_API_KEY", token],
  ]);
}
