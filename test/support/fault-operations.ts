import { destroyCategory, rotateCategory, setCategoryState } from "../../src/store/categories.ts";
import { createVault } from "../../src/store/create-vault.ts";
import { softRemove } from "../../src/store/credential-removal.ts";
import { rotateAtOnce } from "../../src/store/credential-rotation.ts";
import { prepareWrapper, storeWrapper } from "../../src/store/prepared-wrapper.ts";
import { replaceRoot } from "../../src/store/replace-root.ts";
import { needsRewrap, rewrapSome } from "../../src/store/rewrap.ts";
import { openVault, type Vault, type VaultOptions } from "../../src/store/vault.ts";
import type { Unlocker } from "../../src/store/wrappers.ts";
import type { VaultState } from "./fault-state.ts";
import { fields, newCredential, note, passphrase, secret } from "./vault-fixture.ts";

/** The copy of a data directory that an operation works in. */
export interface FaultPlace {
  readonly directory: string;
  readonly unlocker: Unlocker;
  readonly options: VaultOptions;
}

interface Operation {
  /** For an operation of several transactions: whether a state after some of them is one that may be seen. */
  readonly between?: (state: VaultState) => boolean;
}

/** One change through a vault that is open and unsealed. Run again after it failed, it must succeed. */
interface VaultOperation extends Operation {
  readonly on: "vault";
  readonly run: (vault: Vault, place: FaultPlace) => unknown;
}

/** Something that opens the files itself, where a vault is or where none is yet. */
interface PlaceOperation extends Operation {
  readonly on: "files" | "empty directory";
  readonly run: (place: FaultPlace) => unknown;
}

export type FaultOperation = VaultOperation | PlaceOperation;

/** What `prepareTemplate` of fault-state.ts fills the vault with, for operations to work on. */
export const MAIN = "fmp-main";
export const OTHER = "fmp-other";

/**
 * Everything that is tried with each fault at each call. The state after a successful run must be the same each time:
 * random values are fine as long as `describeVault` does not show them.
 */
export const FAULT_OPERATIONS: Readonly<Record<string, FaultOperation>> = {
  "create vault": {
    on: "empty directory",
    run: async ({ directory, unlocker, options }) => (await createVault(directory, unlocker, options)).close(),
  },
  unseal: {
    on: "files",
    run: ({ directory, unlocker, options }) => withVault({ directory, unlocker, options }, () => undefined),
  },
  "write and close": {
    on: "files",
    run: (place) => withVault(place, (vault) => vault.setState(OTHER, "disabled", "ana")),
  },
  "add credential": {
    on: "vault",
    run: (vault) => vault.addCredential(newCredential("added"), fields({ api_key: "value of added" }), "ana"),
  },
  "add credential and category": {
    on: "vault",
    run: (vault) =>
      vault.addCredential(newCredential("added", { category: "fresh" }), fields({ api_key: "fresh value" }), "ana"),
  },
  "add current version": {
    on: "vault",
    run: (vault) => vault.addVersion(OTHER, fields({ api_key: "second value" }), "current", "ana"),
  },
  promote: { on: "vault", run: (vault) => vault.promote(MAIN, 2, "ana") },
  revoke: { on: "vault", run: (vault) => vault.revokeVersion(MAIN, 1, "ana") },
  remove: { on: "vault", run: (vault) => vault.removeCredential(MAIN, "ana") },
  disable: { on: "vault", run: (vault) => vault.setState(MAIN, "disabled", "ana") },
  "add client token": { on: "vault", run: (vault) => vault.addClientToken("desk", { label: "new" }, "ana") },
  "revoke client tokens": { on: "vault", run: (vault) => vault.revokeClientTokens("app", "ana") },
  "add wrapper": {
    on: "vault",
    run: (vault, { directory, unlocker }) =>
      vault.addWrapper({ kind: "file", path: `${directory}/second.key` }, [unlocker], "ana"),
  },
  "add passphrase": {
    on: "vault",
    run: (vault, { unlocker }) => vault.addWrapper(passphrase("correct horse battery"), [unlocker], "ana"),
  },
  "replace the root key": {
    on: "vault",
    run: (vault, { unlocker }) =>
      replaceRoot(vault, { unlockers: [unlocker], drop: [], actor: "ana", announce: async () => {} }),
  },
  "replace a wrapper": {
    on: "vault",
    run: async (vault, { directory, unlocker }) => {
      const second = { kind: "file" as const, path: `${directory}/second.key` };
      const made = await prepareWrapper(vault, [unlocker], second, { now: 1 });
      storeWrapper(vault, made, "ana");
    },
  },
  "rotate a category": {
    on: "vault",
    run: (vault) => vault.write((transaction) => rotateCategory(transaction, "ai", "ana")),
  },
  "wrap data keys anew": {
    on: "vault",
    run: (vault) => {
      while (vault.read(needsRewrap)) vault.write((transaction) => rewrapSome(transaction, 1, "ana"));
    },
    // Each step is a transaction of its own; every value opens after any number of them.
    between: (state) => state.credentials.length === 2,
  },
  "seal a category": {
    on: "vault",
    run: (vault) => vault.write((transaction) => setCategoryState(transaction, "trading", "disabled", "ana")),
  },
  "destroy a category": {
    on: "vault",
    run: (vault) => vault.write((transaction) => destroyCategory(transaction, "trading", "ana")),
  },
  "rotate a credential at once": {
    on: "vault",
    run: (vault) =>
      vault.write((transaction) => rotateAtOnce(transaction, OTHER, fields({ api_key: "after a leak" }), "ana")),
  },
  "remove to be restored": {
    on: "vault",
    run: (vault) => vault.write((transaction) => softRemove(transaction, MAIN, 1e9, "ana")),
  },
  "put sealed blob": { on: "vault", run: (vault) => vault.putSealed("blob", secret("new blob"), "ana") },
  "record audit entry": { on: "vault", run: (vault) => note(vault, "policy:main") },
  "open fields": {
    on: "vault",
    run: (vault) => {
      const opened = vault.openFields(vault.getCredential(MAIN).id, 1, "faults");
      for (const value of opened.values()) value.wipe();
    },
  },
};

export function faultOperation(name: string): FaultOperation {
  const operation = FAULT_OPERATIONS[name];
  if (operation === undefined) throw new Error(`there is no operation "${name}" in fault-operations.ts`);
  return operation;
}

async function withVault(place: FaultPlace, work: (vault: Vault) => unknown): Promise<void> {
  const vault = openVault(place.directory, place.options);
  try {
    await vault.unseal([place.unlocker]);
    work(vault);
  } finally {
    vault.close();
  }
}
