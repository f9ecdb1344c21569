import type { Log } from "./log.ts";

/** Logs what kind of error it was and where; its text could hold a URL or an address (threats E3). */
export function failureLogger(log: Log, msg: string): (error: unknown) => void {
  return (error) => {
    const {
      name = "unknown",
      code = null,
      stack = "",
    } = (error ?? {}) as { name?: string; code?: string | null; stack?: string };
    const frames = stack
      .split("\n")
      .filter((line) => line.trimStart().startsWith("at "))
      .slice(0, 5);
    log.error(msg, { error: name, code: typeof code === "string" ? code : null, stack: frames });
  };
}
