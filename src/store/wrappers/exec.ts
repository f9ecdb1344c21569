import { type ChildProcess, spawn } from "node:child_process";
import { isAbsolute } from "node:path";
import { Secret, secretBuffer } from "../../secret.ts";
import { KEY_BYTES } from "../crypto.ts";
import { UnlockError } from "../errors.ts";
import { keyOpener, parseBase64Key } from "./key-bytes.ts";
import type { OpenContext, Opener, Timed } from "./opener.ts";

/** A program that prints the key: any key service's or password manager's own command. */
export interface ExecUnlocker extends Timed {
  readonly kind: "exec";
  /** The program's absolute path and its arguments. No shell looks at them. */
  readonly argv: readonly [program: string, ...args: string[]];
  /** The program's whole environment. */
  readonly environment: Readonly<Record<string, string>>;
}

/** 44 characters of base64 and a newline. */
const MAX_OUTPUT_BYTES = 45;

/** @throws UnlockError missing, permissions, malformed, denied or timeout; what the program said is never repeated */
export async function openExec(unlocker: ExecUnlocker, context: OpenContext): Promise<Opener> {
  const [program] = unlocker.argv;
  if (!isAbsolute(program)) {
    throw new UnlockError("malformed", `${program} is not an absolute path; write the program's full path`);
  }
  const output = await run(unlocker, context.signal);
  try {
    const key = output.length === KEY_BYTES ? Secret.copyOf(output) : parseBase64Key(output);
    if (key === null) throw badOutput(program, `printed ${output.length} bytes`);
    const text = `${program} gave the key of another vault, or the vault's exec wrapper was changed`;
    return keyOpener(key, new UnlockError("wrong_key", text));
  } finally {
    output.fill(0);
  }
}

/** In a process group of its own, so that what it started ends with it. */
function run({ argv, environment }: ExecUnlocker, signal: AbortSignal): Promise<Buffer> {
  const [program, ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: environment, detached: true, stdio: ["ignore", "pipe", "ignore"] });
    const output = secretBuffer(MAX_OUTPUT_BYTES);
    let length = 0;
    const fail = (error: UnlockError): void => {
      killGroup(child);
      output.fill(0);
      reject(error);
    };
    const onAbort = (): void => fail(new UnlockError("timeout", `${program} did not finish in time`));
    signal.addEventListener("abort", onAbort, { once: true });
    child.stdout.on("data", (chunk: Buffer) => {
      if (length + chunk.length > output.length)
        fail(badOutput(program, `printed more than ${MAX_OUTPUT_BYTES} bytes`));
      else output.set(chunk, length);
      length += chunk.length;
      chunk.fill(0);
    });
    child.once("error", (error: NodeJS.ErrnoException) => fail(startProblem(program, error.code)));
    child.once("close", (code, killedBy) => {
      signal.removeEventListener("abort", onAbort);
      if (code === 0) return resolve(output.subarray(0, length));
      fail(
        new UnlockError("denied", `${program} failed (${killedBy ?? `exit code ${code}`}); run it by hand to see why`),
      );
    });
    if (signal.aborted) onAbort();
  });
}

/** Only while its output is open: then the group's number is still its own. */
function killGroup({ pid, stdout }: ChildProcess): void {
  if (pid === undefined || stdout === null || stdout.closed) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // Gone in the meantime.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
  stdout.destroy();
}

function badOutput(program: string, what: string): UnlockError {
  return new UnlockError(
    "malformed",
    `${program} ${what}; it has to print the key and nothing else: 32 raw bytes, or 44 characters of base64`,
  );
}

function startProblem(program: string, code: string | undefined): UnlockError {
  if (code === "ENOENT") return new UnlockError("missing", `${program} does not exist; install it or correct the path`);
  return new UnlockError("permissions", `${program} cannot be run (${code}); make it executable for this user`);
}
