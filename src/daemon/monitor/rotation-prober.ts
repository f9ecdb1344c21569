import type { Credential } from "../../store/credentials.ts";
import { getRotation } from "../../store/rotations.ts";
import type { Vault } from "../../store/vault.ts";
import { type HolderDeps, withHolders } from "./rotation-holders.ts";
import { ROTATORS } from "./rotators/known-rotators.ts";
import { RotatorError } from "./rotators/rotator.ts";

/** What a question to the provider about one version came to. */
export interface VersionProbe {
  readonly meaning: "valid" | "invalid" | "forbidden" | "limited" | "plan" | "unknown";
  readonly status: number | null;
  /** One sentence for people; never a secret. */
  readonly detail: string;
  readonly expiresAt: number | null;
}

export interface RotationProberDeps extends HolderDeps {
  readonly vault: Pick<Vault, "read" | "getCredential" | "openFields">;
  /** The probe of the catalog. */
  readonly probe: (credential: Credential, version: number) => Promise<VersionProbe>;
}

/** Providers take a while until all their machines know a key that they have just made, in ms. */
const KNOWN_AFTER_MS = 5 * 60_000;

/**
 * Tries the new version of a rotation: with the catalog's probe, or as its rotator tells dead keys from live ones where
 * the catalog has none. A key that sidekey made a moment ago is not called invalid yet.
 */
export function createRotationProber(
  deps: RotationProberDeps,
): (credential: Credential, version: number) => Promise<VersionProbe> {
  return async (credential, version) => {
    const provider = deps.provider(credential.provider);
    const rotator = ROTATORS.get(provider?.rotation?.rotator ?? "");
    const asked = provider?.probe != null || rotator === undefined;
    const result = asked ? await deps.probe(credential, version) : await byRotator(deps, credential, version);
    if (result.meaning !== "invalid" || !isNew(deps, credential, version)) return result;
    return { ...result, meaning: "unknown", detail: `${result.detail}; it was made a moment ago and is tried again` };
  };
}

async function byRotator(deps: RotationProberDeps, credential: Credential, version: number): Promise<VersionProbe> {
  const rotator = ROTATORS.get(deps.provider(credential.provider)?.rotation?.rotator ?? "");
  const rotation = deps.vault.read((view) => getRotation(view, credential.id));
  const untold = (detail: string): VersionProbe => ({ meaning: "unknown", status: null, detail, expiresAt: null });
  if (rotator === undefined || rotation === null) return untold("nothing is known that tries such a key");
  const { settings = {}, token = "" } = rotation.automatic ?? {};
  try {
    // The key is asked about itself, so nobody else's is needed.
    const alone = { ...rotation, automatic: null };
    const { dead, status } = await withHolders(deps, credential, alone, version, ({ admin, old }) =>
      rotator.proveDead({ admin, old, settings, token, startedAt: rotation.startedAt }),
    );
    if (dead) return { meaning: "invalid", status, detail: `the provider refused it (${status})`, expiresAt: null };
    const meaning = status >= 200 && status < 300 ? "valid" : "unknown";
    return { meaning, status, detail: `the provider answered ${status}`, expiresAt: null };
  } catch (error) {
    if (error instanceof RotatorError) return untold(error.message);
    throw error;
  }
}

function isNew(deps: RotationProberDeps, { id, versions }: Credential, version: number): boolean {
  const rotation = deps.vault.read((view) => getRotation(view, id));
  if (rotation?.automatic == null || rotation.to !== version) return false;
  const found = versions.find(({ number }) => number === version);
  return found !== undefined && deps.now() - found.createdAt < KNOWN_AFTER_MS;
}
