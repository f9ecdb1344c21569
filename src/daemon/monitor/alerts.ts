import type { MonitorStore, OpenAlert, Severity } from "../../store/monitor.ts";
import type { Log } from "../log.ts";

export type { Severity };

/** What somebody should look at. Raising it again while it is open only counts; both calls never throw. */
export interface Alerts {
  /**
   * @param kind what is wrong, from a closed set of the caller (`credential_invalid`)
   * @param object what it is about (`credential:fmp-main`)
   * @param message one sentence with the next step; never a secret
   */
  raise(kind: string, object: string, severity: Severity, message: string): void;
  /** It is well again. */
  clear(kind: string, object: string): void;
}

export interface AlertBook extends Alerts {
  /** Worst first, then oldest. */
  open(): readonly OpenAlert[];
}

/** Keeps alerts in monitor.db, so that a restart neither forgets nor repeats them, and logs when one opens or closes. */
export function createAlerts(
  store: MonitorStore,
  log: Pick<Log, "info" | "warn" | "error">,
  now: () => number,
): AlertBook {
  /** An alert that cannot be stored is still logged: a full disk must not silence it, nor stop its caller. */
  const attempt = (change: () => boolean, otherwise: boolean): boolean => {
    try {
      return change();
    } catch (error) {
      log.error("alerts", { problem: error instanceof Error ? error.message : "monitor.db could not be written" });
      return otherwise;
    }
  };
  return {
    raise(kind, object, severity, message) {
      if (!attempt(() => store.raise(kind, object, severity, message, now()), true)) return;
      const level = severity === "info" ? "info" : severity === "warning" ? "warn" : "error";
      log[level]("alert_opened", { kind, object, severity, message });
    },
    clear(kind, object) {
      if (attempt(() => store.clear(kind, object), false)) log.info("alert_closed", { kind, object });
    },
    open: () => {
      let open: readonly OpenAlert[] = [];
      attempt(() => {
        open = store.openAlerts();
        return true;
      }, true);
      return open;
    },
  };
}
