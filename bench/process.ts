import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Child processes of the benchmarks: pinned to a core each, so that the proxy under test has one to itself. */

export type Core = "proxy" | "others";

/** As bin/sidekey starts it. */
const SIDEKEY_FLAGS = ["--disable-sigusr1", "--max-semi-space-size=16"];

const PINNING = spawnSync("taskset", ["-V"]).status === 0;
const CORE: Record<Core, string> = { proxy: "0", others: "1" };

export interface Running {
  readonly process: ChildProcess;
  /** The first line that it printed. */
  readonly line: string;
  /** Sends it a line, if there is one to send, and resolves with the next line that it prints. */
  ask(line?: string): Promise<string>;
  stop(): Promise<void>;
}

/** Starts a script of this folder, sends `input` as one line, and waits for its first line of output. */
export async function startScript(name: string, core: Core, input: unknown): Promise<Running> {
  const script = fileURLToPath(new URL(name, import.meta.url));
  const flags = name === "sidekey.ts" ? SIDEKEY_FLAGS : [];
  const child = spawnPinned(process.execPath, [...flags, script], core);
  if (!child.stdin || !child.stdout) throw new Error(`${name} has no stdin or stdout`);
  const { stdin, stdout } = child;
  const lines = createInterface({ input: stdout });
  const ask = async (line?: string): Promise<string> => {
    const answer = nextLine(lines, child, name);
    if (line !== undefined) stdin.write(`${line}\n`);
    return answer;
  };
  const line = await ask(JSON.stringify(input));
  return { process: child, line, ask, stop: () => stop(child) };
}

/** Starts any program, pinned. */
export function spawnPinned(program: string, args: readonly string[], core: Core): ChildProcess {
  const command = PINNING ? ["taskset", "-c", CORE[core], program, ...args] : [program, ...args];
  return spawn(command[0] ?? program, command.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
}

function nextLine(lines: Interface, child: ChildProcess, name: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null): void => reject(new Error(`${name} ended with code ${code}`));
    child.once("exit", ended);
    lines.once("line", (line) => {
      child.off("exit", ended);
      resolve(line);
    });
  });
}

export function stop(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null) return resolve();
    child.once("exit", () => resolve());
    child.kill("SIGTERM");
    setTimeout(() => child.kill("SIGKILL"), 3_000).unref();
  });
}

/** CPU seconds (user and system, all threads) that a process has used. Linux only; 0 elsewhere. */
export function cpuSeconds(pid: number | null): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return 0;
  }
}

/** Resident memory in bytes; 0 where /proc is missing. */
export function residentBytes(pid: number | null): number {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
