import type { TrafficMeaning } from "../../providers/classify-traffic.ts";
import { Breakers, type OpenBreaker } from "./breaker.ts";
import { CoolDown, type CoolDownSpan, type Standing } from "./cool-down.ts";

/**
 * One answer to one question: may this version be used for a request now? It puts together what the monitor knows
 * (refused), what the provider said to traffic (used up, refused a moment ago, too fast) and whether the provider
 * answers at all (circuit breaker). In memory: a restart begins with the monitor's knowledge alone.
 */

/** Whether a version may be used: false once its provider has refused it. Asked for every request. */
export type Usable = (credentialId: string, version: number) => boolean;

/** A version at the place that a request goes to. A route without a credential has `credentialId` "" and version 0. */
export interface VersionUse {
  readonly credentialId: string;
  readonly version: number;
  /** `host:port` */
  readonly authority: string;
  readonly client: string;
}

/** `provider_limit`: the provider's 429. `quota`: nothing left. `failing`: it does not answer, or with 5xx. */
export type HoldReason = "provider_limit" | "quota" | "failing";

export interface Held {
  readonly why: HoldReason;
  /** ms since the epoch */
  readonly untilMs: number;
}

/**
 * `probe`: one request at a time may find out whether it is well again. `suspect`: the provider refused the key a
 * moment ago and the check of it is not over; only for want of another. `out`: it is known to be refused.
 */
export type Readiness = "ready" | "probe" | "suspect" | "out" | Held;

/** One request with one version. Exactly the first call counts. */
export interface Attempt {
  /**
   * The provider answered, and it is known what that means. Early: when the head (and, of a possible failure, the
   * beginning of the body) has come, not when a stream has ended.
   * @param retryAtMs when the provider said that it will be well, ms since the epoch; null when it did not
   */
  answered(meaning: TrafficMeaning, retryAtMs: number | null): void;
  /** No answer: no connection, or it broke or timed out before a head came. */
  failed(): void;
  /** It ended for a reason that is not the provider's. Harmless after the others, so it belongs into a `finally`. */
  abandoned(): void;
}

export interface PoolHealthOptions {
  /** What the monitor knows. */
  readonly usable: Usable;
  /** When a check last found that the version is not refused, ms since the epoch; null while it is in doubt. */
  readonly verifiedAt: (credentialId: string, version: number) => number | null;
  /** Until when the provider's own limit holds it, ms since the epoch; null when it does not. */
  readonly heldUntil: (credentialId: string, version: number) => number | null;
  /** The provider did not take the key, or it is used up: ask about it. May be called often. */
  readonly onRefused: (credentialId: string, version: number, meaning: TrafficMeaning) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** 0 to below 1. */
  readonly random: () => number;
}

/** What is not simply ready, for status and metrics. */
export interface PoolState {
  readonly breakers: readonly (Omit<OpenBreaker, "key"> & Omit<VersionUse, "client">)[];
  readonly versions: readonly {
    readonly credentialId: string;
    readonly version: number;
    readonly state: "quota" | "suspect";
    /** ms since the epoch */
    readonly untilMs: number;
  }[];
}

/** A quota that nobody told the end of: a day's or a month's is not worth more than a few tries an hour. */
const QUOTA: CoolDownSpan = { firstMs: 5 * 60_000, longestMs: 60 * 60_000 };
/** A check takes seconds; where nobody can be asked, or does not answer, a request has to find out. */
const SUSPICION: CoolDownSpan = { firstMs: 30_000, longestMs: 15 * 60_000 };
const MAX_VERSIONS = 10_000;

/** After these the provider has shown that it takes the key. */
const ACCEPTED: ReadonlySet<TrafficMeaning> = new Set(["ok", "plan", "forbidden"]);

export class PoolHealth {
  readonly #options: PoolHealthOptions;
  readonly #breakers: Breakers;
  /** By version. Usually empty. */
  readonly #quota = new Map<string, CoolDown>();
  readonly #suspects = new Map<string, CoolDown>();

  constructor(options: PoolHealthOptions) {
    this.#options = options;
    this.#breakers = new Breakers(options.random);
  }

  /** Changes nothing: what is chosen is told to `begin`. */
  ready(use: VersionUse, nowMs: number): Readiness {
    const { credentialId, version, client } = use;
    if (!this.#options.usable(credentialId, version)) return "out";
    const untilMs = this.#options.heldUntil(credentialId, version);
    const limit = untilMs !== null && untilMs > nowMs ? ({ why: "provider_limit", untilMs } as const) : null;
    const key = versionKey(use);
    const quota = this.#quota.size === 0 ? null : (this.#quota.get(key)?.standing(nowMs) ?? null);
    const breaker = this.#breakers.standing(placeKey(use), client, nowMs);
    const held = longest(limit, heldBy("quota", quota), heldBy("failing", breaker));
    if (held !== null) return held;
    const suspicion = this.#suspects.size === 0 ? null : this.#suspicion(use, key, nowMs);
    if (suspicion !== null && suspicion !== "trial") return "suspect";
    return quota === "trial" || breaker === "trial" || suspicion === "trial" ? "probe" : "ready";
  }

  /** For a request that goes out now, whatever its readiness is; it is the probe where there is one to make. */
  begin(use: VersionUse): Attempt {
    const { now } = this.#options;
    const beganMs = now();
    const key = versionKey(use);
    const pass = this.#breakers.begin(placeKey(use), use.client, beganMs);
    const trials = { quota: tried(this.#quota.get(key), beganMs), suspicion: tried(this.#suspects.get(key), beganMs) };
    let over = false;
    const end = (tell: (nowMs: number) => void, meaning: TrafficMeaning | null, retryAtMs: number | null): void => {
      if (over) return;
      over = true;
      const nowMs = now();
      tell(nowMs);
      this.#settle(use, { key, trials, beganMs, nowMs, meaning, retryAtMs });
    };
    return {
      answered: (meaning, retryAtMs) => {
        end(meaning === "unavailable" ? pass.failed : pass.succeeded, meaning, retryAtMs);
      },
      failed: () => end(pass.failed, null, null),
      abandoned: () => end(pass.abandoned, null, null),
    };
  }

  state(): PoolState {
    const versions: PoolState["versions"][number][] = [];
    for (const [state, all] of [["quota", this.#quota] as const, ["suspect", this.#suspects] as const]) {
      for (const [key, { untilMs }] of all) versions.push({ ...fromVersionKey(key), state, untilMs });
    }
    const breakers = this.#breakers.open(this.#options.now());
    return { breakers: breakers.map(({ key, ...open }) => ({ ...fromPlaceKey(key), ...open })), versions };
  }

  #settle({ credentialId, version }: VersionUse, ended: Ended): void {
    const { meaning, trials } = ended;
    const { random, onRefused } = this.#options;
    const used = meaning === "quota" ? "failed" : meaning === "ok" ? "well" : "untold";
    settle(this.#quota, QUOTA, trials.quota, used, ended, random);
    const taken = meaning === "invalid" ? "failed" : meaning !== null && ACCEPTED.has(meaning) ? "well" : "untold";
    settle(this.#suspects, SUSPICION, trials.suspicion, taken, { ...ended, retryAtMs: null }, random);
    if (meaning === "quota" || meaning === "invalid") onRefused(credentialId, version, meaning);
  }

  /** Null when there is none, or when a check that came after it has cleared it. */
  #suspicion({ credentialId, version }: VersionUse, key: string, nowMs: number): Standing | null {
    const suspicion = this.#suspects.get(key);
    if (suspicion === undefined) return null;
    const verifiedAt = this.#options.verifiedAt(credentialId, version);
    if (verifiedAt !== null && verifiedAt >= suspicion.sinceMs) {
      this.#suspects.delete(key);
      return null;
    }
    return suspicion.standing(nowMs);
  }
}

/** How an attempt ended. */
interface Ended {
  readonly key: string;
  /** The cool-downs whose trial it was. */
  readonly trials: { readonly quota: CoolDown | null; readonly suspicion: CoolDown | null };
  readonly beganMs: number;
  readonly nowMs: number;
  /** Null when nothing was heard. */
  readonly meaning: TrafficMeaning | null;
  readonly retryAtMs: number | null;
}

/** What one attempt does to one kind of cool-down of its version. */
function settle(
  all: Map<string, CoolDown>,
  span: CoolDownSpan,
  trial: CoolDown | null,
  outcome: "failed" | "well" | "untold",
  { key, beganMs, nowMs, retryAtMs }: Ended,
  random: () => number,
): void {
  const known = all.get(key);
  if (outcome === "failed") {
    if (known === undefined) keep(all, key, new CoolDown(span, nowMs, retryAtMs, random));
    else if (known === trial) trial.fail(nowMs, retryAtMs);
    else known.told(nowMs, retryAtMs);
    return;
  }
  // What had been sent before says nothing about what came after.
  if (outcome === "well" && known !== undefined && (known === trial || beganMs > known.sinceMs)) all.delete(key);
  else trial?.giveBack();
}

function keep(all: Map<string, CoolDown>, key: string, coolDown: CoolDown): void {
  if (all.size >= MAX_VERSIONS) {
    const [oldest = key] = all.keys();
    all.delete(oldest);
  }
  all.set(key, coolDown);
}

function tried(coolDown: CoolDown | undefined, nowMs: number): CoolDown | null {
  return coolDown?.standing(nowMs) === "trial" && coolDown.try() ? coolDown : null;
}

function heldBy(why: HoldReason, standing: Standing | null): Held | null {
  return standing === null || standing === "trial" ? null : { why, untilMs: standing.untilMs };
}

/** All of them have to end; a provider's 429 is the reason only when there is no graver one. */
function longest(...holds: readonly (Held | null)[]): Held | null {
  let held: Held | null = null;
  for (const each of holds) {
    if (each === null) continue;
    held = held === null ? each : { why: each.why, untilMs: Math.max(held.untilMs, each.untilMs) };
  }
  return held;
}

function versionKey({ credentialId, version }: VersionUse): string {
  return `${credentialId}\n${version}`;
}

function fromVersionKey(key: string): { credentialId: string; version: number } {
  const [credentialId = "", version = ""] = key.split("\n");
  return { credentialId, version: Number(version) };
}

function placeKey({ authority, credentialId, version }: VersionUse): string {
  return `${authority}\n${credentialId}\n${version}`;
}

function fromPlaceKey(key: string): Omit<VersionUse, "client"> {
  const [authority = "", ...version] = key.split("\n");
  return { authority, ...fromVersionKey(version.join("\n")) };
}
