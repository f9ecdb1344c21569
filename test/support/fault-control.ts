import { spawnSync } from "node:child_process";
import { closeSync, openSync, readSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { programRuns, requires } from "./requirement.ts";

/** What happens at the chosen call. `short`: half is written, and said to be;
 * `torn`: the same, and the write of the rest fails with ENOSPC, as on a disk that fills up in the middle. */
export const FAULT_MODES = { kill: 1, "kill-after": 2, eio: 3, enospc: 4, short: 5, torn: 6 } as const;
export type FaultMode = keyof typeof FAULT_MODES;

const OPERATIONS = ["open", "create", "write", "sync", "truncate", "rename", "link", "unlink", "mkdir"];
const KINDS = ["other", "database", "log", "shared", "anchor", "key", "directory"];

// The layout of `struct control` in fault.c.
const HEAD_BYTES = 64;
const TRACE_CALLS = 8192;

/** True when the shim can be built and loaded; else the test is marked as skipped. */
export function faultsPossible(t: Pick<TestContext, "skip">): Promise<boolean> {
  return requires(t, "a C compiler (cc) on Linux", () => process.platform === "linux" && programRuns("cc"));
}

/** Compiles the shim into `directory`. @returns its path */
export function compileShim(directory: string): string {
  const [source, library] = [join(import.meta.dirname, "fault-shim/fault.c"), join(directory, "fault.so")];
  const flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", library, source, "-ldl"];
  const built = spawnSync("cc", flags, { encoding: "utf8" });
  if (built.status !== 0) throw new Error(`the fault shim does not compile:\n${built.stderr}`);
  return library;
}

/** Arms the shim of any process that was started with `environment`; works across processes. */
export class FaultControl {
  readonly #fd: number;
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
    this.#fd = openSync(path, "r+");
  }

  /** Makes the control file. It must lie outside the directory whose calls are counted. */
  static create(path: string): FaultControl {
    writeFileSync(path, Buffer.alloc(HEAD_BYTES + TRACE_CALLS));
    return new FaultControl(path);
  }

  /** The control file of the process that this is. */
  static open(path: string): FaultControl {
    return new FaultControl(path);
  }

  /** What a process needs so that its calls at or below `directory` are counted and can fail. */
  environment(shim: string, directory: string): Record<string, string> {
    return { LD_PRELOAD: shim, SIDEKEY_FAULT_DIR: directory, SIDEKEY_FAULT_CONTROL: this.path };
  }

  /** Counts from zero again and lets call `at` fail (1 is the next one; 0: none), or with `persist` all from there on. */
  arm(at: number, mode: FaultMode, persist = false): void {
    const head = Buffer.alloc(HEAD_BYTES);
    new Uint32Array(head.buffer, head.byteOffset, 5).set([0, at, FAULT_MODES[mode], persist ? 1 : 0, 0]);
    writeSync(this.#fd, head, 0, head.length, 0);
  }

  /** No further fault. @returns what was counted since `arm` */
  disarm(): { count: number; fired: number } {
    const result = this.read();
    this.arm(0, "eio");
    return result;
  }

  read(): { count: number; fired: number } {
    const head = Buffer.alloc(HEAD_BYTES);
    readSync(this.#fd, head, 0, head.length, 0);
    const [count = 0, , , , fired = 0] = new Uint32Array(head.buffer, head.byteOffset, 5);
    return { count, fired };
  }

  /** What the first `count` calls since `arm` were, such as "sync log". */
  calls(count: number): string[] {
    const trace = Buffer.alloc(Math.min(count, TRACE_CALLS));
    readSync(this.#fd, trace, 0, trace.length, HEAD_BYTES);
    return [...trace].map((code) => `${OPERATIONS[code >> 4]} ${KINDS[code & 15]}`);
  }

  close(): void {
    closeSync(this.#fd);
  }
}
