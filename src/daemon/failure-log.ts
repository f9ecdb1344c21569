import type { Log } from "./log.ts";
import { failureFields } from "./process-hygiene.ts";

/** Logs what kind of error it was and where; its text could hold a URL or an address (threats E3). */
export function failureLogger(log: Log, msg: string): (error: unknown) => void {
  return (error) => log.error(msg, failureFields(error));
}
