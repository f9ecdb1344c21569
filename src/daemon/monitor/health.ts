import type { Credential } from "../../store/credentials.ts";
import type { Health, HealthState, MonitorStore } from "../../store/monitor.ts";
import type { ProbeResult } from "./probe.ts";

export const DAY_MS = 86_400_000;
/** From here on an expiry is shown and told. */
export const EXPIRING_MS = 30 * DAY_MS;
/** A scheduled check that says "invalid" is not believed while traffic of this last time was answered. */
const QUIET_MS = 5 * 60_000;

/** What a check says of a key that the provider knows. */
const ACCEPTED: ReadonlySet<ProbeResult["meaning"]> = new Set(["valid", "plan", "forbidden"]);

/** Why a check was made. */
export type CheckReason = "schedule" | "traffic" | "command" | "add" | "rotation";

const NOTHING: Omit<Health, "credential" | "version"> = {
  state: "unknown",
  checkedAt: null,
  nextAt: null,
  expiresAt: null,
  suspectSince: null,
  detail: "not checked yet",
};

/** What is known of a version that was never looked at. */
export function unknownHealth(credential: string, version: number): Health {
  return { credential, version, ...NOTHING };
}

/**
 * What a check makes of what was known. Only a clear answer changes the state: a network failure or a rate limit
 * neither brings an invalid key back nor condemns a valid one.
 */
export function afterCheck(before: Health, result: ProbeResult, atMs: number): Health {
  const seen = { ...before, checkedAt: atMs, detail: result.detail };
  switch (result.meaning) {
    case "valid":
      return { ...seen, state: "valid", suspectSince: null, expiresAt: result.expiresAt ?? before.expiresAt };
    case "plan":
      return { ...seen, state: "limited", suspectSince: null, expiresAt: result.expiresAt ?? before.expiresAt };
    case "invalid":
      return { ...seen, state: "invalid", suspectSince: null };
    case "forbidden":
      return { ...seen, state: before.state === "invalid" ? "invalid" : "forbidden", suspectSince: null };
    case "limited":
      return { ...seen, state: before.state === "invalid" ? "invalid" : "limited" };
    case "unknown":
      return seen;
  }
}

/** The earlier of what the operator entered and what the provider said, ms since the epoch; null for never. */
export function expiryOf(credential: Pick<Credential, "expiresAt">, health: Health | undefined): number | null {
  const times = [credential.expiresAt, health?.expiresAt ?? null].filter((time) => time !== null);
  return times.length === 0 ? null : Math.min(...times);
}

/** The one state that is shown: what stops a key from working first, then what will, then what is known of it. */
export function shownState(
  credential: Pick<Credential, "expiresAt">,
  health: Health | undefined,
  nowMs: number,
): HealthState {
  const state = health?.state ?? "unknown";
  const expiresAt = expiryOf(credential, health);
  if (expiresAt !== null && expiresAt <= nowMs) return "expired";
  if (state === "invalid" || state === "forbidden") return state;
  return expiresAt !== null && expiresAt - nowMs <= EXPIRING_MS ? "expiring" : state;
}

/** The version that traffic uses; null while there is none. */
export function currentVersion(credential: Credential): number | null {
  return credential.versions.find((version) => version.stage === "current")?.number ?? null;
}

interface Seen {
  version: number;
  /** Arrival of the newest request that the provider answered, ms since the epoch. */
  answeredAt: number;
}

/**
 * Health of every version, in memory so that a request costs a lookup, and in monitor.db so that a restart and the CLI
 * know it. Without a writable disk it goes on in memory.
 */
export class HealthTable {
  readonly #store: MonitorStore;
  readonly #onFailure: (error: unknown) => void;
  #known = new Map<string, Health>();
  /** Versions that traffic must not use. */
  #refused = new Set<string>();
  /** When the check began that last said so, of versions that no later one doubts. Since this process runs. */
  readonly #verified = new Map<string, number>();
  /** By credential name: outcomes carry that. */
  readonly #answered = new Map<string, Seen>();
  #seen = 0;

  /** @param onFailure told when monitor.db cannot be read or written */
  constructor(store: MonitorStore, onFailure: (error: unknown) => void) {
    this.#store = store;
    this.#onFailure = onFailure;
    this.#load();
  }

  /** Whether traffic may use this version. On the request path. */
  usable(credential: string, version: number): boolean {
    return this.#refused.size === 0 || !this.#refused.has(keyOf(credential, version));
  }

  get(credential: string, version: number): Health | undefined {
    return this.#known.get(keyOf(credential, version));
  }

  /** When the last check began that found a version accepted, ms since the epoch; null while that is in doubt. */
  verifiedAt(credential: string, version: number): number | null {
    return this.#verified.get(keyOf(credential, version)) ?? null;
  }

  /** The provider answered a request that arrived at `atMs`. On the request path. */
  answered(name: string, version: number, atMs: number): void {
    const seen = this.#answered.get(name);
    if (seen?.version === version) seen.answeredAt = Math.max(seen.answeredAt, atMs);
    else this.#answered.set(name, { version, answeredAt: atMs });
  }

  /** Whether the provider answered a request with this version that arrived after `atMs`. */
  answeredAfter(name: string, version: number, atMs: number): boolean {
    const seen = this.#answered.get(name);
    return seen?.version === version && seen.answeredAt > atMs;
  }

  /** @returns true when it was not suspect before */
  suspect(credential: string, version: number, atMs: number): boolean {
    const before = this.get(credential, version) ?? unknownHealth(credential, version);
    if (before.suspectSince !== null || before.state === "invalid") return false;
    this.#verified.delete(keyOf(credential, version));
    // Due at once, so that a restart in the middle of its check does not forget it.
    this.#put({ ...before, suspectSince: atMs, nextAt: atMs });
    return true;
  }

  /** Nothing is wrong with it after all: a later request was answered. */
  unsuspect(credential: string, version: number): void {
    const before = this.get(credential, version);
    if (before?.suspectSince != null) this.#put({ ...before, suspectSince: null });
  }

  postpone(credential: string, version: number, nextAt: number): void {
    this.#put({ ...(this.get(credential, version) ?? unknownHealth(credential, version)), nextAt });
  }

  /**
   * Takes in the result of a check and keeps it in the history.
   * @param started when the check began
   */
  settle(
    credential: Pick<Credential, "id" | "name">,
    version: number,
    result: ProbeResult,
    check: { readonly reason: CheckReason; readonly started: number; readonly nextAt: number | null },
  ): Health {
    const before = this.get(credential.id, version) ?? unknownHealth(credential.id, version);
    const quietSince = before.suspectSince ?? check.started - QUIET_MS;
    // A wrong rule in a provider's file must not take every key out of use while they all work.
    const doubted = result.meaning === "invalid" && this.answeredAfter(credential.name, version, quietSince);
    const after = doubted
      ? { ...before, suspectSince: null, checkedAt: check.started, nextAt: check.nextAt, detail: inUse(result.detail) }
      : { ...afterCheck(before, result, check.started), nextAt: check.nextAt };
    this.#put(after);
    const { meaning, status } = result;
    if (doubted || ACCEPTED.has(meaning)) this.#verified.set(keyOf(credential.id, version), check.started);
    else if (meaning === "invalid") this.#verified.delete(keyOf(credential.id, version));
    const entry = { credential: credential.id, version, at: check.started, reason: check.reason, meaning, status };
    this.#attempt(() => this.#store.addCheck({ ...entry, detail: after.detail }));
    return after;
  }

  /** Takes over what another process (a command) has written. */
  refresh(): void {
    this.#attempt(() => {
      if (this.#store.dataVersion() !== this.#seen) this.#load();
    });
  }

  #load(): void {
    this.#attempt(() => {
      this.#seen = this.#store.dataVersion();
      const known = new Map<string, Health>();
      for (const health of this.#store.health()) known.set(keyOf(health.credential, health.version), health);
      this.#known = known;
      this.#refused = new Set([...known].filter(([, health]) => health.state === "invalid").map(([key]) => key));
    });
  }

  #put(health: Health): void {
    const key = keyOf(health.credential, health.version);
    this.#known.set(key, health);
    if (health.state === "invalid") this.#refused.add(key);
    else this.#refused.delete(key);
    this.#attempt(() => this.#store.putHealth(health));
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#onFailure(error);
    }
  }
}

function inUse(detail: string): string {
  return `${detail}, while requests with it succeed; kept in use`;
}

function keyOf(credential: string, version: number): string {
  return `${credential}\n${version}`;
}
