import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import type { TestContext } from "node:test";

const TIMEOUT_MS = 60_000;

export interface ClientRun {
  /** Exit code; null when it was killed. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ClientCommand {
  readonly program: string;
  readonly args: readonly string[];
  /** All of it: nothing is inherited, so a proxy that the machine itself uses does not get in. */
  readonly env: Readonly<Record<string, string>>;
  readonly input?: string | Uint8Array;
  readonly cwd?: string;
}

/** Runs a client while this process serves it. It is killed after a minute, and when the test ends. */
export async function runClient(t: Pick<TestContext, "after">, command: ClientCommand): Promise<ClientRun> {
  const child = spawn(command.program, [...command.args], {
    env: { ...command.env },
    timeout: TIMEOUT_MS,
    killSignal: "SIGKILL",
    ...(command.cwd === undefined ? {} : { cwd: command.cwd }),
  });
  t.after(() => child.kill("SIGKILL"));
  const code = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  // A client that has ended already no longer reads what it is given.
  child.stdin.on("error", () => {});
  child.stdin.end(command.input ?? "");
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { code: await code, stdout, stderr };
}

/** Runs a client that prints one JSON value as its last line, and returns that. Anything but exit code 0 fails. */
export async function runForJson(t: Pick<TestContext, "after">, command: ClientCommand): Promise<unknown> {
  const { code, stdout, stderr } = await runClient(t, command);
  assert.equal(code, 0, `${command.program} ${command.args.join(" ")} ended with ${code}\n${stderr}\n${stdout}`);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
}
