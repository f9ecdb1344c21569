import type { TestContext } from "node:test";
import { type AlertBook, createAlerts } from "../../../src/daemon/monitor/alerts.ts";
import { type MonitorStore, openMonitorStore } from "../../../src/store/monitor.ts";
import { tempDir } from "../../support/temp-dir.ts";

export interface AlertScene {
  /** Where monitor.db is. */
  readonly dir: string;
  readonly book: AlertBook;
  readonly store: MonitorStore;
  /** Log lines: level, name, fields. */
  readonly lines: readonly string[];
  /** What was told to a listener: `opened backup`, `severity route:r info>warning`. */
  readonly changes: string[];
  /** The same with kinds, without severities: `opened backup_failed backup`. */
  readonly keyed: readonly string[];
  nowMs(): number;
  /** Moves time on second by second (or as told), looking at each, as the monitor does. */
  pass(ms: number, stepMs?: number): void;
  /** From now on monitor.db cannot be written. */
  failing(on: boolean): void;
  /** Another process's handle on the same monitor.db. */
  other(): MonitorStore;
  /** Another book on the same monitor.db, at the same time. */
  restart(): AlertScene;
  end(): void;
}

interface Home {
  readonly dir: string;
  nowMs: number;
}

/** A book of alerts on a real monitor.db, with a clock of its own. @param onLook called at every second that passes */
export function alertScene(t: TestContext, onLook: (nowMs: number) => void = () => {}): AlertScene {
  return open(t, { dir: tempDir(t), nowMs: 1_700_000_000_000 }, onLook);
}

function open(t: TestContext, home: Home, onLook: (nowMs: number) => void): AlertScene {
  const store = openMonitorStore(home.dir);
  const others: MonitorStore[] = [];
  t.after(() => {
    for (const each of [store, ...others]) each.close();
  });
  const lines: string[] = [];
  const line =
    (level: string) =>
    (msg: string, fields: object = {}): void => {
      lines.push(`${level} ${msg} ${JSON.stringify(fields)}`);
    };
  const log = { info: line("info"), warn: line("warn"), error: line("error") };
  let failing = false;
  const flaky = new Proxy(store.alerts, {
    get(target, name: "put" | "markTold" | "open") {
      if (failing) throw new Error("the disk is full");
      return target[name].bind(target);
    },
  });
  const book = createAlerts({ store: flaky, dataVersion: () => store.dataVersion(), log, now: () => home.nowMs });
  const changes: string[] = [];
  const keyed: string[] = [];
  book.subscribe((change) => {
    const { kind, object, severity } = change.alert;
    const from = change.what === "severity" ? ` ${change.before}>${severity}` : "";
    changes.push(`${change.what} ${object}${from}`);
    keyed.push(`${change.what} ${kind} ${object}`);
  });
  return {
    dir: home.dir,
    book,
    store,
    lines,
    changes,
    keyed,
    nowMs: () => home.nowMs,
    pass: (ms, stepMs = 1000) => {
      for (let left = ms; left > 0; left -= stepMs) {
        home.nowMs += Math.min(left, stepMs);
        onLook(home.nowMs);
        book.look();
      }
    },
    failing: (on) => {
      failing = on;
    },
    other: () => {
      const another = openMonitorStore(home.dir);
      others.push(another);
      return another;
    },
    restart: () => {
      book.close();
      store.close();
      return open(t, home, onLook);
    },
    end: () => store.close(),
  };
}
