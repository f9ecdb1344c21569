import { Secret } from "../secret.ts";
import { canonicalBytes } from "./canonical.ts";
import { aeadOpen, aeadSeal, boxKeypair } from "./crypto.ts";
import type { Database } from "./database.ts";
import { VaultError, VaultTamperedError } from "./errors.ts";
import type { Keyring } from "./keyring.ts";
import type { VaultTransaction, VaultView } from "./ledger.ts";
import { getRows, putRow } from "./rows.ts";

/** A vault starts with these; storing the first credential of another category adds that one. */
export const FIRST_CATEGORIES: readonly string[] = ["market-data", "trading", "ai", "demo"];

export type CategoryState = "enabled" | "disabled" | "destroyed";

interface CategoryRow {
  name: string;
  generation: number;
  state: CategoryState;
  public_key: Buffer;
  private_key: Buffer;
  created_at: number;
  mac: Buffer;
}

/** An earlier key pair: new values are not sealed to it, older ones still open with it until they are wrapped anew. */
interface GenerationRow {
  name: string;
  generation: number;
  public_key: Buffer;
  private_key: Buffer;
  created_at: number;
  retired_at: number;
  mac: Buffer;
}

/** A category, as far as it may be shown. */
export interface Category {
  readonly name: string;
  /** The one that new values are sealed to. */
  readonly generation: number;
  /** `disabled` is sealed: nothing of it is opened until it is unsealed. */
  readonly state: CategoryState;
  readonly createdAt: number;
  /** Generations that older values still need, ascending. */
  readonly retired: readonly number[];
}

/** The public half: sealing a new version needs nothing else. */
export interface CategoryKey {
  generation: number;
  publicKey: Buffer;
}

/**
 * The category's public key; makes the key pair (and an audit entry) when the category is new.
 * @throws VaultError refused when the category is sealed or destroyed
 */
export function ensureCategory(transaction: VaultTransaction, name: string, actor: string): CategoryKey {
  const { db, keys } = transaction;
  const row = findCategory(db, keys, name) ?? addCategory(transaction, name, actor);
  assertEnabled(row);
  return { generation: row.generation, publicKey: row.public_key };
}

function addCategory({ db, keys, now, note }: VaultTransaction, name: string, actor: string): CategoryRow {
  if (!/^[a-z][a-z-]{0,31}$/.test(name)) {
    throw new VaultError("invalid", `category "${name}": use 1 to 32 lower-case letters and hyphens`);
  }
  const row = { ...newKeyPair(keys, name, 1), state: "enabled" as const, created_at: now };
  putRow(db, keys, "categories", row);
  note({ actor, action: "category.add", object: `category:${name}`, detail: { generation: 1 } });
  return { ...row, mac: Buffer.alloc(0) };
}

/** By name. */
export function listCategories({ db, keys }: VaultView): Category[] {
  const retired = Map.groupBy(getRows<GenerationRow>(db, keys, "category_generations"), (row) => row.name);
  return getRows<CategoryRow>(db, keys, "categories").map(({ name, generation, state, created_at }) => ({
    name,
    generation,
    state,
    createdAt: created_at,
    retired: (retired.get(name) ?? []).map((row) => row.generation),
  }));
}

/** Seals one category (nothing of it is opened any more) or unseals it. @throws VaultError not_found, refused */
export function setCategoryState(
  transaction: VaultTransaction,
  name: string,
  state: "enabled" | "disabled",
  actor: string,
): void {
  const { db, keys, note } = transaction;
  const row = findCategory(db, keys, name) ?? unknownCategory(name);
  if (row.state === "destroyed") throw destroyed(name);
  putRow(db, keys, "categories", { ...row, state });
  const action = state === "enabled" ? "category.unseal" : "category.seal";
  note({ actor, action, object: `category:${name}`, detail: { was: row.state } });
}

/**
 * Gives a category a new key pair for everything that is sealed from now on. The old one stays until no value needs
 * it (`rewrapSome`). A destroyed category begins anew this way; what was destroyed stays so.
 * @returns the new generation
 */
export function rotateCategory(transaction: VaultTransaction, name: string, actor: string): number {
  const { db, keys, now, note } = transaction;
  const row = findCategory(db, keys, name) ?? unknownCategory(name);
  const { generation, public_key, private_key, created_at } = row;
  if (row.state === "disabled") throw sealed(name);
  if (row.state === "enabled") {
    const retired = { name, generation, public_key, private_key, created_at, retired_at: now };
    putRow(db, keys, "category_generations", retired);
  }
  const fresh = newKeyPair(keys, name, generation + 1);
  putRow(db, keys, "categories", { ...fresh, state: "enabled", created_at: now });
  const detail = { generation: fresh.generation, was: row.state };
  note({ actor, action: "category.rotate", object: `category:${name}`, detail });
  return fresh.generation;
}

/**
 * Destroys every key of a category on purpose: what is sealed to it can never be opened again, here or in this
 * database's files. Backups made before still can.
 */
export function destroyCategory(transaction: VaultTransaction, name: string, actor: string): void {
  const { db, keys, note } = transaction;
  const row = findCategory(db, keys, name) ?? unknownCategory(name);
  if (row.state === "destroyed") throw destroyed(name);
  putRow(db, keys, "categories", { ...row, state: "destroyed", private_key: Buffer.alloc(0) });
  const { changes } = db.prepare("DELETE FROM category_generations WHERE name = ?").run(name);
  const detail = { generation: row.generation, generations: changes + 1 };
  note({ actor, action: "category.destroy", object: `category:${name}`, detail });
}

/** Forgets a retired generation; the caller has made sure that nothing is sealed to it. */
export function dropGeneration(transaction: VaultTransaction, name: string, generation: number, actor: string): void {
  const { db, note } = transaction;
  db.prepare("DELETE FROM category_generations WHERE name = ? AND generation = ?").run(name, generation);
  note({ actor, action: "category.drop-generation", object: `category:${name}`, detail: { generation } });
}

/**
 * The key pair that opens versions sealed to generation `generation`. The caller wipes the private half.
 * @throws VaultTamperedError, VaultError when the category is sealed or destroyed
 */
export function openCategory(
  db: Database,
  keys: Keyring,
  name: string,
  generation: number,
): { publicKey: Buffer; privateKey: Secret } {
  const category = findCategory(db, keys, name);
  if (category !== null) assertEnabled(category);
  const row = category?.generation === generation ? category : findRetired(db, keys, name, generation);
  if (category === null || row === null) throw missingGeneration(category, name, generation);
  return { publicKey: row.public_key, privateKey: openPrivateKey(keys, row) };
}

/** The private half, from its row. The caller wipes it. */
export function openPrivateKey(keys: Keyring, row: Pick<CategoryRow, KeyColumns>): Secret {
  return Secret.adopt(keys.categories.use((key) => aeadOpen(key, row.private_key, categoryAad(keys, row))));
}

/** The private half, sealed for `keys`, as the row keeps it. */
export function sealPrivateKey(
  keys: Keyring,
  row: Omit<Pick<CategoryRow, KeyColumns>, "private_key">,
  half: Uint8Array,
) {
  return keys.categories.use((key) => aeadSeal(key, half, categoryAad(keys, row)));
}

type KeyColumns = "name" | "generation" | "public_key" | "private_key";

function newKeyPair(keys: Keyring, name: string, generation: number): Pick<CategoryRow, KeyColumns> {
  const { publicKey, privateKey } = boxKeypair();
  const row = { name, generation, public_key: publicKey };
  try {
    return { ...row, private_key: sealPrivateKey(keys, row, privateKey) };
  } finally {
    privateKey.fill(0);
  }
}

/** A value of a generation that is gone: destroyed on purpose, or somebody deleted the row. */
function missingGeneration(category: CategoryRow | null, name: string, generation: number): Error {
  if (category !== null && generation < category.generation) {
    return new VaultError("refused", `category ${name}: key generation ${generation} was destroyed; add a new key`);
  }
  return new VaultTamperedError(`category ${name}`, `key generation ${generation} is missing`);
}

function assertEnabled({ name, state }: CategoryRow): void {
  if (state === "disabled") throw sealed(name);
  if (state === "destroyed") throw destroyed(name);
}

function sealed(name: string): VaultError {
  return new VaultError(
    "refused",
    `category ${name} is sealed; unseal it with \`sidekey vault unseal --category ${name}\``,
  );
}

function destroyed(name: string): VaultError {
  const next = `use another category, or give it new keys with \`sidekey vault rotate --category ${name}\``;
  return new VaultError("refused", `category ${name} was destroyed, what it held is gone; ${next}`);
}

function unknownCategory(name: string): never {
  throw new VaultError("not_found", `there is no category "${name}"; \`sidekey vault status\` shows them`);
}

function findCategory(db: Database, keys: Keyring, name: string): CategoryRow | null {
  return getRows<CategoryRow>(db, keys, "categories", { name })[0] ?? null;
}

function findRetired(db: Database, keys: Keyring, name: string, generation: number): GenerationRow | null {
  return getRows<GenerationRow>(db, keys, "category_generations", { name, generation })[0] ?? null;
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
