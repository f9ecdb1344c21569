import { type ChildProcessByStdio, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Readable } from "node:stream";
import type { TestContext } from "node:test";
import { tempDir } from "./temp-dir.ts";

const MAIN = resolve(import.meta.dirname, "../../src/cli/main.ts");
const TIMEOUT_MS = 60_000;

export interface CliRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Both, for "nowhere in the output". */
  readonly all: string;
}

export interface CliPlace {
  readonly dir: string;
  readonly data: string;
  readonly config: string;
  run(args: readonly string[], options?: CliRunOptions): Promise<CliRun>;
}

export interface CliRunOptions {
  readonly input?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
}

/** An empty directory to run the real command in; removed after the test. */
export function cliPlace(t: TestContext): CliPlace {
  const dir = tempDir(t);
  return {
    dir,
    data: join(dir, "data"),
    config: join(dir, "config"),
    run: (args, options = {}) => runCli(dir, args, options),
  };
}

/** As `cliPlace`, with `init` done. `token` is the first client token. */
export async function initializedPlace(t: TestContext): Promise<CliPlace & { readonly token: string }> {
  const place = cliPlace(t);
  const init = await place.run(["init"]);
  const token = /skc_[a-z2-7]{10}_[A-Za-z0-9_-]{43}/.exec(init.stdout)?.[0];
  if (init.code !== 0 || token === undefined) throw new Error(`init failed: ${init.all}`);
  cutOff(place.config);
  return { ...place, token };
}

/** No command of a test may reach a real provider: everything goes through a proxy where nobody listens. */
export function cutOff(configDir: string): void {
  const file = join(configDir, "daemon.yaml");
  const text = readFileSync(file, "utf8");
  const cut = text.replace(/^ {2}proxy: null.*$/m, "  proxy: http://127.0.0.1:1");
  if (cut === text) throw new Error("the sample daemon.yaml has no upstream proxy to replace");
  writeFileSync(file, cut);
}

/** Starts the real command without waiting for its end; it is killed when the test ends. */
export function startCli(
  t: TestContext,
  cwd: string,
  args: readonly string[],
): ChildProcessByStdio<null, Readable, Readable> {
  const env = { PATH: process.env.PATH, HOME: cwd };
  const child = spawn(process.execPath, [MAIN, ...args], { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  t.after(() => child.kill("SIGKILL"));
  return child;
}

function runCli(cwd: string, args: readonly string[], options: CliRunOptions): Promise<CliRun> {
  return new Promise((resolvePromise, reject) => {
    const env = { PATH: process.env.PATH, HOME: cwd, ...options.env };
    const child = spawn(process.execPath, [MAIN, ...args], { cwd, env, timeout: TIMEOUT_MS });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.once("error", reject);
    child.once("close", (code) => resolvePromise({ code, stdout, stderr, all: stdout + stderr }));
    // A command that does not read its input closes the pipe; that is no failure of the test.
    child.stdin.on("error", () => {});
    child.stdin.end(options.input ?? "");
  });
}
