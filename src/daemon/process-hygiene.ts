import { readFileSync } from "node:fs";
import type { Vault } from "../store/vault.ts";

/*
 * What this process itself can do against its memory leaving it: no inspector by signal, no diagnostic report, no
 * core dump, no error text (threats F). The launcher and the unit file do the rest.
 */

/** The first thing the program does. */
export function hardenProcess(): void {
  // Node opens the inspector on SIGUSR1 unless somebody listens; without its own handler the signal would end us.
  process.on("SIGUSR1", () => {});
  const never = { reportOnSignal: false, reportOnFatalError: false, reportOnUncaughtException: false };
  Object.assign(process.report, { ...never, excludeNetwork: true, excludeEnv: true });
}

/** This process's limits and the kernel's handler of core dumps; null where there is no /proc. */
export function readProcessLimits(): { limits: string; corePattern: string } | null {
  try {
    return {
      limits: readFileSync("/proc/self/limits", "utf8"),
      corePattern: readFileSync("/proc/sys/kernel/core_pattern", "utf8"),
    };
  } catch {
    return null;
  }
}

/** Why a crash could leave the memory, and with it opened keys, on disk; each with the next step. */
export function coreDumpProblems(found: { limits: string; corePattern: string } | null): string[] {
  const limit = /^Max core file size +(\S+)/m.exec(found?.limits ?? "")?.[1];
  if (limit === undefined || limit === "0") return [];
  const where = found?.corePattern.startsWith("|") === true ? "to the program in core_pattern" : "to disk";
  const next = "start it with bin/sidekey, LimitCORE=0 (systemd) or --ulimit core=0 (Docker)";
  return [`core dumps are on (limit ${limit}): a crash would write opened keys ${where}; ${next}`];
}

const MAX_FRAMES = 5;

/** What kind of error it was and where. Its text is left out: it could hold a URL or a key (threats E3). */
export function failureFields(error: unknown): { error: string; code: string | null; stack: string[] } {
  const { name, code, stack, message } = (typeof error === "object" && error !== null ? error : {}) as {
    [key in "name" | "code" | "stack" | "message"]?: unknown;
  };
  const text = typeof stack === "string" ? stack : "";
  // A message of several lines could look like a frame.
  const from = typeof message === "string" && text.includes(message) ? text.indexOf(message) + message.length : 0;
  const frames = text
    .slice(from)
    .split("\n")
    .filter((line) => line.trimStart().startsWith("at "))
    .slice(0, MAX_FRAMES);
  return { error: wordOf(name) ?? "unknown", code: wordOf(code), stack: frames };
}

function wordOf(value: unknown): string | null {
  return typeof value === "string" && /^\w{1,60}$/.test(value) ? value : null;
}

/** An error that nobody caught: one line that says where, never what, then the end. @param end ends the process */
export function endOnCrash(write: (line: Buffer) => void, end: () => void): void {
  const crash = (error: unknown): void => {
    const line = { level: "fatal", time: new Date().toISOString(), msg: "crashed", ...failureFields(error) };
    write(Buffer.from(`${JSON.stringify(line)}\n`));
    end();
  };
  process.on("uncaughtException", crash);
  process.on("unhandledRejection", crash);
}

/** The audit says that the daemon ran where keys could leak. */
export function recordDangers(vault: Vault, dangers: readonly string[]): void {
  const detail = { problems: dangers.join("; ") };
  vault.audit({ actor: "sidekey", action: "daemon.allow-dangerous-environment", object: "daemon", detail });
}
