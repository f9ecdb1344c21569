import { ProviderHold } from "./provider-hold.ts";
import { ProviderLane } from "./provider-lane.ts";
import type { WaitLine } from "./wait-line.ts";

/** Scopes (models, hosts) of one credential whose limits are told apart. Clients name them, so they are few and short. */
export const MAX_SCOPES = 32;
const MAX_SCOPE_LENGTH = 128;
/** Share of the table that is emptied when it is full, so that this is seldom done. */
const FORGET_SHARE = 0.1;
/** When nothing could be forgotten it is not tried again for so long. */
const FORGET_PAUSE_MS = 1_000;

/** The limits of one scope, and who waits for them. */
export interface ScopeLane {
  readonly lane: ProviderLane;
  readonly line: WaitLine;
}

/** One credential version at its provider, or all keys of a provider that counts them together. */
export class ProviderSubject {
  readonly credential: string;
  readonly version: number;
  readonly hold = new ProviderHold();
  /** For requests that only a hold keeps. */
  readonly line: WaitLine;
  /** Requests are numbered as they are sent. */
  sent = 0;
  usedAtMs = 0;
  /** When its view was last taken to be kept. */
  takenAtMs = Number.NEGATIVE_INFINITY;
  readonly #newLine: (hold: ProviderHold) => WaitLine;
  /** By scope; the empty name is for requests whose scope nobody knows. */
  readonly #lanes = new Map<string, ScopeLane>();

  constructor(credential: string, version: number, newLine: (hold: ProviderHold) => WaitLine) {
    this.credential = credential;
    this.version = version;
    this.#newLine = newLine;
    this.line = newLine(this.hold);
  }

  get laneCount(): number {
    return this.#lanes.size;
  }

  /** A scope too many shares the lane of the unknown ones. */
  lane(scope: string | null): ScopeLane {
    const name = scope === null || scope.length > MAX_SCOPE_LENGTH ? "" : scope;
    const known = this.#lanes.get(name);
    if (known !== undefined) return known;
    if (name !== "" && this.#lanes.size >= MAX_SCOPES && !this.#forgetScope()) return this.lane(null);
    const added = { lane: new ProviderLane(), line: this.#newLine(this.hold) };
    this.#lanes.set(name, added);
    return added;
  }

  *lanes(): Iterable<[scope: string | null, lane: ScopeLane]> {
    for (const [name, lane] of this.#lanes) yield [name === "" ? null : name, lane];
  }

  *lines(): Iterable<WaitLine> {
    if (this.line.size > 0) yield this.line;
    for (const { line } of this.#lanes.values()) if (line.size > 0) yield line;
  }

  /** Nothing would be lost but what was told. */
  idle(nowMs: number): boolean {
    if (this.hold.at(nowMs) !== null || this.line.size > 0) return false;
    return [...this.#lanes.values()].every(isIdle);
  }

  /** First those of which nothing was ever told: a name that a client made up. */
  #forgetScope(): boolean {
    const idle = [...this.#lanes].filter(([name, lane]) => name !== "" && isIdle(lane));
    const forgotten = idle.find(([, { lane }]) => !lane.known) ?? idle[0];
    return forgotten !== undefined && this.#lanes.delete(forgotten[0]);
  }
}

function isIdle({ lane, line }: ScopeLane): boolean {
  return lane.idle && line.size === 0;
}

/** All subjects; when there are too many, those are forgotten that are idle and were not used for longest. */
export class SubjectTable {
  readonly #subjects = new Map<string, ProviderSubject>();
  readonly #newLine: (hold: ProviderHold) => WaitLine;
  readonly #max: number;
  #forgetNotBeforeMs = 0;

  constructor(max: number, newLine: (hold: ProviderHold) => WaitLine) {
    this.#max = max;
    this.#newLine = newLine;
  }

  find(credential: string, version: number): ProviderSubject | undefined {
    return this.#subjects.get(`${credential}\n${version}`);
  }

  /** One that there is no room for is not kept: its requests know nothing of each other. */
  get(credential: string, version: number, nowMs: number): ProviderSubject {
    const known = this.find(credential, version);
    if (known !== undefined) return known;
    const added = new ProviderSubject(credential, version, this.#newLine);
    if (this.#subjects.size >= this.#max) this.#forgetIdle(nowMs);
    if (this.#subjects.size < this.#max) this.#subjects.set(`${credential}\n${version}`, added);
    return added;
  }

  all(): Iterable<ProviderSubject> {
    return this.#subjects.values();
  }

  #forgetIdle(nowMs: number): void {
    if (nowMs < this.#forgetNotBeforeMs) return;
    const idle = [...this.#subjects].filter(([, subject]) => subject.idle(nowMs));
    if (idle.length === 0) this.#forgetNotBeforeMs = nowMs + FORGET_PAUSE_MS;
    idle.sort(([, a], [, b]) => a.usedAtMs - b.usedAtMs);
    for (const [key] of idle.slice(0, Math.ceil(this.#max * FORGET_SHARE))) this.#subjects.delete(key);
  }
}
