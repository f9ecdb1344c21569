import type { Credential } from "../../store/credentials.ts";
import { sha256 } from "../../store/crypto.ts";
import type { SetTimer } from "../pipeline/clock.ts";
import { type CheckReason, currentVersion, type HealthTable } from "./health.ts";
import type { ProbeResult, ProbeVersion } from "./probe.ts";

/** A credential that was never checked is checked between these: not at once, and not all together. */
const FIRST_AFTER_MS = 30_000;
const FIRST_WITHIN_MS = 5 * 60_000;
/** A suspicion without a clear answer is followed up after this. */
const RETRY_MS = 60_000;
/** A check that met a rate limit, a quota or a refusal is made again after this. */
const AGAIN_MS = 15 * 60_000;
/** After a suspicion was cleared, traffic raises no other one of the same version for this long. */
const SUSPECT_PAUSE_MS = 2 * 60_000;
/** Least postponement when a limit has no room. */
const POSTPONE_MS = 10_000;
/** How often it is looked what is due. */
const TICK_MS = 1_000;
/** Checks at the same time. */
const PARALLEL = 4;

/** Room in the limits of the routes that use a credential, or how long to wait for it, ms. */
export type TakeGrant = (credential: Credential) => { readonly release: () => void } | { readonly retryMs: number };

export interface SchedulerOptions {
  readonly health: HealthTable;
  readonly probe: ProbeVersion;
  readonly grant: TakeGrant;
  readonly credentials: () => readonly Credential[];
  readonly byName: (name: string) => Credential | undefined;
  /** Whether the catalog has a request that checks keys of this provider. */
  readonly canProbe: (provider: string) => boolean;
  /** Milliseconds between two checks of one credential; null: only suspicions are followed up. */
  readonly everyMs: number | null;
  /** Brings what is told in line with what is known; called at every tick. */
  readonly review: () => void;
  /** The provider said that it does not accept this version. */
  readonly onInvalid?: (credential: Credential, version: number, detail: string) => void;
  readonly onFailure: (error: unknown) => void;
  readonly now: () => number;
  readonly setTimer: SetTimer;
}

/**
 * Decides when which version is checked: each credential in its own slot of the interval, a version that traffic makes
 * suspect at once, and never while the limits of its routes have no room.
 */
export class Scheduler {
  readonly #options: SchedulerOptions;
  /** Checks under way, by version: a storm of refusals asks once. */
  readonly #running = new Map<string, Promise<void>>();
  /** Until when traffic cannot make a version suspect again. */
  readonly #paused = new Map<string, number>();
  #cancel: () => void = () => {};
  #closed = false;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#sleep();
  }

  /**
   * A request with this version was refused, and the key may be the reason (`keyVerdict`, `isDoubtful`). On the request
   * path.
   */
  refused(name: string, version: number): void {
    const { byName, health, now, canProbe } = this.#options;
    const credential = byName(name);
    if (!credential) return;
    const key = keyOf(credential, version);
    const atMs = now();
    if (this.#running.has(key) || (this.#paused.get(key) ?? 0) > atMs) return;
    if (!health.suspect(credential.id, version, atMs)) return;
    if (canProbe(credential.provider)) void this.#check(credential, version, "traffic");
  }

  /** Starts checks that are due, as many as may run at once; the others are due at the next tick still. */
  #tick(): void {
    const { health, review, onFailure } = this.#options;
    try {
      health.refresh();
      for (const { credential, version, reason } of this.#due()) {
        if (this.#running.size >= PARALLEL) break;
        void this.#check(credential, version, reason);
      }
      this.#forgetPauses();
      review();
    } catch (error) {
      onFailure(error);
    }
    this.#sleep();
  }

  /** Starts nothing more; what a check still under way brings is not taken in. */
  close(): void {
    this.#closed = true;
    this.#cancel();
  }

  #sleep(): void {
    if (!this.#closed) this.#cancel = this.#options.setTimer(TICK_MS, () => this.#tick());
  }

  #due(): { credential: Credential; version: number; reason: CheckReason; at: number }[] {
    const { credentials, canProbe, now } = this.#options;
    const due: { credential: Credential; version: number; reason: CheckReason; at: number }[] = [];
    const nowMs = now();
    for (const credential of credentials()) {
      if (credential.state !== "enabled") continue;
      if (!canProbe(credential.provider)) {
        this.#trustTraffic(credential);
        continue;
      }
      const current = currentVersion(credential);
      for (const { number, stage } of credential.versions) {
        if (stage === "revoked") continue;
        const at = this.#dueAt(credential, number, number === current);
        if (at === null || at.at > nowMs) continue;
        due.push({ credential, version: number, ...at });
      }
    }
    return due.sort((a, b) => a.at - b.at);
  }

  /** Nobody can be asked about it, so a request that succeeds afterwards ends the suspicion. */
  #trustTraffic(credential: Credential): void {
    const { health } = this.#options;
    for (const { number } of credential.versions) {
      const since = health.get(credential.id, number)?.suspectSince;
      if (since != null && health.answeredAfter(credential.name, number, since))
        health.unsuspect(credential.id, number);
    }
  }

  /** Of other versions than the current one only suspicions are followed up. */
  #dueAt(credential: Credential, version: number, current: boolean): { at: number; reason: CheckReason } | null {
    const { everyMs, health, now } = this.#options;
    const known = health.get(credential.id, version);
    if (known?.suspectSince != null) return { at: known.nextAt ?? 0, reason: "traffic" };
    if (!current || (everyMs === null && known?.state !== "invalid")) return null;
    if (known?.nextAt != null) return { at: known.nextAt, reason: "schedule" };
    // Its first check is put off too, so that a start with many credentials does not ask for all at once.
    const spread = Math.min(everyMs ?? FIRST_WITHIN_MS, FIRST_WITHIN_MS) - FIRST_AFTER_MS;
    health.postpone(credential.id, version, now() + FIRST_AFTER_MS + (phaseOf(credential.id) % spread));
    return null;
  }

  #check(credential: Credential, version: number, reason: CheckReason): Promise<void> {
    const key = keyOf(credential, version);
    const running = this.#running.get(key);
    if (running) return running;
    const check = this.#ask(credential, version, reason)
      .catch(this.#options.onFailure)
      .finally(() => this.#running.delete(key));
    this.#running.set(key, check);
    return check;
  }

  async #ask(credential: Credential, version: number, reason: CheckReason): Promise<void> {
    const { grant, health, probe, now } = this.#options;
    const taken = grant(credential);
    const started = now();
    if ("retryMs" in taken) {
      health.postpone(credential.id, version, started + Math.max(POSTPONE_MS, taken.retryMs));
      return;
    }
    let result: ProbeResult;
    try {
      result = await probe(credential, version);
    } finally {
      taken.release();
    }
    if (this.#closed) return;
    const suspicious = health.get(credential.id, version)?.suspectSince != null;
    const nextAt = this.#nextAt(credential, result, suspicious, started);
    const after = health.settle(credential, version, result, { reason, started, nextAt });
    if (after.state === "invalid") this.#options.onInvalid?.(credential, version, result.detail);
    if (after.suspectSince === null && after.state !== "invalid") {
      this.#paused.set(keyOf(credential, version), started + SUSPECT_PAUSE_MS);
    }
  }

  /** The credential's own slot of the interval, at least half an interval away; sooner when the answer was unclear. */
  #nextAt({ id }: Credential, { meaning }: ProbeResult, suspicious: boolean, fromMs: number): number | null {
    const { everyMs } = this.#options;
    const slot = everyMs === null ? null : nextSlot(id, fromMs + everyMs / 2, everyMs);
    if (suspicious && (meaning === "unknown" || meaning === "limited")) return fromMs + RETRY_MS;
    // A provider's own trouble may look like a dead key; it must not stay out of use for a whole interval.
    const soon = meaning === "invalid" || (meaning === "limited" && slot !== null);
    return soon ? Math.min(slot ?? Number.POSITIVE_INFINITY, fromMs + AGAIN_MS) : slot;
  }

  #forgetPauses(): void {
    const nowMs = this.#options.now();
    for (const [key, until] of this.#paused) if (until <= nowMs) this.#paused.delete(key);
  }
}

/** The first time from `fromMs` on that belongs to this credential: slots are spread over the interval by a hash. */
export function nextSlot(id: string, fromMs: number, everyMs: number): number {
  const phase = phaseOf(id) % everyMs;
  return Math.ceil((fromMs - phase) / everyMs) * everyMs + phase;
}

function phaseOf(id: string): number {
  return sha256(id).readUIntBE(0, 6);
}

function keyOf({ id }: Credential, version: number): string {
  return `${id}\n${version}`;
}
