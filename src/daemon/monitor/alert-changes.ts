import type { Alert, Severity } from "../../store/alerts.ts";
import type { Log } from "../log.ts";

const MAX_LISTENERS = 16;
/** Changes that wait while a listener causes others. */
const MAX_UNTOLD = 1_000;

/** What is told, once each: an alert that closes and opens again and again is told as opened once. */
export type AlertChange =
  | { readonly what: "opened" | "closed"; readonly alert: Alert }
  | { readonly what: "severity"; readonly alert: Alert; readonly before: Severity };

type AlertLog = Pick<Log, "info" | "warn" | "error">;

/** Tells the log and the listeners, one change after the other, whatever a listener does. */
export class AlertChanges {
  readonly #log: AlertLog;
  readonly #listeners = new Set<(change: AlertChange) => void>();
  readonly #waiting: AlertChange[] = [];
  #telling = false;

  constructor(log: AlertLog) {
    this.#log = log;
  }

  subscribe(listener: (change: AlertChange) => void): () => void {
    if (this.#listeners.size >= MAX_LISTENERS) throw new Error(`internal: more than ${MAX_LISTENERS} listen to alerts`);
    const own = (change: AlertChange): void => listener(change);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  tell(change: AlertChange): void {
    logChange(this.#log, change);
    if (this.#waiting.length < MAX_UNTOLD) this.#waiting.push(change);
    if (this.#telling) return;
    this.#telling = true;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) this.#tellAll(next);
    this.#telling = false;
  }

  #tellAll(change: AlertChange): void {
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        this.#log.error("alerts", {
          problem: `a listener failed: ${error instanceof Error ? error.name : "it threw"}`,
        });
      }
    }
  }
}

/** An alert that cannot be stored is still logged: a full disk must not silence it. */
function logChange(log: AlertLog, change: AlertChange): void {
  const { kind, object, severity, message, count, closedAt } = change.alert;
  if (change.what === "closed") {
    log.info("alert_closed", { kind, object, closed: new Date(closedAt ?? 0).toISOString(), count });
    return;
  }
  const level = severity === "info" ? "info" : severity === "warning" ? "warn" : "error";
  const fields = { kind, object, severity, message };
  if (change.what === "severity") log[level]("alert_changed", { ...fields, before: change.before });
  else log[level]("alert_opened", fields);
}
