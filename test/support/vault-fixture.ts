import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import SQLite from "better-sqlite3";
import { Secret } from "../../src/secret.ts";
import { canonicalBytes } from "../../src/store/canonical.ts";
import { createVault } from "../../src/store/create-vault.ts";
import { aeadSeal, KEY_BYTES, randomBytes } from "../../src/store/crypto.ts";
import { type UnlockProblemCode, VaultError, VaultSealedError } from "../../src/store/errors.ts";
import { putRow } from "../../src/store/rows.ts";
import { openVault, type Vault, type VaultOptions } from "../../src/store/vault.ts";
import type { Unlocker } from "../../src/store/wrappers.ts";
import { tempDir } from "./temp-dir.ts";

/** Cheap enough for a test; production uses 256 MiB. */
export const FAST_PASSPHRASE = { passes: 1, memoryBytes: 8192 };
export const START_MS = Date.UTC(2026, 0, 1);

export interface VaultFixture {
  directory: string;
  unlocker: Unlocker;
  vault: Vault;
  options: VaultOptions;
  /** a second, sealed, handle on the same files */
  reopen(): Vault;
}

/** A new unsealed vault with a clock that advances 1 ms per reading. */
export async function newVault(t: TestContext, extra: VaultOptions = {}): Promise<VaultFixture> {
  const directory = tempDir(t);
  const unlocker: Unlocker = { kind: "file", path: join(directory, "root.key") };
  let clock = START_MS;
  const options: VaultOptions = { now: () => ++clock, cost: FAST_PASSPHRASE, ...extra };
  const vault = await createVault(directory, unlocker, options);
  const handles = [vault];
  t.after(() => {
    for (const handle of handles) handle.close();
  });
  const reopen = () => {
    const handle = openVault(directory, options);
    handles.push(handle);
    return handle;
  };
  return { directory, unlocker, vault, options, reopen };
}

export function secret(text: string): Secret {
  return Secret.copyOf(Buffer.from(text));
}

export function passphrase(text: string): Unlocker {
  return { kind: "passphrase", read: async () => secret(text) };
}

export function fields(values: Record<string, string>): Map<string, Secret> {
  return new Map(Object.entries(values).map(([name, value]) => [name, secret(value)]));
}

/** Opened fields as text: only a test may do this. */
export function reveal(opened: Map<string, Secret>): Record<string, string> {
  return Object.fromEntries([...opened].map(([name, value]) => [name, value.use((bytes) => bytes.toString())]));
}

export function newCredential(name: string, extra: object = {}) {
  return {
    name,
    provider: "fmp",
    environment: "live",
    category: "market-data",
    hosts: ["financialmodelingprep.com"],
    owner: { kind: "service" as const },
    ...extra,
  };
}

/** Two categories, two providers, two versions, tokens and a blob: a row of every kind. */
export function fill(vault: Vault): void {
  vault.addCredential(newCredential("fmp-main"), fields({ api_key: "fmp-key-one" }), "ana");
  vault.addCredential(
    newCredential("fmp-spare", { metadata: { plan: "starter" } }),
    fields({ api_key: "fmp-key-spare" }),
    "ana",
  );
  const alpaca = { provider: "alpaca", category: "trading", hosts: ["api.alpaca.markets"], expiresAt: START_MS + 1e9 };
  const owner = { kind: "user", id: "user-7" };
  vault.addCredential(
    newCredential("alpaca-7", { ...alpaca, owner }),
    fields({ key_id: "PK1", secret_key: "s1" }),
    "ana",
  );
  vault.addVersion("fmp-main", fields({ api_key: "fmp-key-two" }), "current", "ana");
  vault.addClientToken("app", { expiresAt: START_MS + 1e9, label: "laptop" }, "ana");
  vault.revokeClientTokens(vault.addClientToken("app", {}, "ana").id, "ana");
  vault.putSealed("ca", secret("ca-private-key"), "ana");
}

/** As `fill`, and a row in every other table: whatever its content means, the store has to notice a change of it. */
export function fillEveryTable(vault: Vault): void {
  fill(vault);
  const { id: going } = vault.addCredential(newCredential("going"), fields({ api_key: "fmp-key-going" }), "ana");
  const { id: moving } = vault.addCredential(newCredential("moving"), fields({ api_key: "fmp-key-moving" }), "ana");
  vault.write((transaction) => {
    const { db, keys, now } = transaction;
    const blob = (text: string): Buffer => Buffer.from(text.repeat(4));
    const dates = { created_at: now, retired_at: now };
    for (const name of ["trading", "ai"]) {
      const key = { public_key: blob(`public ${name}`), private_key: blob(`sealed ${name}`) };
      putRow(db, keys, "category_generations", { name, generation: 7, ...key, ...dates });
    }
    const text = '{"phase":"done"}';
    for (const credential of [going, moving]) {
      putRow(db, keys, "rotations", { credential, state: `${text} `.repeat(2), updated_at: now });
      putRow(db, keys, "rotation_policies", { credential, policy: text, updated_at: now });
    }
    putRow(db, keys, "removals", { credential: going, removed_at: now, shred_at: now + 1e9 });
    for (const version of [1, 2]) {
      const digest = `${version}`.repeat(64);
      putRow(db, keys, "submissions", { digest, credential: going, version, accepted_at: now });
    }
    const aad = canonicalBytes({ format: 1, retired_root: 1, vault: keys.vault });
    const audit_key = keys.blobs.use((key) => aeadSeal(key, randomBytes(KEY_BYTES), aad));
    putRow(db, keys, "retired_roots", { generation: 1, audit_key, last_seq: 0, retired_at: now });
    transaction.note({ actor: "ana", action: "test.fill", object: "vault", detail: {} });
  });
}

/** A second connection without any of the store's checks: the attacker who can write the disk. */
export function editDatabase(directory: string, edit: (db: SQLite.Database) => void): void {
  const db = new SQLite(join(directory, "vault.db"));
  try {
    db.pragma("foreign_keys = OFF");
    db.pragma("ignore_check_constraints = ON");
    edit(db);
  } finally {
    db.close();
  }
}

/** A copy of a closed data directory, to break. */
export function copyOf(t: TestContext, directory: string): string {
  const copy = tempDir(t);
  cpSync(directory, copy, { recursive: true });
  return copy;
}

/** An audit entry of something outside the vault. */
export function note(vault: Vault, object: string): void {
  vault.audit({ actor: "ana", action: "policy.reload", object, detail: { ok: true, rules: 3 } });
}

/** For assert.rejects: a VaultSealedError with exactly these problems. */
export function sealedBecause(...codes: UnlockProblemCode[]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof VaultSealedError, String(error));
    assert.deepEqual(
      error.problems.map((problem) => problem.code),
      codes,
      error.message,
    );
    return true;
  };
}

/** For assert.throws: a VaultError with this code, whose message has these words. */
export function refusedAs(code: string, words = /./): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof VaultError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, words);
    return true;
  };
}
