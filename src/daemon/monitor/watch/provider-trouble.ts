import type { AlertBook } from "../alerts.ts";
import type { Attempt } from "./attempt.ts";
import { SlidingCount } from "./sliding-count.ts";

const FAILING = "provider_failing";
const LIMITED = "provider_limited";

/** What failed is counted over this. */
const FAILURE_SLICES = 12;
const FAILURE_SLICE_MS = 10_000;
/** So many tries say something. */
const MIN_TRIES = 10;
/** From this share of failures on it is failing, and down to that share it still is. */
const FAILING_SHARE = 0.5;
const WELL_SHARE = 0.1;
/** A breaker that stays open for this long is told. */
const BROKEN_MS = 60_000;
/** A provider is well again after this long without a failure that counts. */
const HEALTH_MS = 120_000;

const LIMIT_SLICES = 10;
const LIMIT_SLICE_MS = 30_000;
/** 429s that go on for this long, at least so many and that share of the answers, are told. */
const LIMITED_MS = 300_000;
const MIN_LIMITED = 5;
const LIMITED_SHARE = 0.1;

/** While trouble lasts its alert is counted on at this pace. */
const REPEAT_MS = 60_000;
/** Nobody has asked it anything for this long: nothing is known any more. */
const FORGET_MS = 3_600_000;
/** Hosts that are watched. */
const MAX_HOSTS = 500;

interface Watched {
  readonly object: string;
  readonly failed: SlidingCount;
  readonly tried: SlidingCount;
  readonly limited: SlidingCount;
  readonly answered: SlidingCount;
  lastAt: number;
  lastCause: string;
  /** Since when its breaker is open, and when it last was. */
  brokenSince: number | null;
  brokenAt: number;
  /** Since when there are 429s without a pause of `HEALTH_MS`. */
  limitedSince: number | null;
  limitedAt: number;
  /** When its alerts were last raised; null while they are closed. */
  failingTold: number | null;
  limitedTold: number | null;
}

/** Tells which providers fail, or refuse for their limits, for longer than a moment. One entry per provider and host. */
export class ProviderTrouble {
  readonly #alerts: Pick<AlertBook, "raise" | "clear">;
  readonly #watched = new Map<string, Watched>();

  constructor(alerts: Pick<AlertBook, "raise" | "clear" | "open">, nowMs: number) {
    this.#alerts = alerts;
    for (const { kind, object, lastAt } of alerts.open()) {
      if (kind !== FAILING && kind !== LIMITED) continue;
      // A restart is no health: it has to be well for as long as anybody else.
      const watched = this.#of(object, nowMs);
      if (kind === FAILING) Object.assign(watched, { failingTold: lastAt, brokenAt: nowMs });
      else Object.assign(watched, { limitedTold: lastAt, limitedAt: nowMs });
    }
  }

  get size(): number {
    return this.#watched.size;
  }

  /** On the request path. */
  seen({ provider, host, result, cause, atMs }: Attempt): void {
    const watched = this.#of(objectOf(provider, host), atMs);
    watched.lastAt = Math.max(watched.lastAt, atMs);
    watched.tried.add(atMs);
    if (result === "failed") {
      watched.failed.add(atMs);
      if (cause !== "") watched.lastCause = cause;
      return;
    }
    watched.answered.add(atMs);
    if (result !== "limited") return;
    watched.limited.add(atMs);
    watched.limitedSince ??= atMs;
    watched.limitedAt = atMs;
  }

  /** The breaker to this host has opened, or is closed again. */
  breaker(provider: string, host: string, open: boolean, atMs: number): void {
    const watched = this.#of(objectOf(provider, host), atMs);
    watched.brokenAt = atMs;
    watched.brokenSince = open ? (watched.brokenSince ?? atMs) : null;
  }

  /** To be called every second or so. */
  look(nowMs: number): void {
    for (const [object, watched] of this.#watched) {
      if (watched.brokenSince === null && nowMs - watched.lastAt >= FORGET_MS) {
        this.#forget(object, watched);
        continue;
      }
      this.#lookAtFailures(watched, nowMs);
      this.#lookAtLimits(watched, nowMs);
    }
  }

  #lookAtFailures(watched: Watched, nowMs: number): void {
    const [failed, tried] = [watched.failed.sum(nowMs), watched.tried.sum(nowMs)];
    const { brokenSince, brokenAt, lastCause, failingTold } = watched;
    const broken = brokenSince !== null && nowMs - brokenSince >= BROKEN_MS;
    if (broken || (tried >= MIN_TRIES && failed / tried >= FAILING_SHARE)) {
      if (failingTold !== null && nowMs - failingTold < REPEAT_MS) return;
      watched.failingTold = nowMs;
      const last = lastCause === "" ? "" : `, last ${lastCause}`;
      const what = broken
        ? `its breaker is open since ${new Date(brokenSince).toISOString()}${last}`
        : `${failed} of ${tried} requests failed in the last 2 minutes${last}`;
      const message = `${named(watched)}: ${what}; look at the provider's status page and at \`sidekey requests --follow\``;
      this.#alerts.raise(FAILING, watched.object, "critical", message);
      return;
    }
    const well = tried > failed && failed / tried <= WELL_SHARE;
    if (failingTold === null || !well || brokenSince !== null || nowMs - brokenAt < HEALTH_MS) return;
    watched.failingTold = null;
    this.#alerts.clear(FAILING, watched.object);
  }

  #lookAtLimits(watched: Watched, nowMs: number): void {
    if (nowMs - watched.limitedAt >= HEALTH_MS) watched.limitedSince = null;
    const { limitedSince, limitedTold } = watched;
    if (limitedSince === null) {
      if (limitedTold === null || nowMs - watched.limitedAt < HEALTH_MS) return;
      // While nobody asks it anything nothing is known.
      if (watched.answered.sum(nowMs) === 0) return;
      watched.limitedTold = null;
      this.#alerts.clear(LIMITED, watched.object);
      return;
    }
    const [limited, answered] = [watched.limited.sum(nowMs), watched.answered.sum(nowMs)];
    if (nowMs - limitedSince < LIMITED_MS || limited < MIN_LIMITED || limited / answered < LIMITED_SHARE) return;
    if (limitedTold !== null && nowMs - limitedTold < REPEAT_MS) return;
    watched.limitedTold = nowMs;
    const what = `${limited} of ${answered} answers of the last 5 minutes were 429`;
    const message = `${named(watched)}: ${what}; ask for less with \`limits\` or \`pace: on\` of its routes, or for a larger plan`;
    this.#alerts.raise(LIMITED, watched.object, "warning", message);
  }

  #of(object: string, nowMs: number): Watched {
    const known = this.#watched.get(object);
    if (known) return known;
    const [oldest] = this.#watched;
    if (oldest && this.#watched.size >= MAX_HOSTS) this.#forget(...oldest);
    const watched: Watched = {
      object,
      failed: new SlidingCount(FAILURE_SLICES, FAILURE_SLICE_MS),
      tried: new SlidingCount(FAILURE_SLICES, FAILURE_SLICE_MS),
      limited: new SlidingCount(LIMIT_SLICES, LIMIT_SLICE_MS),
      answered: new SlidingCount(LIMIT_SLICES, LIMIT_SLICE_MS),
      lastAt: nowMs,
      lastCause: "",
      brokenSince: null,
      brokenAt: Number.NEGATIVE_INFINITY,
      limitedSince: null,
      limitedAt: Number.NEGATIVE_INFINITY,
      failingTold: null,
      limitedTold: null,
    };
    this.#watched.set(object, watched);
    return watched;
  }

  #forget(object: string, watched: Watched): void {
    this.#watched.delete(object);
    if (watched.failingTold !== null) this.#alerts.clear(FAILING, object);
    if (watched.limitedTold !== null) this.#alerts.clear(LIMITED, object);
  }
}

function objectOf(provider: string, host: string): string {
  return `provider:${provider}/${host}`;
}

/** `openai (api.openai.com)` */
function named({ object }: Watched): string {
  const [provider, host] = object.slice("provider:".length).split("/");
  return `${provider} (${host})`;
}
