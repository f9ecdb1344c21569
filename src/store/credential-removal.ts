import { type Credential, getCredential, listRemoved, type RemovedCredential } from "./credentials.ts";
import { VaultError } from "./errors.ts";
import type { VaultTransaction, VaultView } from "./ledger.ts";
import { deleteRemoval, listRemovals, putRemoval } from "./removals.ts";
import type { Vault } from "./vault.ts";

/** How long a removed credential can be restored unless something else is said. */
export const KEEP_REMOVED_MS = 30 * 86_400_000;
const LONGEST_KEEP_MS = 3650 * 86_400_000;

/**
 * Takes a credential out of use at once. It keeps its name, and can be restored for `keepMs`; then it is shredded.
 * @throws VaultError not_found; invalid for more than ten years
 */
export function softRemove(transaction: VaultTransaction, name: string, keepMs: number, actor: string): Credential {
  if (!Number.isSafeInteger(keepMs) || keepMs < 0 || keepMs > LONGEST_KEEP_MS) {
    throw new VaultError("invalid", "a removed credential is kept for at most 3650 days");
  }
  const credential = getCredential(transaction, name);
  const shredAt = transaction.now + keepMs;
  putRemoval(transaction, credential.id, shredAt);
  const detail = { provider: credential.provider, versions: credential.versions.length, shred_at: shredAt };
  transaction.note({ actor, action: "credential.remove", object: `credential:${name}`, detail });
  return credential;
}

/** Back into use as it was. @throws VaultError not_found */
export function restore(transaction: VaultTransaction, name: string, actor: string): Credential {
  const { credential, removedAt } = getRemoved(transaction, name);
  deleteRemoval(transaction, credential.id);
  const detail = { removed_at: removedAt };
  transaction.note({ actor, action: "credential.restore", object: `credential:${name}`, detail });
  return getCredential(transaction, name);
}

/**
 * Deletes a credential, removed before or not, with all its versions, its rotation and its policy; secure_delete
 * overwrites the ciphertext. Backups made before still hold it.
 * @throws VaultError not_found
 */
export function shred(transaction: VaultTransaction, name: string, actor: string): void {
  const removed = listRemoved(transaction).find(({ credential }) => credential.name === name);
  const credential = removed?.credential ?? getCredential(transaction, name);
  transaction.db.prepare("DELETE FROM credentials WHERE id = ?").run(credential.id);
  const detail = { provider: credential.provider, versions: credential.versions.length, shredded: true };
  const action = removed === undefined ? "credential.remove" : "credential.shred";
  transaction.note({ actor, action, object: `credential:${name}`, detail });
}

/** Shreds what is due. Reads first, so that the usual case costs no transaction. @returns the names */
export function shredDue(vault: Vault, nowMs: number, actor: string): string[] {
  if (vault.read((view) => dueNames(view, nowMs)).length === 0) return [];
  const names = vault.write((transaction) => {
    const due = dueNames(transaction, nowMs);
    for (const name of due) shred(transaction, name, actor);
    // Another process was faster; a transaction has to say something all the same.
    if (due.length === 0) transaction.note({ actor, action: "credential.shred", object: "vault", detail: { due: 0 } });
    return due;
  });
  vault.compact();
  return names;
}

/** @throws VaultError not_found */
export function getRemoved(view: VaultView, name: string): RemovedCredential {
  const found = listRemoved(view).find(({ credential }) => credential.name === name);
  if (found !== undefined) return found;
  throw new VaultError(
    "not_found",
    `there is no removed credential "${name}"; \`sidekey credential list --removed\` shows them`,
  );
}

/** The removals first: they are few, and checked every minute. */
function dueNames(view: VaultView, nowMs: number): string[] {
  if (![...listRemovals(view).values()].some(({ shredAt }) => shredAt <= nowMs)) return [];
  return listRemoved(view)
    .filter(({ shredAt }) => shredAt <= nowMs)
    .map(({ credential }) => credential.name);
}
