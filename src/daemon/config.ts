import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { formatPath, formatProblem, type PolicyProblem } from "../policy/problem.ts";
import { parseYamlStrict, type YamlFile, YamlProblem } from "../providers/yaml-document.ts";
import { Secret } from "../secret.ts";
import { isLoopbackAddress, parseUpstreamName } from "./config-address.ts";
import type { AnchorConfig } from "./config-anchor.ts";
import type { BackupConfig } from "./config-backup.ts";
import { type ConfigFile, validateConfigFile } from "./config-file.ts";
import type { LimitsConfig } from "./config-limits.ts";
import { resolveUnlock, type UnlockConfig } from "./unlock-config.ts";

/** Largest certificate or password file, in bytes. */
const MAX_SIDE_FILE_BYTES = 256 * 1024;
const CONFIG_FILE = "daemon.yaml";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface ListenAddress {
  /** IP address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

/** A fixed address for an upstream name, with the authority that signs for it (PEM) when it is not a public one. */
export interface UpstreamHost {
  readonly address: string;
  readonly port: number;
  readonly ca: string | null;
}

/** A corporate proxy. The password comes from a file and stays in bytes; the daemon wipes it. */
export interface UpstreamProxyConfig {
  readonly host: string;
  readonly port: number;
  readonly user: string | null;
  readonly password: Secret | null;
}

/** daemon.yaml with defaults filled in, every path absolute, every duration in milliseconds. */
export interface Config {
  /** The file that was read, null when there is none. */
  readonly file: string | null;
  readonly dataDir: string;
  readonly configDir: string;
  readonly listen: {
    readonly proxy: ListenAddress;
    readonly proxySocket: string | null;
    readonly admin: ListenAddress | null;
    readonly metrics: ListenAddress | null;
  };
  readonly localNames: readonly string[];
  readonly unlock: readonly UnlockConfig[];
  readonly policyFile: string;
  readonly providersDir: string;
  readonly pricesFile: string;
  readonly upstream: {
    /** By canonical `host` or `host:port`. */
    readonly hosts: ReadonlyMap<string, UpstreamHost>;
    readonly proxy: UpstreamProxyConfig | null;
  };
  /** Milliseconds between two checks of a credential; null: only suspicions are followed up. */
  readonly monitor: { readonly checkMs: number | null };
  readonly secretsIdleMs: number;
  readonly usage: { readonly flushMs: number; readonly keepDays: number };
  /** Absent when none are scheduled. */
  readonly backup?: BackupConfig | undefined;
  readonly log: { readonly level: "debug" | "info" | "warn" | "error"; readonly format: "json" | "pretty" };
  readonly demo: boolean;
  readonly limits: LimitsConfig;
  readonly drainMs: number;
  /** Absent when the anchor is not sent anywhere. */
  readonly anchor?: AnchorConfig;
  /** What is allowed but deserves a look, as `daemon.yaml:4 listen.proxy: ...`. */
  readonly warnings: readonly string[];
}

/** A daemon.yaml that cannot be used. `message` lists every problem as `file:line path: what is wrong`. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly file: string;
  readonly problems: readonly PolicyProblem[];

  constructor(file: string, problems: readonly PolicyProblem[]) {
    super(problems.map((problem) => formatProblem(file, problem)).join("\n"));
    this.file = file;
    this.problems = problems;
  }
}

export interface ConfigSources {
  /** `--data` and `--config`; they win over the environment and the file. */
  argvData?: string | undefined;
  argvConfig?: string | undefined;
  env?: Environment;
  /** Directory that relative `--data` and `--config` start from. */
  cwd?: string;
}

/** The environment as this process got it. Nothing else reads process.env. */
export function processEnvironment(): Environment {
  return process.env;
}

/** The two directories, without reading any file: enough for commands that only need the vault. */
export function locate(sources: ConfigSources): { configDir: string; dataDir: string | null } {
  const { env = processEnvironment(), cwd = process.cwd() } = sources;
  const data = sources.argvData ?? (env.SIDEKEY_DATA || undefined);
  return {
    configDir: resolve(cwd, sources.argvConfig ?? (env.SIDEKEY_CONFIG || "config")),
    dataDir: data === undefined ? null : resolve(cwd, data),
  };
}

/**
 * Reads `daemon.yaml` of the config directory; without one, the defaults. Relative paths inside the file
 * start at the directory that holds the config directory (the project root).
 * @throws ConfigError with every problem, its line and the next step
 */
export function loadConfig(sources: ConfigSources = {}): Config {
  const { configDir, dataDir } = locate(sources);
  const file = join(configDir, CONFIG_FILE);
  const text = readIfExists(file, configDir, sources.argvConfig !== undefined);
  const { value, lineOf } = text === null ? NO_FILE : parse(text, file);
  const checked = validateConfigFile(value, lineOf);
  if (!checked.ok) throw new ConfigError(CONFIG_FILE, checked.problems);
  const environment = sources.env ?? processEnvironment();
  return build(checked.file, { file: text === null ? null : file, configDir, dataDir, lineOf, environment });
}

const NO_FILE: YamlFile = { value: null, lineOf: () => ({ line: 1, column: 1 }) };

function readIfExists(file: string, configDir: string, explicit: boolean): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const code = errorCode(error);
    if (code !== "ENOENT") throw unreadable(`${file} cannot be read (${code}); check --config, the file and its mode`);
  }
  if (explicit && !existsSync(configDir)) throw unreadable(`${configDir} does not exist; check --config`);
  return null;
}

function unreadable(message: string): ConfigError {
  return new ConfigError(CONFIG_FILE, [{ line: 1, column: 1, path: "", message }]);
}

function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unreadable";
}

function parse(text: string, file: string): YamlFile {
  try {
    return parseYamlStrict(text, file);
  } catch (error) {
    if (!(error instanceof YamlProblem)) throw error;
    const { line, column, problem: message } = error;
    throw new ConfigError(CONFIG_FILE, [{ line, column, path: "", message }]);
  }
}

interface Place {
  file: string | null;
  configDir: string;
  /** From `--data` or the environment. */
  dataDir: string | null;
  lineOf: YamlFile["lineOf"];
  environment: Environment;
}

function build(file: ConfigFile, place: Place): Config {
  const root = dirname(place.configDir);
  const at = (path: string): string => resolve(root, path);
  const problems: PolicyProblem[] = [];
  const refuse = (path: readonly (string | number)[], message: string): void => {
    problems.push({ ...place.lineOf(path), path: formatPath(path), message });
  };
  const dataDir = place.dataDir ?? at(file.data);
  const config: Config = {
    file: place.file,
    dataDir,
    configDir: place.configDir,
    listen: { ...file.listen, proxySocket: file.listen.proxySocket === null ? null : at(file.listen.proxySocket) },
    localNames: file.localNames,
    unlock: file.unlock?.map((entry, index) => {
      const pem = (path: string, keys: readonly string[]) => readPem(path, ["unlock", index, ...keys], refuse);
      return resolveUnlock(entry, { at, environment: place.environment, readPem: pem });
    }) ?? [{ file: join(dataDir, "root.key") }],
    policyFile: file.policy === null ? join(place.configDir, "policy.yaml") : at(file.policy),
    providersDir: file.providers === null ? join(place.configDir, "providers") : at(file.providers),
    pricesFile: file.prices === null ? join(place.configDir, "prices.yaml") : at(file.prices),
    upstream: { hosts: upstreamHosts(file, at, refuse), proxy: upstreamProxy(file, at, refuse) },
    monitor: { checkMs: file.monitor.check },
    secretsIdleMs: file.secrets.idle,
    usage: { flushMs: file.usage.flush, keepDays: file.usage.keep },
    backup: file.backup && { ...file.backup, to: at(file.backup.to), everyMs: file.backup.every },
    log: file.log,
    demo: file.demo,
    limits: file.limits,
    drainMs: file.drain,
    ...(file.anchor === undefined ? {} : { anchor: anchorConfig(file.anchor, at, refuse) }),
    warnings: [...exposedListeners(file, place), ...unusedListeners(file, place)],
  };
  checkListeners(config, refuse);
  if (problems.length > 0) throw new ConfigError(CONFIG_FILE, problems);
  return config;
}

type Refuse = (path: readonly (string | number)[], message: string) => void;

function upstreamHosts(file: ConfigFile, at: (path: string) => string, refuse: Refuse): Map<string, UpstreamHost> {
  const hosts = new Map<string, UpstreamHost>();
  for (const [name, entry] of Object.entries(file.upstream.hosts)) {
    const path = ["upstream", "hosts", name];
    const key = hostKey(name, (message) => refuse(path, message));
    const ca = entry.ca === undefined ? null : readPem(at(entry.ca), [...path, "ca"], refuse);
    if (key !== null) hosts.set(key, { address: entry.address.host, port: entry.address.port, ca });
  }
  return hosts;
}

function hostKey(name: string, refuse: (message: string) => void): string | null {
  try {
    return parseUpstreamName(name);
  } catch (error) {
    refuse(error instanceof Error ? error.message : "is not a host name");
    return null;
  }
}

function readPem(file: string, path: readonly (string | number)[], refuse: Refuse): string | null {
  const bytes = readSideFile(file, path, refuse);
  if (bytes === null) return null;
  const text = bytes.toString("utf8");
  if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  refuse(path, `${file} holds no certificate; it must be a PEM file with BEGIN CERTIFICATE`);
  return null;
}

function readSideFile(file: string, path: readonly (string | number)[], refuse: Refuse): Buffer | null {
  try {
    if (statSync(file).size <= MAX_SIDE_FILE_BYTES) return readFileSync(file);
    refuse(path, `${file} is larger than ${MAX_SIDE_FILE_BYTES} bytes; is it the right file?`);
  } catch (error) {
    refuse(path, `${file} cannot be read (${errorCode(error)}); check the path and its permissions`);
  }
  return null;
}

function upstreamProxy(file: ConfigFile, at: (path: string) => string, refuse: Refuse): UpstreamProxyConfig | null {
  const { proxy, proxyPasswordFile } = file.upstream;
  const path = ["upstream", "proxyPasswordFile"];
  if (proxyPasswordFile !== undefined && (proxy === null || proxy.user === null)) {
    refuse(path, "is set but upstream.proxy names no user; write http://user@host:port there");
  }
  if (proxy === null) return null;
  const bytes = proxyPasswordFile === undefined ? null : readSideFile(at(proxyPasswordFile), path, refuse);
  return { ...proxy, password: bytes === null ? null : withoutLineEnd(bytes) };
}

function anchorConfig(
  { every, syslog, webhook }: NonNullable<ConfigFile["anchor"]>,
  at: (path: string) => string,
  refuse: Refuse,
): AnchorConfig {
  const { ca, secretFile } = webhook ?? {};
  const path = ["anchor", "webhook"];
  const bytes = secretFile === undefined ? null : readSideFile(at(secretFile), [...path, "secretFile"], refuse);
  const secret = bytes === null ? null : withoutLineEnd(bytes);
  if (secret?.length === 0) refuse([...path, "secretFile"], "is empty; put random characters into it");
  return {
    everyMs: every,
    syslog: syslog?.address ?? null,
    webhook:
      webhook === undefined
        ? null
        : {
            url: webhook.url,
            ca: ca === undefined ? null : readPem(at(ca), [...path, "ca"], refuse),
            secret,
          },
  };
}

/** The password without the newline that editors add. The file's own Buffer is zeroed. */
function withoutLineEnd(bytes: Buffer): Secret {
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] === 0x0a || bytes[end - 1] === 0x0d)) end--;
  const password = Secret.copyOf(bytes.subarray(0, end));
  bytes.fill(0);
  return password;
}

const LISTENERS = ["proxy", "admin", "metrics"] as const;

function checkListeners(config: Config, refuse: Refuse): void {
  const owners = new Map<string, string>();
  for (const name of LISTENERS) {
    const address = config.listen[name];
    if (address === null) continue;
    const owner = owners.get(`${address.port}`);
    if (owner === undefined) owners.set(`${address.port}`, name);
    else refuse(["listen", name], `port ${address.port} is taken by listen.${owner}; give each listener its own port`);
  }
}

const EXPOSED: Readonly<Record<(typeof LISTENERS)[number], string>> = {
  proxy:
    "other machines can reach the proxy; client tokens travel in the clear there. Use 127.0.0.1, or fence the port",
  admin: "other machines can reach the admin port; use 127.0.0.1 and an SSH tunnel, or TLS in front of it",
  metrics: "other machines can read the metrics; they name routes, clients and credentials",
};

/** Keys of the design whose part is not built yet: silence would look as if something listened there. */
function unusedListeners({ listen }: ConfigFile, place: Place): string[] {
  return (["admin", "proxySocket"] as const).flatMap((name) => {
    if (listen[name] === null) return [];
    const at = place.lineOf(["listen", name]);
    const message = "is not available in this version, nothing listens there; remove it";
    return [formatProblem(CONFIG_FILE, { ...at, path: `listen.${name}`, message })];
  });
}

function exposedListeners(file: ConfigFile, place: Place): string[] {
  return LISTENERS.flatMap((name) => {
    const address = file.listen[name];
    if (address === null || isLoopbackAddress(address.host)) return [];
    const at = place.lineOf(["listen", name]);
    return [formatProblem(CONFIG_FILE, { ...at, path: `listen.${name}`, message: EXPOSED[name] })];
  });
}
