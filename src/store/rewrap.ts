import { dropGeneration, ensureCategory, listCategories, openCategory } from "./categories.ts";
import type { VaultTransaction, VaultView } from "./ledger.ts";
import { getVersion, rewrapVersion } from "./versions.ts";

/*
 * After `rotateCategory` the values of before are still sealed to the old key pair. This wraps their data keys (not
 * the values) for the new one, some at a time, and drops the old pair when nothing needs it. What is left to do is
 * read from the rows, so it goes on after any interruption. Revoked versions are left behind: with the old pair they
 * can never be opened again.
 */

interface Found {
  credential: string;
  number: number;
  generation: number;
}

/** Values that are sealed to a retired key pair and still wanted, over all categories that are not sealed. */
export function countToRewrap(view: VaultView): number {
  return waiting(view).reduce((sum, { name, generation }) => sum + count(view, name, generation), 0);
}

/**
 * Wraps up to `limit` data keys anew, and drops key pairs that nothing needs any more.
 * @returns how many values it wrapped and whether more is to be done
 */
export function rewrapSome(
  transaction: VaultTransaction,
  limit: number,
  actor: string,
): { rewrapped: number; more: boolean } {
  const { note } = transaction;
  let rewrapped = 0;
  for (const { name, generation } of waiting(transaction)) {
    if (rewrapped >= limit) return { rewrapped, more: true };
    const done = rewrapGeneration(transaction, name, generation, { limit: limit - rewrapped, actor });
    rewrapped += done;
    if (done > 0) {
      note({ actor, action: "category.rewrap", object: `category:${name}`, detail: { from: generation, count: done } });
    }
    if (count(transaction, name, generation) > 0) return { rewrapped, more: true };
    dropGeneration(transaction, name, generation, actor);
  }
  return { rewrapped, more: false };
}

/** Whether `rewrapSome` has anything to do; cheap. */
export function needsRewrap(view: VaultView): boolean {
  return waiting(view).length > 0;
}

function waiting(view: VaultView): { name: string; generation: number }[] {
  return listCategories(view)
    .filter((category) => category.state === "enabled")
    .flatMap(({ name, retired }) => retired.map((generation) => ({ name, generation })));
}

function rewrapGeneration(
  transaction: VaultTransaction,
  name: string,
  generation: number,
  options: { limit: number; actor: string },
): number {
  const { db, keys } = transaction;
  const found = db
    .prepare(`SELECT v.credential, v.number, v.generation ${WANTED} ORDER BY v.credential, v.number LIMIT ?`)
    .all(name, generation, options.limit) as Found[];
  if (found.length === 0) return 0;
  const to = ensureCategory(transaction, name, options.actor);
  const from = openCategory(db, keys, name, generation);
  try {
    for (const { credential, number } of found) {
      rewrapVersion(transaction, getVersion(db, keys, credential, number), from, to);
    }
    return found.length;
  } finally {
    from.privateKey.wipe();
  }
}

const WANTED = `FROM versions v JOIN credentials c ON c.id = v.credential
  WHERE c.category = ? AND v.generation = ? AND v.stage <> 'revoked'`;

function count({ db }: VaultView, name: string, generation: number): number {
  return db.prepare(`SELECT count(*) ${WANTED}`).pluck().get(name, generation) as number;
}
