import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { type Canary, findCanary, makeCanary } from "../support/canary.ts";
import { requires } from "../support/requirement.ts";
import { pause } from "../support/running-sidekey.ts";
import { startStandIn } from "../support/stand-in.ts";
import { tempDir } from "../support/temp-dir.ts";
import { makeAuthority } from "../support/test-authority.ts";
import { sendForm } from "./request-form.ts";
import { credentialFor, hostOf, policyFor, providerFile } from "./scene.ts";
import { fillVault } from "./separate-daemon.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const MAIN = join(ROOT, "src/cli/main.ts");
const LAUNCHER = [join(ROOT, "bin/sidekey")];
const DEADLINE_MS = 20_000;

interface Home {
  readonly dir: string;
  readonly port: number;
  readonly key: Canary;
  readonly token: string;
  readonly caPem: string;
}

/** Everything on disk that `sidekey serve` needs, with a stand-in provider behind it. */
async function makeHome(t: TestContext): Promise<Home> {
  const dir = tempDir(t);
  for (const name of ["data", "config", "config/providers", "tmp"]) mkdirSync(join(dir, name), { mode: 0o700 });
  const authority = makeAuthority();
  const upstream = await startStandIn(t, { hostnames: [hostOf("header")], authority });
  const key = makeCanary();
  const credentials = { "header-main": credentialFor("header", key.text) };
  const rootKey = join(dir, "data", "root.key");
  const { tokens, caPem } = await fillVault(join(dir, "data"), rootKey, { credentials, clients: ["app"] });
  const port = await freePort();
  const write = (name: string, text: string): void => writeFileSync(join(dir, "config", name), text, { mode: 0o600 });
  write("upstream-ca.pem", authority.caPem);
  write("policy.yaml", policyFor({ kinds: ["header"] }));
  write("providers/header.yaml", providerFile("header"));
  const host = `${hostOf("header")}: { address: 127.0.0.1:${upstream.port}, ca: ./config/upstream-ca.pem }`;
  write(
    "daemon.yaml",
    `version: 1\nlisten: { proxy: 127.0.0.1:${port}, metrics: null }\nupstream: { hosts: { ${host} } }\nsecrets: { idle: 60s }\n`,
  );
  return { dir, port, key, token: tokens.app ?? "", caPem };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  return typeof address === "object" && address !== null ? address.port : 0;
}

interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  said(): string;
  ended(): Promise<{ code: number | null; signal: string | null }>;
}

/** Starts `serve` and sends a request, so that the key is open in the daemon's memory. */
async function serve(
  t: TestContext,
  home: Home,
  command: readonly string[],
  flags: readonly string[] = [],
): Promise<Running> {
  const [program = "", ...args] = command;
  const child = spawn(program, [...args, "serve", ...flags], {
    cwd: home.dir,
    env: {
      PATH: `${join(ROOT, "node_modules/.bin")}:${process.env.PATH}`,
      HOME: home.dir,
      TMPDIR: join(home.dir, "tmp"),
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  t.after(() => child.kill("SIGKILL"));
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => output.push(text));
  const end = new Promise<{ code: number | null; signal: string | null }>((done) =>
    child.once("close", (code, signal) => done({ code, signal })),
  );
  const said = (): string => output.join("");
  await until(() => {
    assert.equal(child.exitCode, null, said());
    return said().includes("listens on");
  });
  const gateway = { port: home.port, caPem: home.caPem, tokens: { app: home.token } };
  const reply = await sendForm(t, "absolute", gateway, { host: hostOf("header"), route: "header", timeoutMs: 15_000 });
  assert.equal(reply.status, 200, reply.seen + said());
  return { child, pid: child.pid ?? 0, said, ended: () => end };
}

async function until(done: () => boolean): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!done()) {
    assert.ok(performance.now() < deadline, "it did not happen in time");
    await pause(10);
  }
}

/** Everything below the home directory: working directory, data, temporary files. */
function assertNothingSpilled(home: Home, after: string): void {
  const files = readdirSync(home.dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  for (const { name, parentPath } of files) {
    assert.doesNotMatch(name, /^core|^report\.|heapsnapshot|cpuprofile|heapprofile|\.log$/i, after);
    assert.deepEqual(findCanary([readFileSync(join(parentPath, name))], home.key), [], `${after}: ${name}`);
  }
}

/** TCP ports that the process listens on. */
function listeningPorts(pid: number): number[] {
  const own = readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
    } catch {
      return []; // closed since it was listed
    }
  });
  const rows = ["tcp", "tcp6"].flatMap((table) => readFileSync(`/proc/${pid}/net/${table}`, "utf8").split("\n"));
  return rows
    .map((row) => row.trim().split(/\s+/))
    .filter((row) => row[3] === "0A" && own.includes(row[9] ?? ""))
    .map((row) => Number.parseInt(row[1]?.split(":")[1] ?? "", 16));
}

const hasProc = (): boolean => process.platform === "linux";

test("F2: no signal makes the daemon leave a core, a report or a snapshot behind", async (t) => {
  const home = await makeHome(t);
  for (const signal of ["SIGQUIT", "SIGABRT", "SIGTRAP", "SIGUSR2", "SIGSEGV"] as const) {
    const daemon = await serve(t, home, LAUNCHER);
    daemon.child.kill(signal);
    const { code } = await daemon.ended();
    assert.notEqual(code, 0, signal);
    assertNothingSpilled(home, signal);
  }
});

test("F1: SIGUSR1 opens no inspector, however the daemon was started, and it goes on serving", async (t) => {
  if (!(await requires(t, "/proc", hasProc))) return;
  const home = await makeHome(t);
  for (const command of [LAUNCHER, [process.execPath, MAIN]]) {
    const daemon = await serve(t, home, command);
    assert.deepEqual(listeningPorts(daemon.pid), [home.port]);
    daemon.child.kill("SIGUSR1");
    (process as unknown as { _debugProcess(pid: number): void })._debugProcess(daemon.pid);
    const gateway = { port: home.port, caPem: home.caPem, tokens: { app: home.token } };
    for (let i = 0; i < 3; i++) {
      const reply = await sendForm(t, "absolute", gateway, { host: hostOf("header"), route: "header" });
      assert.equal(reply.status, 200);
      assert.deepEqual(listeningPorts(daemon.pid), [home.port]);
    }
    assert.doesNotMatch(daemon.said(), /debugger/i);
    daemon.child.kill("SIGTERM");
    assert.equal((await daemon.ended()).code, 0, daemon.said());
    assertNothingSpilled(home, "SIGUSR1");
  }
});

test("F3: neither environment, command line nor title of the daemon holds a secret, and what it makes is for its user alone", async (t) => {
  if (!(await requires(t, "/proc", hasProc))) return;
  const home = await makeHome(t);
  const { pid, said } = await serve(t, home, LAUNCHER);
  const rootKey = readFileSync(join(home.dir, "data", "root.key"), "latin1").split("\n")[1] ?? "";
  assert.ok(rootKey.length > 40);
  for (const name of ["environ", "cmdline", "comm"]) {
    const content = readFileSync(`/proc/${pid}/${name}`);
    assert.ok(content.length > 0);
    assert.deepEqual(findCanary([content], home.key), [], name);
    for (const secret of [rootKey, home.token, home.token.slice(15)]) assert.ok(!content.includes(secret), name);
  }
  assert.match(readFileSync(`/proc/${pid}/status`, "utf8"), /^Umask:\s+0077$/m);
  assert.match(readFileSync(`/proc/${pid}/limits`, "utf8"), /^Max core file size +0 /m);
  assert.doesNotMatch(said(), /core dumps/);
});

test("F2: a daemon that was started without the launcher says that core dumps are on", async (t) => {
  const hard = spawnSync("sh", ["-c", "ulimit -H -c"], { encoding: "utf8" }).stdout.trim();
  if (!(await requires(t, "permission to raise the core limit", () => hard !== "0" && hard !== ""))) return;
  const home = await makeHome(t);
  const script = 'ulimit -S -c "$(ulimit -H -c)"; exec "$@"';
  const daemon = await serve(t, home, ["sh", "-c", script, "sh", process.execPath, MAIN]);
  assert.match(daemon.said(), /core dumps are on .*start it with bin\/sidekey/);
  daemon.child.kill("SIGTERM");
  await daemon.ended();
});

test("F1, E3: an uncaught error or rejection ends the daemon with 70 and one line without the error's text", async (t) => {
  const home = await makeHome(t);
  const planted = makeCanary();
  const trap = join(home.dir, "trap.mjs");
  const message = JSON.stringify(`https://user:${planted.text}@host/\n    at ${planted.text} (x.js)`);
  writeFileSync(
    trap,
    `process.on("SIGUSR2", () => { throw new Error(${message}); });
     process.on("SIGWINCH", () => void Promise.reject(new TypeError(${message})));`,
  );
  for (const [signal, kind] of [
    ["SIGUSR2", "Error"],
    ["SIGWINCH", "TypeError"],
  ] as const) {
    const command = [process.execPath, "--import", trap, MAIN];
    const daemon = await serve(t, home, command, ["--allow-dangerous-environment"]);
    assert.match(daemon.said(), /DANGEROUS, allowed by --allow-dangerous-environment: node has --import/);
    const before = daemon.said().length;
    daemon.child.kill(signal);
    assert.deepEqual(await daemon.ended(), { code: 70, signal: null });
    const lines = daemon.said().slice(before).trim().split("\n");
    // Lines that were waiting to be written come with it; nothing else does.
    const parsed = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    const [crash = {}, ...others] = parsed.filter((line) => line.level !== "info");
    assert.deepEqual(others, []);
    const { level, msg, error, stack } = crash;
    assert.deepEqual([level, msg, error], ["fatal", "crashed", kind]);
    assert.match(String(stack), /trap\.mjs/);
    assert.deepEqual(findCanary([daemon.said()], planted), []);
    assert.deepEqual(findCanary([daemon.said()], home.key), []);
  }
  const audit = spawnSync(process.execPath, [MAIN, "audit", "list", "--json"], { cwd: home.dir, encoding: "utf8" });
  const entries = JSON.parse(audit.stdout) as { action: string; detail: { problems?: string } }[];
  const allowed = entries.filter(({ action }) => action === "daemon.allow-dangerous-environment");
  assert.equal(allowed.length, 2);
  assert.match(allowed[0]?.detail.problems ?? "", /node has --import/);
});
