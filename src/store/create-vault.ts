import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { ensureCategory, FIRST_CATEGORIES } from "./categories.ts";
import { randomBytes, ready } from "./crypto.ts";
import {
  assertDirectoryPrivate,
  type Database,
  fileError,
  moveIntoPlace,
  moveLogIntoFile,
  openVaultDatabase,
  syncDirectory,
} from "./database.ts";
import { VaultError } from "./errors.ts";
import * as keyring from "./keyring.ts";
import { Ledger } from "./ledger.ts";
import { discard, removeLeftovers } from "./leftovers.ts";
import { VAULT_FILE, Vault, type VaultOptions } from "./vault.ts";
import { type Unlocker, unlockerName } from "./wrappers.ts";

/**
 * Makes the vault of `directory` (created 0700 when missing) and returns it unsealed. It appears whole or not at all:
 * it is built under another name and linked into place. A missing key file is made and stays even after a failure,
 * because another process may already use it; the next attempt takes it up.
 * @throws VaultError exists; DatabaseError; UnlockError
 */
export async function createVault(directory: string, unlocker: Unlocker, options: VaultOptions = {}): Promise<Vault> {
  await ready();
  makeDirectory(directory);
  const path = join(directory, VAULT_FILE);
  assertNothingThere(path);
  removeLeftovers(directory, (options.now ?? Date.now)());
  const building = `${path}.${randomBytes(4).toString("hex")}.new`;
  try {
    const keys = await buildVault(directory, building, unlocker, options);
    return placeVault(directory, building, { keys, by: unlockerName(unlocker) }, options);
  } finally {
    for (const suffix of ["", "-journal", "-wal", "-shm"]) discard(`${building}${suffix}`);
  }
}

async function buildVault(
  directory: string,
  path: string,
  unlocker: Unlocker,
  options: VaultOptions,
): Promise<keyring.Keyring> {
  const now = options.now ?? Date.now;
  const db = (options.openDatabase ?? openVaultDatabase)(path, { create: true });
  try {
    const keys = await keyring.createKeyring(db, unlocker, { cost: options.cost, now: now() });
    const actor = options.actor ?? "sidekey";
    new Ledger(db, directory, now).begin(keys, (transaction) => {
      for (const name of FIRST_CATEGORIES) ensureCategory({ ...transaction, note: () => undefined }, name, actor);
      const detail = { vault: keys.vault, categories: FIRST_CATEGORIES.join(" ") };
      transaction.note({ actor, action: "vault.create", object: "vault", detail });
    });
    moveLogIntoFile(db);
    return keys;
  } finally {
    db.close();
  }
}

function placeVault(
  directory: string,
  building: string,
  unlocked: { keys: keyring.Keyring; by: string },
  options: VaultOptions,
): Vault {
  const path = join(directory, VAULT_FILE);
  let db: Database | null = null;
  try {
    // Again, because making the key may have taken a while; the move itself fails when somebody was faster.
    assertNothingThere(path);
    moveIntoPlace(building, path);
    syncDirectory(directory);
    db = (options.openDatabase ?? openVaultDatabase)(path);
    const ledger = new Ledger(db, directory, options.now ?? Date.now);
    ledger.unseal(unlocked.keys, { by: unlocked.by, actor: options.actor ?? "sidekey", newAnchor: true });
    return new Vault(ledger, options);
  } catch (error) {
    keyring.wipeKeyring(unlocked.keys);
    db?.close();
    throw (error as NodeJS.ErrnoException).code === "EEXIST" ? alreadyThere(path) : error;
  }
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw fileError(error, directory);
  }
  assertDirectoryPrivate(directory);
}

function assertNothingThere(path: string): void {
  // A log without its database would be replayed into the new one.
  for (const file of [path, `${path}-wal`]) if (existsSync(file)) throw alreadyThere(file);
}

function alreadyThere(path: string): VaultError {
  const text = `${path} exists; a vault is never overwritten. Use it, or choose another data directory`;
  return new VaultError("exists", text);
}
