import { existsSync } from "node:fs";
import { join } from "node:path";
import { VaultSealedError } from "../store/errors.ts";
import { openVault, type Vault } from "../store/vault.ts";
import type { Unlocker } from "../store/wrappers.ts";
import { StartError } from "./start-error.ts";

/** Opens and unseals the vault of `dataDir`. @throws StartError vault_missing or vault_sealed, with the next step */
export async function unlockedVault(dataDir: string, unlockers: readonly Unlocker[]): Promise<Vault> {
  if (!existsSync(join(dataDir, "vault.db"))) {
    throw new StartError("vault_missing", `there is no vault in ${dataDir}; run \`sidekey init\` first`);
  }
  const vault = await openVault(dataDir);
  try {
    await vault.unseal(unlockers);
    return vault;
  } catch (error) {
    vault.close();
    if (error instanceof VaultSealedError) throw new StartError("vault_sealed", error.message, error);
    throw error;
  }
}
