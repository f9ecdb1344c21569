import { existsSync } from "node:fs";
import { join } from "node:path";
import { loadCatalog } from "../providers/catalog.ts";
import type { Provider } from "../providers/schema.ts";
import { Secret } from "../secret.ts";
import { createVault } from "../store/create-vault.ts";
import { randomBytes } from "../store/crypto.ts";
import { openVault, type Vault } from "../store/vault.ts";
import type { Unlocker } from "../store/wrappers.ts";
import { createRoot, type Root } from "./ingress/certificate-authority.ts";
import { writeTrustFiles } from "./ingress/trust-bundle.ts";
import { installConfig } from "./setup-config.ts";
import { prepareDataDir, SetupError } from "./setup-data-dir.ts";

/** Client of the sample policy whose token the first start makes. */
export const FIRST_CLIENT = "app";
const DEMO_PROVIDER = "demo";
const DEMO_CREDENTIAL = "demo-main";
const HTTPS_PORT = 443;
const DEMO_KEY_LENGTH = 32;
/** 32 letters and digits, so that five random bits choose one without a bias. */
const DEMO_ALPHABET = Buffer.from("abcdefghijkmnpqrstuvwxyz23456789");

/** Names of the two halves of the CA root in the vault. */
const ROOT_KEY_BLOB = "ca-root";
const ROOT_CERTIFICATE_BLOB = "ca-root-certificate";

export interface SetupOptions {
  readonly dataDir: string;
  readonly configDir: string;
  /** Where the package with its sample `config/` lies. */
  readonly packageRoot: string;
  /** What the vault is made with, or opened with when it is there. */
  readonly unlockers: readonly [Unlocker, ...Unlocker[]];
  readonly providersDir: string;
  /** epoch milliseconds */
  readonly nowMs: number;
  readonly actor: string;
}

export interface SetupResult {
  /** The vault was made by this call. */
  readonly created: boolean;
  /** Token of client `app`; only there when this call made it. It cannot be shown again. */
  readonly clientToken?: string;
  /** What was done, one sentence each. */
  readonly notes: readonly string[];
}

/**
 * Brings a data and a config directory to the state in which the daemon can start. Every step looks
 * first and leaves what is there alone, so that a start after a crash finishes the job; the client
 * token comes last and thereby says that everything before it is done.
 * @throws SetupError when the data directory is not ours to use; DatabaseError, VaultError; and
 *   VaultSealedError when the vault exists and no unlocker opens it
 */
export async function ensureSetup(options: SetupOptions): Promise<SetupResult> {
  const notes = [...installConfig(options), ...prepareDataDir(options.dataDir)];
  const { vault, created } = await openOrCreate(options);
  try {
    if (created) notes.push(`made the vault in ${options.dataDir}`);
    const root = await ensureRoot(vault, options);
    writeTrustFiles(options.dataDir, root);
    if (vault.listClientTokens().some((token) => token.client === FIRST_CLIENT)) return { created, notes };
    notes.push(...ensureDemoCredential(vault, options));
    const { token } = vault.addClientToken(FIRST_CLIENT, { label: "first start" }, options.actor);
    return { created, clientToken: token, notes };
  } finally {
    vault.close();
  }
}

async function openOrCreate(options: SetupOptions): Promise<{ vault: Vault; created: boolean }> {
  const { dataDir, unlockers, actor } = options;
  if (!existsSync(join(dataDir, "vault.db"))) {
    assertNoVaultLost(dataDir);
    return { vault: await createVault(dataDir, unlockers[0], { actor }), created: true };
  }
  const vault = openVault(dataDir, { actor });
  try {
    await vault.unseal(unlockers);
    return { vault, created: false };
  } catch (error) {
    vault.close();
    throw error;
  }
}

/** The anchor is written after the vault it belongs to, and tells of a vault that was there. */
function assertNoVaultLost(dataDir: string): void {
  const anchor = join(dataDir, "audit.anchor");
  if (!existsSync(anchor)) return;
  throw new SetupError(
    `${anchor} belongs to a vault, but there is no vault.db`,
    "put vault.db back from a backup; to begin anew name an empty directory with --data",
  );
}

/**
 * The installation's CA root from the vault. The caller wipes `privateKey`.
 * @param purpose what the audit says the key was opened for
 * @returns null when setup has not made one
 */
export function openRoot(vault: Vault, purpose: string): Root | null {
  const certificate = vault.openSealed(ROOT_CERTIFICATE_BLOB, purpose);
  const privateKey = vault.openSealed(ROOT_KEY_BLOB, purpose);
  if (certificate === null || privateKey === null) return null;
  return { certificatePem: certificate.use((bytes) => bytes.toString("ascii")), privateKey };
}

/** The certificate is stored before the key: where there is a key, its certificate is there too. */
async function ensureRoot(vault: Vault, options: SetupOptions): Promise<string> {
  const existing = openRoot(vault, "setup");
  if (existing !== null) {
    existing.privateKey.wipe();
    return existing.certificatePem;
  }
  const root = await createRoot(options.nowMs);
  try {
    vault.putSealed(ROOT_CERTIFICATE_BLOB, Secret.copyOf(Buffer.from(root.certificatePem, "ascii")), options.actor);
    vault.putSealed(ROOT_KEY_BLOB, root.privateKey, options.actor);
    return root.certificatePem;
  } finally {
    root.privateKey.wipe();
  }
}

/** A credential for the built-in demo provider, so that the first request works without a key of one's own. */
function ensureDemoCredential(vault: Vault, options: SetupOptions): string[] {
  if (vault.listCredentials().some((credential) => credential.name === DEMO_CREDENTIAL)) return [];
  const provider = loadCatalog(options.providersDir).providers.get(DEMO_PROVIDER);
  const environment = provider === undefined ? undefined : [...provider.environments][0];
  if (provider === undefined || environment === undefined) return [];
  const fields = demoFields(provider);
  try {
    const plan = {
      name: DEMO_CREDENTIAL,
      provider: provider.id,
      environment: environment[0],
      category: provider.category,
      hosts: environment[1].hosts.map(({ host, port }) => (port === HTTPS_PORT ? host : `${host}:${port}`)),
      owner: { kind: "service" as const },
    };
    vault.addCredential(plan, fields, options.actor);
    return [`stored ${DEMO_CREDENTIAL}, a random key for the built-in demo provider`];
  } finally {
    for (const secret of fields.values()) secret.wipe();
  }
}

function demoFields(provider: Provider): Map<string, Secret> {
  return new Map(
    [...provider.fields.values()].map((field) => {
      const prefix = Buffer.from(field.shape?.prefixes[0] ?? "", "ascii");
      const key = randomBytes(DEMO_KEY_LENGTH);
      for (let index = 0; index < key.length; index++) key[index] = DEMO_ALPHABET[(key[index] ?? 0) & 31] ?? 0;
      const value = Buffer.alloc(prefix.length + key.length);
      value.set(prefix);
      value.set(key, prefix.length);
      key.fill(0);
      return [field.name, Secret.adopt(value)];
    }),
  );
}
