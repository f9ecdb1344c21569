import type { Secret } from "../secret.ts";
import { isUndoing } from "./automatic-start.ts";
import {
  addVersion,
  type Credential,
  getCredential,
  getCredentialById,
  promoteVersion,
  revokeVersion,
} from "./credentials.ts";
import { VaultError } from "./errors.ts";
import { assertNoHoneytoken } from "./honeytoken.ts";
import type { VaultTransaction } from "./ledger.ts";
import { advance, type RotationEvent } from "./rotation-step.ts";
import { type AutomaticRotation, getRotation, isUnderWay, putRotation, type Rotation } from "./rotations.ts";
import { putRow } from "./rows.ts";
import type { Vault } from "./vault.ts";
import { getVersion, type Stage } from "./versions.ts";

/** How fast a rotation goes. */
export interface RotationPace {
  /** Percentages of the clients, ascending, the last one 100. */
  readonly steps: readonly number[];
  readonly stepMs: number;
  readonly graceMs: number;
}

export interface NewRotation {
  readonly pace: RotationPace;
  /** False: nobody tries the new version before clients use it. */
  readonly validate: boolean;
  readonly automatic?: AutomaticRotation | null;
}

/** What an event made of a rotation, and the one before it. */
export interface RotationChange {
  readonly before: Rotation;
  readonly after: Rotation;
}

type Fields = ReadonlyMap<string, Secret>;

const LONGEST_PAUSE_MS = 365 * 86_400_000;

/**
 * Stores `fields` as a pending version and begins to move the traffic to it, in one transaction. Goes on with
 * `stepRotation`.
 * @throws VaultError not_found; invalid pace or fields; refused while the credential is disabled, and for a key that it
 * has already; conflict while a rotation is under way
 */
export function beginRotation(
  transaction: VaultTransaction,
  name: string,
  wanted: NewRotation & { readonly fields: Fields },
  actor: string,
): { credential: Credential; rotation: Rotation } {
  assertPace(wanted.pace);
  const before = getCredential(transaction, name);
  assertNoneUnderWay(transaction, before);
  assertNoHoneytoken(before, "rotated");
  if (before.state !== "enabled") {
    throw new VaultError("refused", `credential "${name}" is disabled; enable it first`);
  }
  const credential = addVersion(transaction, name, { fields: wanted.fields, stage: "pending", actor });
  assertAnother(credential);
  const rotation = startOf(wanted, { credential: before, to: newestVersion(credential), actor, now: transaction.now });
  putRotation(transaction, credential.id, rotation);
  const { steps, stepMs, graceMs } = wanted.pace;
  transaction.note({
    actor,
    action: "rotation.begin",
    object: `credential:${name}`,
    detail: {
      from: rotation.from ?? 0,
      to: rotation.to ?? 0,
      steps: steps.join(" "),
      step_ms: stepMs,
      grace_ms: graceMs,
      validate: wanted.validate,
    },
  });
  if (wanted.validate) return { credential, rotation };
  const detail = "not tested, as asked for";
  const event = { kind: "tested", version: rotation.to ?? 0, meaning: "valid", detail } as const;
  const stepped = stepRotation(transaction, credential.id, event, actor);
  return { credential: getCredential(transaction, name), rotation: stepped?.after ?? rotation };
}

/**
 * For a key that leaked: stores `fields`, makes them current and revokes every version that was in use, in one
 * transaction. Ends whatever rotation is under way.
 * @returns the numbers of the revoked versions
 */
export function rotateAtOnce(
  transaction: VaultTransaction,
  name: string,
  fields: Fields,
  actor: string,
): { credential: Credential; revoked: readonly number[]; left: string | null } {
  const before = getCredential(transaction, name);
  assertNoHoneytoken(before, "rotated");
  const ended = getRotation(transaction, before.id);
  // What sidekey made at the provider for a rotation that ends here: nobody will end it there any more.
  const unfinished = ended !== null && (isUnderWay(ended) || isUndoing(ended));
  const left = unfinished ? (ended.automatic?.newKey ?? null) : null;
  const added = addVersion(transaction, name, { fields, stage: "pending", actor });
  assertAnother(added);
  const to = newestVersion(added);
  promoteVersion(transaction, name, to, actor);
  const halfway = isUnderWay(ended) ? ended.to : null;
  const revoked = before.versions
    .filter(
      ({ stage, number }) => stage === "current" || stage === "previous" || (number === halfway && stage === "pending"),
    )
    .map(({ number }) => number);
  for (const number of revoked) revokeVersion(transaction, name, number, actor);
  const from = currentVersion(before);
  const rotation: Rotation = {
    ...startOf(
      { pace: { steps: [100], stepMs: 0, graceMs: 0 }, validate: false },
      { credential: before, to, actor, now: transaction.now },
    ),
    phase: "done",
  };
  putRotation(transaction, before.id, rotation);
  transaction.note({
    actor,
    action: "rotation.at-once",
    object: `credential:${name}`,
    detail: { from: from ?? 0, to, revoked: revoked.join(" "), ...(left === null ? {} : { left }) },
  });
  return { credential: getCredential(transaction, name), revoked, left };
}

/**
 * Applies one event to the rotation as it stands now. Null when there is none or the event changes nothing; nothing is
 * written then.
 */
export function stepRotation(
  transaction: VaultTransaction,
  credentialId: string,
  event: RotationEvent,
  actor: string,
): RotationChange | null {
  const before = getRotation(transaction, credentialId);
  if (before === null) return null;
  const credential = getCredentialById(transaction, credentialId);
  const step = advance(before, withoutRevoked(credential, before) ?? event, transaction.now);
  if (step.note === null) return null;
  for (const { version, stage } of step.versionChanges) setStage(transaction, credentialId, version, stage);
  putRotation(transaction, credentialId, step.rotation);
  const object = `credential:${credential.name}`;
  transaction.note({ actor, action: step.note.action, object, detail: step.note.detail });
  return { before, after: step.rotation };
}

/** As `stepRotation`, in a transaction of its own, which is not begun for an event that changes nothing. */
export function sendToRotation(
  vault: Vault,
  credentialId: string,
  event: RotationEvent,
  actor: string,
): RotationChange | null {
  try {
    return vault.write((transaction) => {
      const change = stepRotation(transaction, credentialId, event, actor);
      if (change === null) throw new NothingToDo();
      return change;
    });
  } catch (error) {
    if (error instanceof NothingToDo) return null;
    throw error;
  }
}

class NothingToDo extends Error {
  override readonly name = "NothingToDo";
}

/** As `addVersion`; a rotation under way decides alone what is current. @throws VaultError conflict */
export function addVersionTo(
  transaction: VaultTransaction,
  name: string,
  version: { fields: Fields; stage: "current" | "pending"; actor: string },
): Credential {
  if (version.stage === "current") assertNoneUnderWay(transaction, getCredential(transaction, name));
  return addVersion(transaction, name, version);
}

/**
 * Makes a pending or previous version the current one; a rotation under way follows.
 * @throws VaultError conflict when it is neither the old nor the new version of the rotation under way
 */
export function promote(transaction: VaultTransaction, name: string, number: number, actor: string): Credential {
  const credential = getCredential(transaction, name);
  const rotation = getRotation(transaction, credential.id);
  if (!isUnderWay(rotation)) return promoteVersion(transaction, name, number, actor);
  const event: RotationEvent | null =
    number === rotation.to
      ? { kind: "promote" }
      : number === rotation.from
        ? { kind: "rollback", reason: `rolled back by ${actor}` }
        : null;
  if (event === null) assertNoneUnderWay(transaction, credential);
  if (event === null || stepRotation(transaction, credential.id, event, actor) === null) {
    throw new VaultError(
      "refused",
      `version ${number} of "${name}" cannot be promoted while its rotation is ${rotation.phase}`,
    );
  }
  return getCredential(transaction, name);
}

/** Revokes a version; a rotation under way follows. */
export function revoke(transaction: VaultTransaction, name: string, number: number, actor: string): Credential {
  const credential = revokeVersion(transaction, name, number, actor);
  stepRotation(transaction, credential.id, { kind: "revoked", version: number }, actor);
  return getCredential(transaction, name);
}

/**
 * All traffic back on the version that served when the rotation began.
 * @throws VaultError refused when there is nothing to go back to
 */
export function rollBack(transaction: VaultTransaction, name: string, actor: string): RotationChange {
  const { id } = getCredential(transaction, name);
  const reason = `rolled back by ${actor}`;
  const change = stepRotation(transaction, id, { kind: "rollback", reason }, actor);
  if (change !== null) return change;
  const phase = getRotation(transaction, id)?.phase;
  const why =
    phase === undefined || phase === "done" || phase === "failed"
      ? "no rotation is under way"
      : "its old version is being revoked at the provider";
  throw new VaultError(
    "refused",
    `credential "${name}" cannot be rolled back: ${why}; see \`sidekey credential show ${name}\``,
  );
}

/** @throws VaultError conflict */
export function assertNoneUnderWay(transaction: VaultTransaction, { id, name }: Credential): void {
  const rotation = getRotation(transaction, id);
  if (rotation !== null && isUndoing(rotation)) {
    const key = rotation.automatic?.newKey ?? "";
    throw new VaultError(
      "conflict",
      `credential "${name}": key ${key} of a failed rotation is still being ended; wait`,
    );
  }
  if (!isUnderWay(rotation)) return;
  throw new VaultError(
    "conflict",
    `credential "${name}" is being rotated (${rotation.phase}); \`sidekey credential promote ${name}\` or \`rollback ${name}\` ends that`,
  );
}

/**
 * Going from a key to the same key would end with its being thought replaced. One that waits as pending may come again:
 * its rotation was rolled back.
 * @throws VaultError refused
 */
function assertAnother(credential: Credential): void {
  const added = credential.versions.find(({ number }) => number === newestVersion(credential));
  const same = credential.versions.find(
    (each) => each !== added && each.stage !== "pending" && each.fingerprint === added?.fingerprint,
  );
  if (same === undefined) return;
  throw new VaultError(
    "refused",
    `this is the key of version ${same.number} of "${credential.name}" (${same.stage}); make a new one at the provider`,
  );
}

/** @throws VaultError invalid */
export function assertPace({ steps, stepMs, graceMs }: RotationPace): void {
  const ascending = steps.every((percent, at) => percent > (steps[at - 1] ?? 0));
  if (!ascending || steps.at(-1) !== 100 || !steps.every(Number.isInteger)) {
    throw new VaultError(
      "invalid",
      "the steps are whole percentages that grow and end with 100, for example 5,25,50,100",
    );
  }
  for (const ms of [stepMs, graceMs]) {
    if (Number.isSafeInteger(ms) && ms >= 0 && ms <= LONGEST_PAUSE_MS) continue;
    throw new VaultError("invalid", "a rotation's step and grace time are at most 365 days each");
  }
}

function startOf(
  wanted: NewRotation,
  at: { credential: Credential; to: number; actor: string; now: number },
): Rotation {
  return {
    phase: "testing",
    from: currentVersion(at.credential),
    to: at.to,
    steps: wanted.pace.steps,
    step: 0,
    stepMs: wanted.pace.stepMs,
    graceMs: wanted.pace.graceMs,
    startedAt: at.now,
    since: at.now,
    startedBy: at.actor,
    attempts: 0,
    nextTryAt: null,
    problem: null,
    automatic: wanted.automatic ?? null,
  };
}

/** A revoked version stays revoked, whoever asks. */
function setStage({ db, keys }: VaultTransaction, credentialId: string, number: number, stage: Stage): void {
  const row = getVersion(db, keys, credentialId, number);
  if (row.stage === "revoked" && stage === "current") {
    throw new VaultError("refused", `version ${number} is revoked and cannot be used again; roll the rotation back`);
  }
  if (row.stage === "revoked" || row.stage === stage) return;
  putRow(db, keys, "versions", { ...row, stage });
}

/** A new version that was revoked behind the rotation's back must not be made current, so that comes first. */
function withoutRevoked(credential: Credential, { phase, to }: Rotation): RotationEvent | null {
  const gone = credential.versions.some(({ number, stage }) => number === to && stage === "revoked");
  return gone && to !== null && phase !== "revoking" ? { kind: "revoked", version: to } : null;
}

function currentVersion(credential: Credential): number | null {
  return credential.versions.find(({ stage }) => stage === "current")?.number ?? null;
}

function newestVersion(credential: Credential): number {
  return Math.max(...credential.versions.map(({ number }) => number));
}
