import { knownLimitKind } from "../../providers/limits/limit-kind.ts";
import type { MonitorStore } from "../../store/monitor.ts";
import type { StoredLimits } from "../../store/provider-limit-rows.ts";
import type { LiveLimits, ProviderView } from "../pipeline/provider-limits.ts";

/** How often it is looked whether something has changed, and at most how often one credential is written. */
const LOOK_EVERY_MS = 1_000;
const WRITE_EVERY_MS = 5_000;
/** Credentials that are written at once: a bounded pause for the traffic. */
const MOST_AT_ONCE = 100;

export interface LimitKeeperOptions {
  readonly store: Pick<MonitorStore, "providerLimits" | "putProviderLimits">;
  readonly limits: Pick<LiveLimits, "restore" | "takeChanged">;
  /** Told when monitor.db cannot be read or written; the limits go on in memory. */
  readonly onFailure: (error: unknown) => void;
  readonly everyMs?: number;
}

export interface LimitKeeper {
  /** Writes what has changed and stops. Call before the store is closed. */
  close(): void;
}

/**
 * Keeps the providers' own limits in monitor.db, beside the traffic: for the next start, and for commands that show them.
 * Takes over what an earlier process knew first.
 */
export function keepProviderLimits(options: LimitKeeperOptions): LimitKeeper {
  const { store, limits, onFailure } = options;
  const attempt = (work: () => void): void => {
    try {
      work();
    } catch (error) {
      onFailure(error);
    }
  };
  const write = (most: number, everyMs: number): void => {
    const changed = limits.takeChanged(most, everyMs);
    if (changed.length > 0) store.putProviderLimits(changed.map(stored));
  };
  attempt(() => limits.restore(store.providerLimits().map(known)));
  const timer = setInterval(
    () => attempt(() => write(MOST_AT_ONCE, WRITE_EVERY_MS)),
    options.everyMs ?? LOOK_EVERY_MS,
  ).unref();
  return {
    close() {
      clearInterval(timer);
      attempt(() => write(Number.POSITIVE_INFINITY, 0));
    },
  };
}

/** The database takes whole numbers. A hold is not made shorter by that. */
function stored({ credential, version, held, windows }: ProviderView): StoredLimits {
  return {
    credential,
    version,
    held: held === null ? null : { ...held, untilMs: Math.ceil(held.untilMs) },
    windows: windows.map((window) => ({
      ...window,
      resetAtMs: window.resetAtMs === null ? null : Math.ceil(window.resetAtMs),
      seenAtMs: Math.floor(window.seenAtMs),
    })),
  };
}

/** Kinds of a later release are left out. */
function known({ windows, ...rest }: StoredLimits): ProviderView {
  return {
    ...rest,
    windows: windows.flatMap((window) => {
      const kind = knownLimitKind(window.kind);
      return kind === null ? [] : { ...window, kind };
    }),
  };
}
