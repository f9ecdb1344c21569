import type { ProviderLimits } from "../../providers/limit-headers.ts";
import { SHARED_PREFIX } from "../../store/provider-limit-rows.ts";
import type { SetTimer } from "./clock.ts";
import { ProxyError } from "./errors.ts";
import { type Held, isRefusal } from "./provider-hold.ts";
import type { ProviderLane, Trip } from "./provider-lane.ts";
import { type Need, ONE_CALL } from "./provider-need.ts";
import { type ProviderSubject, SubjectTable } from "./provider-subject.ts";
import type { WindowView } from "./provider-window.ts";
import { WaitLine } from "./wait-line.ts";

/** Credential versions that are kept in mind. */
const MAX_SUBJECTS = 10_000;
/** Requests that may wait in one line. */
const MAX_WAITING = 1_000;
/** What to say when only the answer to somebody else's request can tell. */
const UNKNOWN_RETRY_MS = 1_000;

export interface ProviderLimitOptions {
  /** Milliseconds since the epoch, from a clock that does not go back; `readLimits` must be given the same. */
  readonly nowMs: () => number;
  readonly setTimer: SetTimer;
  /** From 0 to 1. */
  readonly random: () => number;
  /** The id of the provider that counts this credential together with all others of it, by our address; else null. */
  readonly countedTogether: (credentialId: string) => string | null;
  readonly maxSubjects?: number;
  readonly maxWaiting?: number;
}

/** A request that is about to be sent with a credential. */
export interface LimitedRequest {
  readonly credential: { readonly id: string; readonly name: string };
  readonly version: number;
  readonly client: string;
  /** What the provider counts apart within one credential: the model, else the host; null when nobody knows. */
  readonly scope: string | null;
  /** Whether it is slowed down before a limit is reached. Holds are for all. */
  readonly pace: boolean;
  readonly need: Need;
  /** How long it may wait altogether, in milliseconds. */
  readonly maxWaitMs: number;
}

/** Leave to send one request. Whatever becomes of it, `over` or `unsent` has to be called; again does nothing. */
export interface Pass {
  /** How long it waited, in milliseconds. */
  readonly waitedMs: number;
  /** The head of the answer has come. Call it again, with 429, when only the body shows that a limit refused it. */
  answered(status: number, limits: ProviderLimits): void;
  /** The answer is complete, or will never be. @param outputTokens that were written; null when nobody knows */
  over(outputTokens: number | null): void;
  /** The request never left sidekey. */
  unsent(): void;
}

/** What is known of one credential's limits at its provider. */
export interface ProviderView {
  /** A credential's id; `provider:<id>`, with version 0, where a provider counts all keys together. */
  readonly credential: string;
  readonly version: number;
  readonly held: Held | null;
  readonly windows: readonly (WindowView & { readonly scope: string | null })[];
}

/** The answer to a request that did not enter: one of sidekey's own. */
export interface ObservedAnswer {
  readonly credential: string;
  readonly version: number;
  readonly status: number;
  readonly limits: ProviderLimits;
}

/** The providers' own limits, live: who is held until when, what is left, and whose turn it is. */
export interface LiveLimits {
  /**
   * Lets a request go: at once (no promise) when nothing stands against it, else when its turn has come.
   * @param gone aborts when the client goes away; asked for only when the request has to wait
   * @throws ProxyError `limit_exceeded` with `Retry-After` when its turn cannot come in time, and `client_closed`; both
   *   also as rejections
   */
  enter(request: LimitedRequest, gone: () => AbortSignal): Pass | Promise<Pass>;
  observe(answer: ObservedAnswer): void;
  /** Until when the provider does not want to see this credential, in ms since the epoch; null when it may be used. */
  heldUntil(credential: string, version: number): number | null;
  view(credential: string, version: number): ProviderView | null;
  views(): Iterable<ProviderView>;
  /** Those that have changed since they were last taken, at most `most`, each at most once in `everyMs`. */
  takeChanged(most: number, everyMs: number): ProviderView[];
  /** Goes on from what an earlier process knew. */
  restore(views: readonly ProviderView[]): void;
  /** Requests that wait now. */
  waiting(): number;
}

class LimitsOfProviders implements LiveLimits {
  readonly #options: Required<ProviderLimitOptions>;
  readonly #subjects: SubjectTable;
  readonly #changed = new Set<ProviderSubject>();

  constructor(options: ProviderLimitOptions) {
    this.#options = { maxSubjects: MAX_SUBJECTS, maxWaiting: MAX_WAITING, ...options };
    const { nowMs, setTimer, maxSubjects, maxWaiting, random } = this.#options;
    this.#subjects = new SubjectTable(maxSubjects, (hold) => {
      const gapMs = (waiting: number) => (hold.spreadLeftMs(nowMs()) * 2 * random()) / (waiting + 1);
      return new WaitLine({ nowMs, setTimer, maxWaiting, gapMs });
    });
  }

  enter(request: LimitedRequest, gone: () => AbortSignal): Pass | Promise<Pass> {
    const nowMs = this.#options.nowMs();
    const subject = this.#subject(request.credential.id, request.version);
    const { lane, line: paced } = subject.lane(request.scope);
    const line = request.pace ? paced : subject.line;
    const turn = new Turn(subject, lane, request, nowMs);
    const readyAtMs = turn.readyAt(nowMs);
    if (readyAtMs !== null && readyAtMs > turn.deadlineMs) throw turn.refusal("late", readyAtMs, nowMs);
    if (line.size === 0 && readyAtMs === nowMs) return this.#send(subject, lane, request.need, nowMs);
    const signal = gone();
    if (signal.aborted) throw clientClosed();
    return new Promise<Pass>((resolve, reject) => {
      const settle = (): void => signal.removeEventListener("abort", abandon);
      const waiter = {
        client: request.client,
        deadlineMs: turn.deadlineMs,
        readyAt: (atMs: number) => turn.readyAt(atMs),
        grant: () => {
          settle();
          resolve(this.#send(subject, lane, request.need, nowMs));
        },
        refuse: (why: Refused, atMs: number | null) => {
          settle();
          reject(turn.refusal(why, atMs, this.#options.nowMs()));
        },
      };
      const abandon = (): void => {
        if (line.leave(waiter)) reject(clientClosed());
      };
      signal.addEventListener("abort", abandon, { once: true });
      line.join(waiter);
    });
  }

  observe({ credential, version, status, limits }: ObservedAnswer): void {
    const subject = this.#subject(credential, version);
    const pass = this.#send(subject, subject.lane(null).lane, ONE_CALL, this.#options.nowMs());
    pass.answered(status, limits);
    pass.over(null);
  }

  heldUntil(credential: string, version: number): number | null {
    return this.#find(credential, version)?.hold.at(this.#options.nowMs())?.untilMs ?? null;
  }

  view(credential: string, version: number): ProviderView | null {
    const subject = this.#find(credential, version);
    return subject === undefined ? null : this.#viewOf(subject);
  }

  *views(): Iterable<ProviderView> {
    for (const subject of this.#subjects.all()) yield this.#viewOf(subject);
  }

  takeChanged(most: number, everyMs: number): ProviderView[] {
    const nowMs = this.#options.nowMs();
    const taken: ProviderView[] = [];
    for (const subject of this.#changed) {
      if (taken.length >= most) break;
      if (nowMs < subject.takenAtMs + everyMs) continue;
      subject.takenAtMs = nowMs;
      this.#changed.delete(subject);
      taken.push(this.#viewOf(subject));
    }
    return taken;
  }

  restore(views: readonly ProviderView[]): void {
    const nowMs = this.#options.nowMs();
    for (const { credential, version, held, windows } of views) {
      const subject = this.#subjects.get(credential, version, nowMs);
      if (held !== null) subject.hold.restore(held, nowMs);
      for (const { scope, ...window } of windows) subject.lane(scope).lane.restore(window);
    }
  }

  waiting(): number {
    let sum = 0;
    for (const subject of this.#subjects.all()) for (const line of subject.lines()) sum += line.size;
    return sum;
  }

  #send(subject: ProviderSubject, lane: ProviderLane, need: Need, arrivedMs: number): Pass {
    const nowMs = this.#options.nowMs();
    subject.usedAtMs = nowMs;
    const trip = lane.send(need, ++subject.sent, nowMs);
    return {
      waitedMs: nowMs - arrivedMs,
      answered: (status, limits) => this.#answered(subject, lane, trip, status, limits),
      over: (outputTokens) => {
        lane.over(trip, outputTokens);
        advance(subject);
      },
      unsent: () => {
        lane.unsent(trip);
        advance(subject);
      },
    };
  }

  #answered(subject: ProviderSubject, lane: ProviderLane, trip: Trip, status: number, limits: ProviderLimits): void {
    const nowMs = this.#options.nowMs();
    lane.answered(trip, status, limits, nowMs);
    const wasHeld = subject.hold.at(nowMs) !== null;
    if (isRefusal(status, limits)) {
      subject.hold.refused({ number: trip.number, status, limits }, subject.sent, nowMs, this.#options.random());
      for (const line of subject.lines()) line.sendAway();
    } else if (status < 500) {
      subject.hold.passed(trip.number, nowMs);
    }
    const changed = limits.windows.length > 0 || wasHeld || subject.hold.at(nowMs) !== null;
    if (changed && this.#changed.size < this.#options.maxSubjects) this.#changed.add(subject);
    advance(subject);
  }

  #subject(credential: string, version: number): ProviderSubject {
    const provider = this.#options.countedTogether(credential);
    const nowMs = this.#options.nowMs();
    return provider === null
      ? this.#subjects.get(credential, version, nowMs)
      : this.#subjects.get(sharedCredential(provider), 0, nowMs);
  }

  #find(credential: string, version: number): ProviderSubject | undefined {
    const provider = this.#options.countedTogether(credential);
    return provider === null
      ? this.#subjects.find(credential, version)
      : this.#subjects.find(sharedCredential(provider), 0);
  }

  #viewOf(subject: ProviderSubject): ProviderView {
    const nowMs = this.#options.nowMs();
    const { credential, version, hold } = subject;
    const windows = [...subject.lanes()].flatMap(([scope, { lane }]) =>
      lane.views(nowMs).map((window) => ({ ...window, scope })),
    );
    return { credential, version, held: hold.at(nowMs), windows };
  }
}

type Refused = "late" | "full";

/** One request's wait. */
class Turn {
  readonly deadlineMs: number;
  readonly #subject: ProviderSubject;
  readonly #lane: ProviderLane;
  readonly #request: LimitedRequest;

  constructor(subject: ProviderSubject, lane: ProviderLane, request: LimitedRequest, nowMs: number) {
    this.#subject = subject;
    this.#lane = lane;
    this.#request = request;
    this.deadlineMs = nowMs + request.maxWaitMs;
  }

  /** `nowMs` for at once; null when only an answer to another request can tell. */
  readyAt(nowMs: number): number | null {
    const held = this.#subject.hold.at(nowMs);
    if (held !== null) return held.untilMs;
    if (!this.#request.pace) return nowMs;
    return this.#lane.readyAt(this.#request.need, nowMs, this.deadlineMs);
  }

  refusal(why: Refused, readyAtMs: number | null, nowMs: number): ProxyError {
    const { name } = this.#request.credential;
    const afterMs = readyAtMs === null ? UNKNOWN_RETRY_MS : readyAtMs - nowMs;
    const seconds = Math.max(1, Math.ceil(afterMs / 1000));
    const problem =
      this.#subject.hold.at(nowMs) === null
        ? `the provider's own limits leave credential ${name} no room`
        : `the provider wants no requests with credential ${name} for now`;
    return new ProxyError("limit_exceeded", `${problem}; try again in ${seconds} s`, {
      reason: why === "full" ? "queue_full" : "provider_limit",
      fields: ["Retry-After", String(seconds)],
    });
  }
}

function advance(subject: ProviderSubject): void {
  for (const line of subject.lines()) line.advance();
}

/** What stands for all credentials of a provider that counts them together. */
export function sharedCredential(provider: string): string {
  return `${SHARED_PREFIX}${provider}`;
}

function clientClosed(): ProxyError {
  return new ProxyError("client_closed", "the client went away while its request waited for the provider's limits");
}

/** One per daemon: all routes share what is known. */
export function createProviderLimits(options: ProviderLimitOptions): LiveLimits {
  return new LimitsOfProviders(options);
}
