import { canonicalJson } from "./canonical.ts";
import { VaultTamperedError } from "./errors.ts";
import type { VaultTransaction, VaultView } from "./ledger.ts";
import { getRows, putRow } from "./rows.ts";

/** Where a rotation stands. Each phase is durable: a restart goes on in it. */
export type RotationPhase =
  /** automatic only: a new key is being made at the provider */
  | "creating"
  /** the new version is pending and is being validated */
  | "testing"
  /** traffic moves to the new version in steps */
  | "ramping"
  /** all traffic is on the new version; the old one waits as `previous` */
  | "grace"
  /** automatic only: the old key is being revoked at the provider, and proven dead */
  | "revoking"
  | "done"
  | "failed";

/** One credential's move from one version to the next; the last one is kept until the next begins. */
export interface Rotation {
  readonly phase: RotationPhase;
  /** The version that served when it began; null when there was none. */
  readonly from: number | null;
  /** The version that takes over; null while it is being created. */
  readonly to: number | null;
  /** Percentages of the clients, ascending, the last one 100. `[100]` is at once. */
  readonly steps: readonly number[];
  /** Index into `steps`. */
  readonly step: number;
  readonly stepMs: number;
  /** How long the old version stays `previous` after the last step. */
  readonly graceMs: number;
  readonly startedAt: number;
  /** When the phase, or the step of the ramp, began. ms since the epoch, as all times here. */
  readonly since: number;
  readonly startedBy: string;
  /** Failed attempts of this phase; `nextTryAt` is when it is tried again. */
  readonly attempts: number;
  readonly nextTryAt: number | null;
  /** Why it failed or waits, for people; never holds a secret. */
  readonly problem: string | null;
  readonly automatic: AutomaticRotation | null;
}

/** What an automatic rotation must remember to be able to go on after a restart. Names and ids only. */
export interface AutomaticRotation {
  /** Name of the rotator, such as `openai`. */
  readonly rotator: string;
  /** Name of the credential that may make and revoke keys; null when the key itself may. */
  readonly admin: string | null;
  /** Makes `create` idempotent: the name that the new key gets at the provider. */
  readonly token: string;
  /** What the provider calls the old and the new key. */
  readonly oldKey: string | null;
  readonly newKey: string | null;
  /** Settings such as a project id. */
  readonly settings: Readonly<Record<string, string>>;
  /** Whether the provider was looked at: `oldKey` and `memo` are then what was found. */
  readonly prepared: boolean;
  /** What tells the new key from others where keys have no names. */
  readonly memo: string | null;
  /** Calls that may have made a key; more than the one whose answer was stored means that one may have been left over. */
  readonly asked: number;
  /** When the provider said that the old key is ended; null before. It is dead only once that is proven. */
  readonly revokedAt: number | null;
}

interface RotationRow {
  credential: string;
  state: string;
  updated_at: number;
  mac: Buffer;
}

/** The rotation of a credential, the last one if none is under way; null when there never was one. */
export function getRotation({ db, keys }: VaultView, credentialId: string): Rotation | null {
  const row = getRows<RotationRow>(db, keys, "rotations", { credential: credentialId })[0];
  return row === undefined ? null : parse(row);
}

/** By credential id. */
export function listRotations({ db, keys }: VaultView): Map<string, Rotation> {
  return new Map(getRows<RotationRow>(db, keys, "rotations").map((row) => [row.credential, parse(row)]));
}

/** Stores the state; the caller adds the audit entry that says what happened. */
export function putRotation({ db, keys, now }: VaultTransaction, credentialId: string, rotation: Rotation): void {
  const state = canonicalJson({
    ...rotation,
    automatic: rotation.automatic === null ? null : { ...rotation.automatic },
  });
  putRow(db, keys, "rotations", { credential: credentialId, state, updated_at: now });
}

/** Whether traffic may still move, or a step is still to be done. */
export function isUnderWay(rotation: Rotation | null): rotation is Rotation {
  return rotation !== null && rotation.phase !== "done" && rotation.phase !== "failed";
}

function parse(row: RotationRow): Rotation {
  try {
    return JSON.parse(row.state) as Rotation;
  } catch {
    throw new VaultTamperedError(`vault.db rotations ${row.credential}`, 'the column "state" was edited');
  }
}
