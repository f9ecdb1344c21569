import { canonicalJson } from "./canonical.ts";
import { type Credential, getCredential } from "./credentials.ts";
import { VaultError, VaultTamperedError } from "./errors.ts";
import { assertNoHoneytoken } from "./honeytoken.ts";
import type { VaultTransaction, VaultView } from "./ledger.ts";
import { getRows, putRow } from "./rows.ts";

/** When and how one credential is to be rotated. What is null is as everywhere else. */
export interface RotationPolicy {
  /** `none`: it may grow as old as it likes, whatever its provider's file says. */
  readonly maxAgeMs: number | "none" | null;
  readonly steps: readonly number[] | null;
  readonly stepMs: number | null;
  readonly graceMs: number | null;
  /** How sidekey makes a new key itself; null: by hand. */
  readonly automatic: AutomaticPolicy | null;
}

export interface AutomaticPolicy {
  /** Name of the rotator, such as `openai`. */
  readonly rotator: string;
  /** Name of the credential that may make and revoke keys; null when the key itself may. */
  readonly admin: string | null;
  /** Settings such as a project id; never a secret. */
  readonly settings: Readonly<Record<string, string>>;
}

export const NO_ROTATION_POLICY: RotationPolicy = {
  maxAgeMs: null,
  steps: null,
  stepMs: null,
  graceMs: null,
  automatic: null,
};

const DAY_MS = 86_400_000;
const LONGEST_AGE_MS = 3650 * DAY_MS;

interface PolicyRow {
  credential: string;
  policy: string;
  updated_at: number;
  mac: Buffer;
}

/** `NO_ROTATION_POLICY` for a credential that has none. */
export function getRotationPolicy({ db, keys }: VaultView, credentialId: string): RotationPolicy {
  const row = getRows<PolicyRow>(db, keys, "rotation_policies", { credential: credentialId })[0];
  return row === undefined ? NO_ROTATION_POLICY : parse(row);
}

/** By credential id; those without a policy are left out. */
export function listRotationPolicies({ db, keys }: VaultView): Map<string, RotationPolicy> {
  return new Map(getRows<PolicyRow>(db, keys, "rotation_policies").map((row) => [row.credential, parse(row)]));
}

/**
 * Changes what `changes` names and leaves the rest.
 * @throws VaultError not_found; invalid for an age under a day or over ten years
 */
export function setRotationPolicy(
  transaction: VaultTransaction,
  name: string,
  changes: Partial<RotationPolicy>,
  actor: string,
): RotationPolicy {
  const { db, keys, now, note } = transaction;
  const credential = getCredential(transaction, name);
  assertNoHoneytoken(credential, "rotated");
  const { id } = credential;
  const policy = { ...getRotationPolicy(transaction, id), ...changes };
  const { maxAgeMs } = policy;
  if (typeof maxAgeMs === "number" && !(maxAgeMs >= DAY_MS && maxAgeMs <= LONGEST_AGE_MS)) {
    throw new VaultError("invalid", `credential "${name}": its greatest age is 1 to 3650 days, or none`);
  }
  const text = canonicalJson({ ...policy, automatic: policy.automatic === null ? null : { ...policy.automatic } });
  putRow(db, keys, "rotation_policies", { credential: id, policy: text, updated_at: now });
  note({ actor, action: "rotation.policy", object: `credential:${name}`, detail: { policy: text } });
  return policy;
}

/**
 * When the current version is to be replaced: its making plus the greatest age of the policy, or else of the provider.
 * @param providerMaxAgeMs null when the provider's file names none
 * @returns ms since the epoch; null when nothing is due
 */
export function rotationDueAt(
  credential: Credential,
  policy: RotationPolicy,
  providerMaxAgeMs: number | null,
): number | null {
  const maxAge = maxAgeOf(policy, providerMaxAgeMs);
  const current = credential.versions.find(({ stage }) => stage === "current");
  return maxAge === null || current === undefined ? null : current.createdAt + maxAge;
}

/** Milliseconds; null for no bound. */
export function maxAgeOf({ maxAgeMs }: RotationPolicy, providerMaxAgeMs: number | null): number | null {
  if (maxAgeMs === "none") return null;
  return maxAgeMs ?? providerMaxAgeMs;
}

function parse(row: PolicyRow): RotationPolicy {
  try {
    return { ...NO_ROTATION_POLICY, ...(JSON.parse(row.policy) as Partial<RotationPolicy>) };
  } catch {
    throw new VaultTamperedError(`vault.db rotation_policies ${row.credential}`, 'the column "policy" was edited');
  }
}
