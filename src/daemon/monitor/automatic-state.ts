import type { Secret } from "../../secret.ts";
import { isUndoing } from "../../store/automatic-start.ts";
import { addVersion, getCredential, revokeVersion } from "../../store/credentials.ts";
import type { VaultTransaction } from "../../store/ledger.ts";
import { type AutomaticRotation, getRotation, putRotation, type Rotation } from "../../store/rotations.ts";
import type { Vault } from "../../store/vault.ts";

export const ACTOR = "sidekey";

/** One automatic rotation that is being worked on. `rotation` is as it was last written. */
export interface Work {
  readonly id: string;
  readonly name: string;
  readonly rotation: Rotation;
  readonly automatic: AutomaticRotation;
}

/** Somebody else has ended or replaced the rotation meanwhile: nothing that was seen of it may be written. */
export class Superseded extends Error {
  override readonly name = "Superseded";
}

/** The rotation as work, when there is something to be done at the provider; else null. */
export function workOf(id: string, name: string, rotation: Rotation): Work | null {
  const { automatic, phase } = rotation;
  if (automatic === null) return null;
  if (phase !== "creating" && phase !== "revoking" && !isUndoing(rotation)) return null;
  return { id, name, rotation, automatic };
}

/** What is told to the audit log with a change. */
export interface Said {
  readonly action: string;
  readonly detail: Readonly<Record<string, string | number>>;
}

/**
 * Changes the rotation in a transaction of its own, if it still stands where `work` found it.
 * @throws Superseded
 */
export function change(
  vault: Pick<Vault, "write">,
  work: Work,
  changes: Partial<Omit<Rotation, "automatic">> & { readonly automatic?: Partial<AutomaticRotation> },
  said: Said,
  also: (transaction: VaultTransaction) => void = () => {},
): Work {
  return vault.write((transaction) => {
    const now = standing(transaction, work);
    if (now.phase !== work.rotation.phase) throw new Superseded();
    const automatic = { ...now.automatic, ...changes.automatic };
    const rotation: Rotation = { ...now, ...changes, automatic };
    also(transaction);
    putRotation(transaction, work.id, rotation);
    transaction.note({ actor: ACTOR, action: said.action, object: `credential:${work.name}`, detail: said.detail });
    return { ...work, rotation, automatic };
  });
}

/**
 * Stores a new key as a pending version, and that it was, in one transaction. A rotation that was ended meanwhile
 * keeps it too, so that it is ended at the provider.
 * @throws Superseded when nothing is left that could remember the key; VaultError
 */
export function storeKey(
  vault: Pick<Vault, "write">,
  work: Work,
  key: { readonly fields: ReadonlyMap<string, Secret>; readonly keyId: string },
): void {
  vault.write((transaction) => {
    const now = standing(transaction, work);
    const credential = addVersion(transaction, work.name, { fields: key.fields, stage: "pending", actor: ACTOR });
    const to = Math.max(...credential.versions.map(({ number }) => number));
    const automatic = { ...now.automatic, newKey: key.keyId };
    const next = now.phase === "creating" ? ({ phase: "testing", problem: null } as const) : {};
    const rotation: Rotation = {
      ...now,
      ...next,
      to,
      since: transaction.now,
      attempts: 0,
      nextTryAt: null,
      automatic,
    };
    putRotation(transaction, work.id, rotation);
    const detail = { version: to, key: key.keyId };
    transaction.note({ actor: ACTOR, action: "rotation.created", object: `credential:${work.name}`, detail });
  });
}

/** Revokes a version here, unless it is revoked or gone already. */
export function revokeHere(transaction: VaultTransaction, name: string, version: number | null): void {
  const found = getCredential(transaction, name).versions.find(({ number }) => number === version);
  if (found !== undefined && found.stage !== "revoked") revokeVersion(transaction, name, found.number, ACTOR);
}

/** The rotation now, which must still be the one that `work` began with. */
function standing(transaction: VaultTransaction, work: Work): Rotation & { readonly automatic: AutomaticRotation } {
  const now = getRotation(transaction, work.id);
  if (now?.automatic?.token !== work.automatic.token) throw new Superseded();
  return { ...now, automatic: now.automatic };
}
