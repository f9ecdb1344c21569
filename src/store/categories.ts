import { Secret } from "../secret.ts";
import { canonicalBytes } from "./canonical.ts";
import { aeadOpen, aeadSeal, boxKeypair } from "./crypto.ts";
import type { Database } from "./database.ts";
import { VaultError, VaultTamperedError } from "./errors.ts";
import type { Keyring } from "./keyring.ts";
import type { VaultTransaction } from "./ledger.ts";
import { getRows, putRow } from "./rows.ts";

/** A vault starts with these; storing the first credential of another category adds that one. */
export const FIRST_CATEGORIES: readonly string[] = ["market-data", "trading", "ai", "demo"];

interface CategoryRow {
  name: string;
  generation: number;
  state: "enabled" | "disabled" | "destroyed";
  public_key: Buffer;
  private_key: Buffer;
  created_at: number;
  mac: Buffer;
}

/** The public half: sealing a new version needs nothing else. */
export interface CategoryKey {
  generation: number;
  publicKey: Buffer;
}

/** The category's public key; makes the key pair (and an audit entry) when the category is new. */
export function ensureCategory(transaction: VaultTransaction, name: string, actor: string): CategoryKey {
  const { db, keys } = transaction;
  const row = findCategory(db, keys, name) ?? addCategory(transaction, name, actor);
  return { generation: row.generation, publicKey: row.public_key };
}

function addCategory({ db, keys, now, note }: VaultTransaction, name: string, actor: string): CategoryRow {
  if (!/^[a-z][a-z-]{0,31}$/.test(name)) {
    throw new VaultError("invalid", `category "${name}": use 1 to 32 lower-case letters and hyphens`);
  }
  const { publicKey, privateKey } = boxKeypair();
  const row = { name, generation: 1, state: "enabled" as const, public_key: publicKey, created_at: now };
  const sealed = keys.categories.use((key) => aeadSeal(key, privateKey, categoryAad(keys, row)));
  privateKey.fill(0);
  putRow(db, keys, "categories", { ...row, private_key: sealed });
  note({ actor, action: "category.add", object: `category:${name}`, detail: { generation: 1 } });
  return { ...row, private_key: sealed, mac: Buffer.alloc(0) };
}

/**
 * The key pair that opens versions sealed to generation `generation`. The caller wipes the private half.
 * @throws VaultTamperedError, VaultError when the category is disabled or destroyed
 */
export function openCategory(
  db: Database,
  keys: Keyring,
  name: string,
  generation: number,
): { publicKey: Buffer; privateKey: Secret } {
  const row = findCategory(db, keys, name);
  if (row === null || row.generation !== generation) {
    throw new VaultTamperedError(`category ${name}`, `key generation ${generation} is missing`);
  }
  if (row.state !== "enabled")
    throw new VaultError("refused", `category ${name} is ${row.state}; its keys are not opened`);
  const plain = keys.categories.use((key) => aeadOpen(key, row.private_key, categoryAad(keys, row)));
  return { publicKey: row.public_key, privateKey: Secret.adopt(plain) };
}

function findCategory(db: Database, keys: Keyring, name: string): CategoryRow | null {
  return getRows<CategoryRow>(db, keys, "categories", { name })[0] ?? null;
}

function categoryAad(keys: Keyring, row: { name: string; generation: number; public_key: Buffer }): Buffer {
  const publicKey = row.public_key.toString("base64");
  return canonicalBytes({
    category: row.name,
    format: 1,
    generation: row.generation,
    public_key: publicKey,
    vault: keys.vault,
  });
}
