import { existsSync, readFileSync, statfsSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import type { ListenAddress } from "../daemon/config.ts";
import { dangerousEnvironment } from "../daemon/dangerous-environment.ts";
import { summarizeCertificate } from "../daemon/ingress/certificates.ts";
import { trustFiles } from "../daemon/ingress/trust-bundle.ts";
import { coreDumpProblems, readProcessLimits } from "../daemon/process-hygiene.ts";
import { reviewSubmission } from "../daemon/submission-apply.ts";
import { readSubmissionList, SUBMISSION_LIST_FILE } from "../daemon/submission-list.ts";
import { queryUsage } from "../store/usage-query.ts";
import type { Vault } from "../store/vault.ts";
import type { Cli } from "./cli.ts";
import { describeFailure } from "./failure.ts";
import { withVault } from "./open-vault.ts";
import { formatBytes, formatTime } from "./output.ts";
import { compilePolicyFile, knownObjects } from "./policy-source.ts";
import { hostPort } from "./service-address.ts";
import type { Mark } from "./terminal.ts";

export interface Finding {
  readonly name: string;
  readonly mark: Mark;
  readonly text: string;
}

/** What a check finds; without a name it is about what the check is called. */
export type Result = Omit<Finding, "name"> & { readonly name?: string };

interface Check {
  readonly name: string;
  /** It cannot be made while daemon.yaml is refused. */
  readonly needsConfig: boolean;
  readonly check: (cli: Cli) => readonly Result[] | Promise<readonly Result[]>;
}

const OLDEST_NODE = [22, 19] as const;
const LOW_DISK_BYTES = 256 * 1024 * 1024;
const NO_DISK_BYTES = 16 * 1024 * 1024;
const OTHERS = 0o077;
/** sidekey did not exist before; a clock that says so is wrong. */
const EARLIEST_MS = Date.UTC(2025, 0, 1);
const CLOCK_SLACK_MS = 60_000;
const CA_WARNING_MS = 90 * 86_400_000;
const ADDRESSES = ["proxy", "admin", "metrics"] as const;

/** In the order of the report. */
export const CHECKS: readonly Check[] = [
  { name: "node", needsConfig: false, check: () => [checkNode(process.versions.node)] },
  { name: "environment", needsConfig: false, check: (cli) => checkEnvironment(cli.environment) },
  { name: "clock", needsConfig: false, check: (cli) => [checkClock(cli.now())] },
  { name: "config", needsConfig: false, check: checkConfig },
  { name: "modes", needsConfig: true, check: checkModes },
  { name: "disk", needsConfig: true, check: checkDisk },
  { name: "vault", needsConfig: true, check: checkVault },
  { name: "usage", needsConfig: true, check: checkUsage },
  { name: "ca", needsConfig: true, check: checkTrust },
  { name: "ports", needsConfig: true, check: checkPorts },
];

function ok(text: string): Result {
  return { mark: "ok", text };
}

function warn(text: string): Result {
  return { mark: "warn", text };
}

function fail(text: string): Result {
  return { mark: "fail", text };
}

function checkNode(version: string): Result {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_NODE;
  const enough = major > oldestMajor || (major === oldestMajor && minor >= oldestMinor);
  return enough ? ok(version) : fail(`${version} is too old; install ${OLDEST_NODE.join(".")} or newer`);
}

function checkEnvironment(environment: Cli["environment"]): readonly Result[] {
  const problems = dangerousEnvironment(environment, process.execArgv);
  const found = [
    ...problems.map(({ severity, message }) => (severity === "warn" ? warn(message) : fail(message))),
    ...coreDumpProblems(readProcessLimits()).map(warn),
  ];
  return found.length === 0 ? [ok("no dangerous variable is set, no core dumps")] : found;
}

function checkClock(now: number): Result {
  if (now >= EARLIEST_MS) return ok(formatTime(now));
  return fail(`says ${formatTime(now)}; set it, certificates and expiries depend on it`);
}

function checkConfig(cli: Cli): readonly Result[] {
  const config = cli.config();
  return [ok(config.file ?? `no daemon.yaml in ${config.configDir}; defaults are used`), ...config.warnings.map(warn)];
}

function checkModes(cli: Cli): readonly Result[] {
  const { dataDir, unlock } = cli.config();
  const keyFiles = unlock.flatMap((entry) => ("file" in entry ? [entry.file] : []));
  const paths = [
    { path: dataDir, mode: "700" },
    { path: join(dataDir, "vault.db"), mode: "600" },
    ...keyFiles.map((path) => ({ path, mode: "600" })),
  ];
  const findings = paths.flatMap(({ path, mode }) => checkMode(path, mode));
  return findings.length > 0 ? findings : [ok("only this user can read the data directory and the root key")];
}

function checkMode(path: string, mode: string): readonly Result[] {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return [fail(`${path} is missing`)];
  const uid = process.getuid?.() ?? stat.uid;
  if (stat.uid !== uid && uid !== 0) return [fail(`${path} belongs to user ${stat.uid}; chown ${uid} ${path}`)];
  if ((stat.mode & OTHERS) !== 0) return [fail(`${path} is open to other users; chmod ${mode} ${path}`)];
  return [];
}

function checkDisk(cli: Cli): readonly Result[] {
  const { bavail, bsize } = statfsSync(cli.config().dataDir);
  const free = bavail * bsize;
  const text = `${formatBytes(free)} free`;
  if (free < NO_DISK_BYTES) return [fail(`${text}; without space neither audit nor usage can be written`)];
  return [free < LOW_DISK_BYTES ? warn(`${text}; make room`) : ok(text)];
}

/** One opening for all that needs it: a passphrase should be asked for once. */
function checkVault(cli: Cli): Promise<readonly Result[]> {
  return withVault(cli, (vault) => {
    const now = cli.now();
    const audit = vault.verifyAudit();
    const credentials = vault.listCredentials();
    const expired = credentials.filter(({ expiresAt }) => expiresAt !== null && expiresAt <= now);
    const newest = vault.listAudit({ limit: 1 }).at(-1)?.at ?? 0;
    return [
      ok(`opens; credentials: ${credentials.length}`),
      audit.ok
        ? ok(`audit intact, ${audit.entries} entries`)
        : fail(`audit: ${audit.problem}; see \`sidekey audit verify\``),
      ...expired.map(({ name }) => warn(`credential ${name} has expired; store a new key with --replace`)),
      ...(newest > now + CLOCK_SLACK_MS
        ? [fail(`the clock was set back: the last audit entry is of ${formatTime(newest)}`)]
        : []),
      ...checkPolicy(cli, vault),
      ...checkSubmissions(cli, vault),
    ];
  });
}

function checkPolicy(cli: Cli, vault: Vault): readonly Result[] {
  const about = { name: "policy" };
  try {
    const { file, snapshot, warnings } = compilePolicyFile(cli, knownObjects(vault, cli.now()));
    const found = warnings.map((warning) => warn(`${file}:${warning.line} ${warning.path}: ${warning.message}`));
    return [ok(`${file}: routes ${snapshot.routes.length}`), ...found].map((result) => ({ ...result, ...about }));
  } catch (error) {
    return [{ ...fail(describeFailure(error).message), ...about }];
  }
}

/** What the daemon would do with each submission of credentials.yaml; nothing when there is no such file. */
function checkSubmissions(cli: Cli, vault: Vault): readonly Result[] {
  const { configDir } = cli.config();
  const path = join(configDir, SUBMISSION_LIST_FILE);
  if (!existsSync(path)) return [];
  const about = { name: "submissions" };
  try {
    const catalog = cli.catalog();
    const verdicts = readSubmissionList(path).map((listed) => ({
      source: listed.source,
      ...reviewSubmission(vault, listed, () => catalog, cli.now()),
    }));
    const problems = verdicts.flatMap((verdict) =>
      "problem" in verdict ? [`${verdict.source}: ${verdict.problem}`] : [],
    );
    const counts = `listed: ${verdicts.length}, accepted: ${verdicts.filter(({ state }) => state === "known").length}`;
    return [ok(counts), ...problems.map(warn)].map((result) => ({ ...result, ...about }));
  } catch (error) {
    return [{ ...fail(describeFailure(error).message), ...about }];
  }
}

/** The daemon does not start with a usage.db that it cannot read: the limits' counters are in it. */
function checkUsage(cli: Cli): readonly Result[] {
  const path = join(cli.config().dataDir, "usage.db");
  queryUsage(path, { by: "day", sinceMs: 0 });
  return [ok(existsSync(path) ? "usage.db can be read" : "no usage.db yet; the daemon makes it")];
}

function checkTrust(cli: Cli): readonly Result[] {
  const files = trustFiles(cli.config().dataDir);
  const missing = Object.values(files).filter((file) => statSync(file, { throwIfNoEntry: false }) === undefined);
  if (missing.length > 0) return missing.map((file) => fail(`${file} is missing; \`sidekey init\` writes it`));
  const root = summarizeCertificate(readFileSync(files.root, "utf8"));
  if (root === null) return [fail(`${files.root} is not a certificate; \`sidekey init\` writes it again`)];
  const left = root.notAfterMs - cli.now();
  if (left <= 0) return [fail(`the root certificate ended ${formatTime(root.notAfterMs)}`)];
  const text = `root valid to ${formatTime(root.notAfterMs)}`;
  return [left < CA_WARNING_MS ? warn(`${text}; plan its replacement`) : ok(text)];
}

/** The ports are free, or it is our own daemon that has them. */
async function checkPorts(cli: Cli): Promise<readonly Result[]> {
  const running = await cli
    .daemon()
    .status()
    .catch(() => null);
  if (running !== null) return [ok(`the daemon is running, pid ${running.pid}`)];
  const { listen } = cli.config();
  const findings: Result[] = [];
  for (const name of ADDRESSES) {
    const address = listen[name];
    if (address === null) continue;
    const problem = await cannotListen(address);
    const text = `${name} ${hostPort(address)}`;
    findings.push(
      problem === null ? ok(`${text} is free`) : fail(`${text}: ${problem}; change listen.${name} in daemon.yaml`),
    );
  }
  return findings;
}

function cannotListen({ host, port }: ListenAddress): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => resolve(describeFailure(error).message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}
