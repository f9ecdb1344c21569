import type { Rotation, RotationPhase } from "./rotations.ts";
import type { Stage } from "./versions.ts";

/** What moves a rotation on. Anything may come at any time, and twice: what does not fit changes nothing. */
export type RotationEvent =
  /** The new version was tried. `unknown`: no answer that says anything; it is tried again. */
  | {
      readonly kind: "tested";
      readonly version: number;
      readonly meaning: "valid" | "invalid" | "unknown";
      readonly detail: string;
    }
  /** Time went by. `users`: exchanges that use the old version; `settleMs`: the longest that one may still begin to. */
  | { readonly kind: "time"; readonly users: number; readonly settleMs: number }
  /** The provider refuses the new version while it takes the old one. */
  | { readonly kind: "failing"; readonly version: number; readonly detail: string }
  /** All traffic on the new version, now. */
  | { readonly kind: "promote" }
  /** All traffic on the old version, now; also ends a rotation whose new version does not exist yet. */
  | { readonly kind: "rollback"; readonly reason: string }
  /** Somebody revoked a version. */
  | { readonly kind: "revoked"; readonly version: number }
  /** Automatic only: the old key was revoked at the provider and is dead. */
  | { readonly kind: "finished" };

/** In this order: whoever is current gives way before another becomes it. */
export interface VersionChange {
  readonly version: number;
  readonly stage: Stage;
}

export interface RotationStep {
  readonly rotation: Rotation;
  readonly versionChanges: readonly VersionChange[];
  /** For the audit; null when the event changes nothing. */
  readonly note: { readonly action: string; readonly detail: Readonly<Record<string, string | number>> } | null;
}

/** How a rotation moves when nothing else is said. */
export const DEFAULT_PACE = { steps: [5, 25, 50, 100], stepMs: 600_000, graceMs: 86_400_000 } as const;

/** A test that says nothing is repeated this often, in all for about seven hours. */
export const MAX_TEST_ATTEMPTS = 20;
const FIRST_RETRY_MS = 10_000;
const LONGEST_RETRY_MS = 30 * 60_000;

/** Milliseconds until the next try after `attempts` failed ones. */
export function retryDelayMs(attempts: number): number {
  return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.max(0, attempts - 1));
}

/** Percent of the clients that the new version serves. */
export function rampPercent(rotation: Rotation): number {
  if (rotation.phase === "ramping") return rotation.steps[rotation.step] ?? 100;
  return rotation.phase === "grace" || rotation.phase === "revoking" || rotation.phase === "done" ? 100 : 0;
}

/** When the next thing is due without anybody's doing; null when it is not a matter of time. */
export function nextDueAt(rotation: Rotation): number | null {
  if (rotation.phase === "ramping") return rotation.since + rotation.stepMs;
  if (rotation.phase === "grace") return rotation.since + rotation.graceMs;
  return rotation.nextTryAt;
}

/**
 * The one place that decides how a rotation goes on; pure. The version that becomes current was never revoked as far
 * as the events told; the caller checks it against the rows.
 * @param nowMs ms since the epoch
 */
export function advance(rotation: Rotation, event: RotationEvent, nowMs: number): RotationStep {
  switch (event.kind) {
    case "tested":
      return tested(rotation, event, nowMs);
    case "time":
      return timePassed(rotation, event, nowMs);
    case "failing":
      if (event.version !== rotation.to || rotation.from === null || !canGoBack(rotation)) return unchanged(rotation);
      return goBack(rotation, `version ${event.version} failed: ${event.detail}`, "rotation.fail", nowMs);
    case "promote":
      return isBeforeGrace(rotation) ? takeOver(rotation, nowMs) : unchanged(rotation);
    case "rollback":
      if (rotation.phase !== "creating" && !canGoBack(rotation)) return unchanged(rotation);
      return goBack(rotation, event.reason, "rotation.roll-back", nowMs);
    case "revoked":
      return revoked(rotation, event.version, nowMs);
    case "finished":
      return rotation.phase === "revoking" ? finish(rotation, nowMs) : unchanged(rotation);
  }
}

function tested(rotation: Rotation, event: RotationEvent & { kind: "tested" }, nowMs: number): RotationStep {
  if (rotation.phase !== "testing" || event.version !== rotation.to) return unchanged(rotation);
  const attempts = rotation.attempts + 1;
  if (event.meaning === "valid") return startRamp(rotation, event.detail, nowMs);
  if (event.meaning === "invalid") {
    return goBack(rotation, `version ${event.version} is not valid: ${event.detail}`, "rotation.fail", nowMs);
  }
  if (attempts >= MAX_TEST_ATTEMPTS) {
    return goBack(rotation, `version ${event.version} could not be tested: ${event.detail}`, "rotation.fail", nowMs);
  }
  const nextTryAt = nowMs + retryDelayMs(attempts);
  return {
    rotation: { ...rotation, attempts, nextTryAt, problem: `not tested yet: ${event.detail}` },
    versionChanges: [],
    note: { action: "rotation.retry", detail: { version: event.version, attempts } },
  };
}

/** Without an old version nobody can be kept on it. */
function startRamp(rotation: Rotation, detail: string, nowMs: number): RotationStep {
  const first = rotation.steps[0] ?? 100;
  if (rotation.from === null || first >= 100) return takeOver(rotation, nowMs);
  return {
    rotation: enter(rotation, "ramping", nowMs),
    versionChanges: [],
    note: { action: "rotation.step", detail: { version: rotation.to ?? 0, percent: first, tested: detail } },
  };
}

function timePassed(rotation: Rotation, event: RotationEvent & { kind: "time" }, nowMs: number): RotationStep {
  if (rotation.phase === "ramping" && nowMs >= rotation.since + rotation.stepMs) return nextStep(rotation, nowMs);
  if (rotation.phase !== "grace") return unchanged(rotation);
  if (nowMs < rotation.since + Math.max(rotation.graceMs, event.settleMs)) return unchanged(rotation);
  if (event.users === 0) return endGrace(rotation, nowMs);
  if (rotation.problem !== null) return unchanged(rotation);
  return {
    rotation: { ...rotation, problem: `waits until nothing uses version ${rotation.from} any more` },
    versionChanges: [],
    note: { action: "rotation.wait", detail: { version: rotation.from ?? 0, users: event.users } },
  };
}

/** One step at a time, however late: each one is to be watched before the next. */
function nextStep(rotation: Rotation, nowMs: number): RotationStep {
  const step = rotation.step + 1;
  const percent = rotation.steps[step] ?? 100;
  if (percent >= 100) return takeOver(rotation, nowMs);
  return {
    rotation: { ...rotation, step, since: nowMs },
    versionChanges: [],
    note: { action: "rotation.step", detail: { version: rotation.to ?? 0, percent } },
  };
}

function takeOver(rotation: Rotation, nowMs: number): RotationStep {
  const { from, to } = rotation;
  if (to === null) return unchanged(rotation);
  const phase: RotationPhase = from === null ? "done" : "grace";
  const changes: VersionChange[] = from === null ? [] : [{ version: from, stage: "previous" }];
  return {
    rotation: { ...enter(rotation, phase, nowMs), step: Math.max(0, rotation.steps.length - 1) },
    versionChanges: [...changes, { version: to, stage: "current" }],
    note: { action: "rotation.promote", detail: { version: to, percent: 100 } },
  };
}

function endGrace(rotation: Rotation, nowMs: number): RotationStep {
  if (rotation.automatic === null) return finish(rotation, nowMs);
  return {
    rotation: enter(rotation, "revoking", nowMs),
    versionChanges: [],
    note: { action: "rotation.revoke", detail: { version: rotation.from ?? 0 } },
  };
}

function finish(rotation: Rotation, nowMs: number): RotationStep {
  const { from, to } = rotation;
  return {
    rotation: enter(rotation, "done", nowMs),
    versionChanges: from === null ? [] : [{ version: from, stage: "revoked" }],
    note: { action: "rotation.finish", detail: { version: to ?? 0, revoked: from ?? 0 } },
  };
}

/** The new version stays stored, `pending`: whether it is of use is for people to say. */
function goBack(rotation: Rotation, reason: string, action: string, nowMs: number): RotationStep {
  const { from, to, phase } = rotation;
  const promoted = phase === "grace" && to !== null && from !== null;
  return {
    rotation: { ...enter(rotation, "failed", nowMs), problem: reason },
    versionChanges: promoted
      ? [
          { version: to, stage: "pending" },
          { version: from, stage: "current" },
        ]
      : [],
    note: { action, detail: { version: to ?? 0, back_to: from ?? 0, reason } },
  };
}

/**
 * The rotation follows what somebody did to its versions: without the old one the new one takes over, without the new
 * one it has failed. Nobody else's version is made current by a revocation.
 */
function revoked(rotation: Rotation, version: number, nowMs: number): RotationStep {
  // A key that is being revoked at the provider goes on to be, whatever is done to the versions here.
  const { phase } = rotation;
  if (phase === "done" || phase === "failed" || phase === "revoking") return unchanged(rotation);
  if (version === rotation.to) {
    return {
      rotation: { ...enter(rotation, "failed", nowMs), problem: `version ${version} was revoked` },
      versionChanges: [],
      note: { action: "rotation.fail", detail: { version, reason: "revoked" } },
    };
  }
  if (version !== rotation.from) return unchanged(rotation);
  const alone: Rotation = { ...rotation, from: null };
  if (phase === "ramping") return takeOver(alone, nowMs);
  if (phase === "grace") return finish(alone, nowMs);
  return {
    rotation: alone,
    versionChanges: [],
    note: { action: "rotation.go-on", detail: { version: rotation.to ?? 0, without: version } },
  };
}

function isBeforeGrace({ phase }: Rotation): boolean {
  return phase === "testing" || phase === "ramping";
}

function canGoBack(rotation: Rotation): boolean {
  return isBeforeGrace(rotation) || rotation.phase === "grace";
}

function enter(rotation: Rotation, phase: RotationPhase, nowMs: number): Rotation {
  return { ...rotation, phase, step: 0, since: nowMs, attempts: 0, nextTryAt: null, problem: null };
}

function unchanged(rotation: Rotation): RotationStep {
  return { rotation, versionChanges: [], note: null };
}
