import { spawn } from "node:child_process";
import { mkdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { checkDead, type Expected, expectedStates } from "./fault-check.ts";
import { compileShim, FaultControl, type FaultMode } from "./fault-control.ts";
import { type FaultOperation, faultOperation } from "./fault-operations.ts";
import { placeFor, prepareTemplate } from "./fault-state.ts";
import { tempDir } from "./temp-dir.ts";

const WORKER = join(import.meta.dirname, "fault-worker.ts");

/** One run with one fault. */
export interface FaultRun {
  readonly mode: string;
  /** Which call failed, and what it was, such as "sync log"; "none" when there were fewer calls. */
  readonly n: number;
  readonly call: string;
  readonly acknowledged: boolean;
  /** What was wrong afterwards; empty when all invariants held. */
  readonly problems: readonly string[];
}

/** Every call that can fail, or for the less different kinds of fault one call of each sort. */
export type FaultExtent = "all" | "sample";

/** Runs the operation in a process under the shim with each kind of error; see fault-worker.ts. */
export async function runWithErrors(t: TestContext, name: string, extent: FaultExtent): Promise<FaultRun[]> {
  const bench = faultBench(t);
  const { code, output } = await runWorker(bench, bench.root, ["every", bench.root, bench.control.path, name, extent]);
  const runs = output.split("\n").filter((line) => line !== "");
  if (code !== 0) throw new Error(`the worker ended with ${code} after ${runs.length} runs`);
  return runs.map((line) => JSON.parse(line) as FaultRun);
}

/**
 * Runs the operation again and again in processes that are killed with SIGKILL, before each call, or before one of each
 * sort, and after the last.
 */
export async function runKilled(t: TestContext, name: string, extent: FaultExtent): Promise<FaultRun[]> {
  const bench = faultBench(t);
  const operation = faultOperation(name);
  const template = join(bench.root, "template");
  await prepareTemplate(template);
  const expected = await expectedStates(operation, template, join(bench.root, "expected"));
  const kill = async (mode: FaultMode, n: number): Promise<FaultRun & { count: number }> =>
    killedOnce(bench, { name, operation, template, mode, n }, expected);
  const whole = await kill("kill", 0);
  const calls = bench.control.calls(whole.count);
  const runs: FaultRun[] = [whole];
  for (const n of chosenCalls(calls, extent)) runs.push(await kill("kill", n));
  runs.push(await kill("kill-after", calls.length));
  return runs;
}

/** Numbers, from 1, of all calls, or of the first of each sort. */
export function chosenCalls(calls: readonly string[], extent: FaultExtent): number[] {
  const numbers = calls.map((_, index) => index + 1);
  return extent === "all" ? numbers : numbers.filter((n) => calls.indexOf(calls[n - 1] ?? "") === n - 1);
}

interface Bench {
  readonly root: string;
  readonly shim: string;
  readonly control: FaultControl;
}

function faultBench(t: TestContext): Bench {
  const home = realpathSync(tempDir(t));
  const root = join(home, "faulty");
  mkdirSync(root);
  const control = FaultControl.create(join(home, "control"));
  t.after(() => control.close());
  return { root, shim: compileShim(home), control };
}

async function killedOnce(
  bench: Bench,
  run: { name: string; operation: FaultOperation; template: string; mode: FaultMode; n: number },
  expected: Expected,
): Promise<FaultRun & { count: number }> {
  const { name, operation, template, mode, n } = run;
  const { directory } = placeFor(operation, template, join(bench.root, `${mode}-${n}`));
  const args = ["once", directory, bench.control.path, name, "sample", mode, String(n)];
  const { code, signal, output } = await runWorker(bench, bench.root, args);
  const { count } = bench.control.read();
  const acknowledged = output === "done\n";
  const problems = await checkDead(operation, directory, acknowledged, expected);
  const call = bench.control.calls(count)[n - 1] ?? "none";
  if (n > 0 && n <= count ? signal !== "SIGKILL" : code !== 0) problems.push(`it ended with ${code ?? signal}`);
  return { mode, n, call, acknowledged, problems, count };
}

function runWorker(
  { shim, control }: Bench,
  directory: string,
  args: readonly string[],
): Promise<{ code: number | null; signal: string | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [WORKER, ...args], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { PATH: process.env.PATH, ...control.environment(shim, directory) },
    });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal, output }));
  });
}
