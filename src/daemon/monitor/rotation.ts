import type { Provider } from "../../providers/schema.ts";
import { shredDue } from "../../store/credential-removal.ts";
import { type RotationChange, sendToRotation } from "../../store/credential-rotation.ts";
import type { Credential } from "../../store/credentials.ts";
import { advance, type RotationEvent } from "../../store/rotation-step.ts";
import type { Rotation } from "../../store/rotations.ts";
import type { Vault } from "../../store/vault.ts";
import type { SetTimer } from "../pipeline/clock.ts";
import type { Outcome } from "../pipeline/exchange.ts";
import type { AlertKind } from "./alert-kinds.ts";
import { DueNotices } from "./rotation-due.ts";
import { count, isAnswered, isFailing, newTally, type Tally } from "./rotation-tally.ts";

/** What a probe of a version came to. */
export interface ProbeResult {
  readonly meaning: "valid" | "invalid" | "forbidden" | "limited" | "plan" | "unknown";
  readonly status: number | null;
  /** For people; never holds a secret. */
  readonly detail: string;
}

export interface RotationProber {
  probe(credential: Credential, version: number): Promise<ProbeResult>;
}

export interface RotationAlerts {
  raise(kind: AlertKind, object: string, severity: "info" | "warning" | "critical", message: string): void;
  clear(kind: AlertKind, object: string): void;
}

/** A credential whose rotation is under way. */
export interface Rotating {
  readonly credential: Credential;
  readonly rotation: Rotation;
}

export interface RotationsOptions {
  readonly vault: Vault;
  /** What the daemon knows of the vault; `refresh` looks for changes now. */
  readonly view: { readonly rotating: readonly Rotating[]; list(): readonly Credential[]; refresh(): void };
  readonly provider: (id: string) => Provider | undefined;
  /** Null: new versions are not tried before clients use them. */
  readonly prober: RotationProber | null;
  readonly alerts: RotationAlerts;
  /** Exchanges that hold a version now. */
  readonly uses: (credentialId: string, version: number) => number;
  /** The longest that an exchange with a provider may wait between the choice of its version and its use, milliseconds. */
  readonly settleMs: (provider: string) => number;
  /** ms since the epoch */
  readonly now: () => number;
  readonly setTimer: SetTimer;
  /** Told of errors of the vault; the rotation is tried again later. */
  readonly onFailure: (error: unknown) => void;
}

const TICK_MS = 500;
/** After an error that may last (a full disk), so that the log is not filled. */
const PAUSE_MS = 30_000;
/** How often it is looked what is due to be shredded or rotated. */
const DATES_EVERY_MS = 60_000;
const ACTOR = "sidekey";
export const ROTATION_FAILED = "rotation_failed";

/** Traffic of one rotation, by version. */
interface Watched {
  readonly id: string;
  readonly from: number | null;
  readonly to: number;
  /** Both in this step, and the old one's since this process watches. */
  readonly fresh: Tally;
  readonly old: Tally;
  readonly phase: string;
  readonly step: number;
}

/**
 * Moves rotations on: tries the new version, takes it into use step by step, takes it back when the provider refuses
 * it, and revokes the old one when nothing uses it any more. All that lasts is in the vault: after a restart it goes on
 * where it was, only the counts of refusals begin again.
 */
export class Rotations {
  readonly #options: RotationsOptions;
  readonly #watched = new Map<string, Watched>();
  readonly #probing = new Set<string>();
  readonly #pausedUntil = new Map<string, number>();
  #cancelTimer: () => void = () => {};
  #closed = false;
  readonly #due: DueNotices;
  #nextDatesAt = 0;

  constructor(options: RotationsOptions) {
    this.#options = options;
    this.#due = new DueNotices(options);
  }

  /** Counts what the provider answered. Cheap; called for every exchange. */
  outcome(outcome: Outcome): void {
    if (this.#watched.size === 0 || outcome.credential === null || !isAnswered(outcome)) return;
    const watched = this.#watched.get(outcome.credential);
    if (watched === undefined) return;
    if (outcome.version === watched.to) count(watched.fresh, outcome.status);
    else if (outcome.version === watched.from) count(watched.old, outcome.status);
  }

  /** Something else (a probe after a 401) found that the provider does not take this version. */
  rejected(credentialId: string, version: number, detail: string): void {
    this.#send(credentialId, { kind: "failing", version, detail });
  }

  /** Looks at every rotation once. Probes go on after it has returned. */
  tick(): void {
    const { view, now, vault } = this.#options;
    if (this.#closed || vault.sealed) return;
    const rotating = view.rotating;
    this.#watch(rotating);
    for (const { credential, rotation } of rotating) {
      if ((this.#pausedUntil.get(credential.id) ?? 0) <= now()) this.#look(credential, rotation);
    }
    if (now() >= this.#nextDatesAt) this.#dates();
  }

  /** Ticks from now on. */
  start(): void {
    this.#cancelTimer = this.#options.setTimer(TICK_MS, () => {
      this.tick();
      if (!this.#closed) this.start();
    });
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer();
  }

  #look(credential: Credential, rotation: Rotation): void {
    if (rotation.phase === "testing") this.#test(credential, rotation);
    if (rotation.phase === "ramping" || rotation.phase === "grace") this.#move(credential, rotation);
  }

  #move(credential: Credential, rotation: Rotation): void {
    const watched = this.#watched.get(credential.name);
    if (watched !== undefined && rotation.from !== null && isFailing(watched.fresh, watched.old)) {
      const { requests, refused } = watched.fresh;
      const detail = `the provider refused ${refused} of its ${requests} requests`;
      this.#send(credential.id, { kind: "failing", version: watched.to, detail });
      return;
    }
    const users = rotation.from === null ? 0 : this.#options.uses(credential.id, rotation.from);
    const event = { kind: "time", users, settleMs: this.#options.settleMs(credential.provider) } as const;
    if (advance(rotation, event, this.#options.now()).note !== null) this.#send(credential.id, event);
  }

  #test(credential: Credential, rotation: Rotation): void {
    const { prober, provider, now } = this.#options;
    const version = rotation.to;
    if (version === null || this.#probing.has(credential.id)) return;
    if (rotation.nextTryAt !== null && rotation.nextTryAt > now()) return;
    if (prober === null || provider(credential.provider)?.probe === null) {
      this.#send(credential.id, { kind: "tested", version, meaning: "valid", detail: "nothing to test it with" });
      return;
    }
    this.#probing.add(credential.id);
    void this.#probe(prober, credential, rotation, version)
      .catch((error: unknown): RotationEvent => {
        this.#options.onFailure(error);
        return { kind: "tested", version, meaning: "unknown", detail: "the probe could not be made" };
      })
      .then((event) => {
        this.#probing.delete(credential.id);
        if (!this.#closed) this.#send(credential.id, event);
      });
  }

  async #probe(
    prober: RotationProber,
    credential: Credential,
    rotation: Rotation,
    version: number,
  ): Promise<RotationEvent> {
    const { meaning, detail } = await prober.probe(credential, version);
    if (meaning === "valid" || meaning === "plan") return { kind: "tested", version, meaning: "valid", detail };
    if (meaning === "invalid") return { kind: "tested", version, meaning, detail };
    if (meaning !== "forbidden") return { kind: "tested", version, meaning: "unknown", detail };
    // A narrow key may not be allowed to ask what the probe asks; then the old one is not either.
    const old = rotation.from === null ? null : await prober.probe(credential, rotation.from);
    const same = old?.meaning === "forbidden";
    return { kind: "tested", version, meaning: same ? "valid" : "invalid", detail };
  }

  #send(credentialId: string, event: RotationEvent): void {
    const { vault, view, now, onFailure } = this.#options;
    try {
      const change = sendToRotation(vault, credentialId, event, ACTOR);
      view.refresh();
      // At once, so that no refusal of the new step is counted to the one before.
      this.#watch(view.rotating);
      if (change !== null) this.#tell(credentialId, change);
    } catch (error) {
      this.#pausedUntil.set(credentialId, now() + PAUSE_MS);
      onFailure(error);
    }
  }

  #tell(credentialId: string, { after }: RotationChange): void {
    if (after.phase !== "failed") return;
    const { alerts, vault } = this.#options;
    const credential = vault.listCredentials().find(({ id }) => id === credentialId);
    if (credential === undefined) return;
    alerts.raise(
      ROTATION_FAILED,
      `credential:${credential.name}`,
      "critical",
      `the rotation was rolled back: ${after.problem}. Version ${after.from ?? "-"} serves; make another key and run \`sidekey credential rotate ${credential.name}\``,
    );
  }

  /** Counts begin anew with each step; the old version's go on, to compare with. */
  #watch(rotating: readonly Rotating[]): void {
    const names = new Set(rotating.map(({ credential }) => credential.name));
    for (const name of this.#watched.keys()) if (!names.has(name)) this.#watched.delete(name);
    for (const { credential, rotation } of rotating) {
      const { from, to, phase, step } = rotation;
      if (to === null) continue;
      const before = this.#watched.get(credential.name);
      if (before?.to === to && before.phase === phase && before.step === step && before.id === credential.id) continue;
      if (before === undefined) this.#options.alerts.clear(ROTATION_FAILED, `credential:${credential.name}`);
      const old = before?.to === to && before.from === from ? before.old : newTally();
      this.#watched.set(credential.name, { id: credential.id, from, to, fresh: newTally(), old, phase, step });
    }
  }

  #dates(): void {
    const { vault, view, now, onFailure } = this.#options;
    this.#nextDatesAt = now() + DATES_EVERY_MS;
    try {
      this.#due.check();
      if (shredDue(vault, now(), ACTOR).length > 0) view.refresh();
    } catch (error) {
      onFailure(error);
    }
  }
}

/** Starts to move rotations on; `close` stops it. */
export function startRotations(options: RotationsOptions): Rotations {
  const rotations = new Rotations(options);
  rotations.start();
  return rotations;
}
