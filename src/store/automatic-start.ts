import { getCredential } from "./credentials.ts";
import { randomBytes } from "./crypto.ts";
import { VaultError } from "./errors.ts";
import { assertNoHoneytoken } from "./honeytoken.ts";
import type { VaultTransaction } from "./ledger.ts";
import type { AutomaticPolicy } from "./rotation-policies.ts";
import { getRotation, isUnderWay, putRotation, type Rotation } from "./rotations.ts";

/** How fast the traffic moves to the new key; the fields of a rotation. */
export interface AutomaticPace {
  readonly steps: readonly number[];
  readonly stepMs: number;
  readonly graceMs: number;
}

/** The name of a credential may be longer than a provider lets a key's name be. */
const NAME_IN_TOKEN = 30;

/**
 * Writes down that a credential is to get a new key from its provider; the daemon does it. The token is made here, so
 * that whatever the provider makes later can be found again by it.
 * @throws VaultError not_found; refused while disabled or without a version in use; conflict while a rotation, or the
 * removal of what a failed one left at the provider, is under way
 */
export function beginAutomaticRotation(
  transaction: VaultTransaction,
  name: string,
  wanted: { readonly policy: AutomaticPolicy; readonly pace: AutomaticPace },
  actor: string,
): Rotation {
  const credential = getCredential(transaction, name);
  const current = credential.versions.find(({ stage }) => stage === "current")?.number;
  assertNoHoneytoken(credential, "rotated");
  if (credential.state !== "enabled") {
    throw new VaultError("refused", `credential "${name}" is disabled; enable it first`);
  }
  if (current === undefined) {
    throw new VaultError("refused", `credential "${name}" has no version in use; promote one first`);
  }
  const last = getRotation(transaction, credential.id);
  assertIdle(name, last);
  const { policy, pace } = wanted;
  const rotation: Rotation = {
    phase: "creating",
    from: current,
    to: null,
    steps: pace.steps,
    step: 0,
    stepMs: pace.stepMs,
    graceMs: pace.graceMs,
    startedAt: transaction.now,
    since: transaction.now,
    startedBy: actor,
    attempts: 0,
    nextTryAt: null,
    problem: null,
    automatic: {
      rotator: policy.rotator,
      admin: policy.admin,
      token: `sidekey-${name.slice(0, NAME_IN_TOKEN)}-${randomBytes(6).toString("hex")}`,
      oldKey: keyOf(last, current),
      newKey: null,
      settings: policy.settings,
      prepared: false,
      memo: null,
      asked: 0,
      revokedAt: null,
    },
  };
  putRotation(transaction, credential.id, rotation);
  const detail = { rotator: policy.rotator, admin: policy.admin ?? "itself", from: current };
  transaction.note({ actor, action: "rotation.begin-automatic", object: `credential:${name}`, detail });
  return rotation;
}

function assertIdle(name: string, last: Rotation | null): void {
  if (last !== null && isUndoing(last)) {
    const key = last.automatic?.newKey ?? "";
    throw new VaultError(
      "conflict",
      `credential "${name}": the key ${key} of the failed rotation is still being ended`,
    );
  }
  if (isUnderWay(last)) {
    throw new VaultError("conflict", `credential "${name}" is being rotated already (${last.phase})`);
  }
}

/** A failed rotation whose new key still exists at the provider. */
export function isUndoing(rotation: Rotation): boolean {
  return rotation.phase === "failed" && rotation.automatic !== null && rotation.automatic.newKey !== null;
}

/** What the provider calls the version in use, when the last rotation made it. */
function keyOf(last: Rotation | null, current: number): string | null {
  if (last?.phase !== "done" || last.to !== current) return null;
  return last.automatic?.newKey ?? null;
}
