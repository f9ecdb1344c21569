import { copyFileSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { rotateCategory } from "../../src/store/categories.ts";
import { createVault } from "../../src/store/create-vault.ts";
import { openVault, type Vault } from "../../src/store/vault.ts";
import { type FaultOperation, type FaultPlace, MAIN, OTHER } from "./fault-operations.ts";
import { FAST_PASSPHRASE, fields, newCredential, reveal, secret } from "./vault-fixture.ts";

/** What the files of a vault hold, without what is random: two runs of one operation give equal states. */
export interface VaultState {
  readonly credentials: readonly unknown[];
  readonly tokens: readonly unknown[];
  readonly wrappers: readonly string[];
  readonly blob: string | null;
  readonly audit: readonly string[];
}

/** Long after what was left behind counts as stale. */
const LATER_MS = 3_600_000;
/** Everything that may lie in a data directory when no process runs. */
const EXPECTED_FILES = /^(?:vault\.db(?:-wal|-shm)?|audit\.anchor|(?:root|second)\.key)$/;
/** Reading the state leaves these behind itself. */
const READING = /^(?:vault\.unseal|secret\.open|blob\.open)$/;

export function placeAt(directory: string): FaultPlace {
  const options = { now: Date.now, cost: FAST_PASSPHRASE, actor: "faults" };
  return { directory, unlocker: { kind: "file", path: join(directory, "root.key") }, options };
}

/** A closed vault for copying: two credentials, one with a pending second version, a token and a blob. */
export async function prepareTemplate(directory: string): Promise<void> {
  const { unlocker, options } = placeAt(directory);
  const vault = await createVault(directory, unlocker, options);
  vault.addCredential(newCredential(MAIN), fields({ api_key: "first value of main" }), "ana");
  vault.addVersion(MAIN, fields({ api_key: "second value of main" }), "pending", "ana");
  vault.addCredential(newCredential(OTHER), fields({ api_key: "first value of other" }), "ana");
  vault.addClientToken("app", { label: "laptop" }, "ana");
  vault.putSealed("blob", secret("old blob"), "ana");
  // Leaves values that are still sealed to an earlier key pair.
  vault.write((transaction) => rotateCategory(transaction, "market-data", "ana"));
  vault.close();
}

/** A fresh place for one run of `operation`. */
export function placeFor(operation: FaultOperation, template: string, directory: string): FaultPlace {
  if (operation.on === "empty directory") mkdirSync(directory, { mode: 0o700 });
  else copyDirectory(template, directory);
  return placeAt(directory);
}

export function copyDirectory(from: string, to: string): void {
  mkdirSync(to, { mode: 0o700 });
  for (const name of readdirSync(from)) copyFileSync(join(from, name), join(to, name));
}

/**
 * Opens the files with a handle of its own, as the next start would, and checks everything.
 * @returns null where there is no vault
 * @throws Error when it does not open, or the audit chain does not hold
 */
export async function describeVault({ directory, unlocker, options }: FaultPlace): Promise<VaultState | null> {
  if (!existsSync(join(directory, "vault.db"))) return null;
  const vault = openVault(directory, { ...options, now: () => Date.now() + LATER_MS });
  try {
    await vault.unseal([unlocker]);
    const chain = vault.verifyAudit();
    if (!chain.ok) throw new Error(`verifyAudit: entry ${chain.firstBadSeq}: ${chain.problem}`);
    return stateOf(vault);
  } finally {
    vault.close();
  }
}

function stateOf(vault: Vault): VaultState {
  const credentials = vault.listCredentials().map(({ id, name, state, category, versions }) => ({
    name,
    state,
    category,
    versions: versions.map(({ number, stage }) => {
      const opens = state === "enabled" && stage !== "revoked";
      return { number, stage, value: opens ? reveal(vault.openFields(id, number, "faults")) : null };
    }),
  }));
  const tokens = vault.listClientTokens().map(({ client, label, revokedAt }) => [client, label, revokedAt !== null]);
  const blob = vault.openSealed("blob", "faults")?.use((bytes) => bytes.toString()) ?? null;
  const audit = vault.listAudit().filter(({ action }) => !READING.test(action));
  return {
    credentials,
    tokens,
    wrappers: vault
      .listWrappers()
      .map(({ kind }) => kind)
      .sort(),
    blob,
    audit: audit.map(({ action, object }) => `${action} ${object.replace(/[0-9a-f]{16}/, "ID")}`),
  };
}

/** Files that the next start should have removed. */
export function leftovers(directory: string): string[] {
  return readdirSync(directory).filter((name) => !EXPECTED_FILES.test(name));
}
