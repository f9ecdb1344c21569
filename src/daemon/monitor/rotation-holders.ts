import type { OAuth2Auth, Provider } from "../../providers/schema.ts";
import type { Secret } from "../../secret.ts";
import type { Credential } from "../../store/credentials.ts";
import { VaultError } from "../../store/errors.ts";
import type { Rotation } from "../../store/rotations.ts";
import type { Vault } from "../../store/vault.ts";
import type { AccessTokens } from "../pipeline/access-token.ts";
import { ProxyError } from "../pipeline/errors.ts";
import type { CallProvider } from "./provider-call.ts";
import type { KeyHolder } from "./rotators/ask.ts";
import { RotatorError } from "./rotators/rotator.ts";

export interface HolderDeps {
  readonly vault: Pick<Vault, "getCredential" | "openFields">;
  readonly provider: (id: string) => Provider | undefined;
  readonly call: CallProvider;
  readonly accessTokens: AccessTokens;
  readonly now: () => number;
}

/** Who acts in one step of a rotation, and the key that is replaced or ended. */
export interface Holders {
  readonly admin: KeyHolder;
  readonly old: KeyHolder;
  /** False when the version was revoked here before: its value cannot be read any more. */
  readonly readable: boolean;
}

/**
 * Opens the two credentials of one step, lends them to `work` and wipes them.
 * @param version the version whose key is replaced or ended; null when nobody knows it any more
 * @throws RotatorError permanent when one of them cannot be used as it is stored
 */
export async function withHolders<T>(
  deps: HolderDeps,
  credential: Credential,
  rotation: Rotation,
  version: number | null,
  work: (holders: Holders) => Promise<T>,
): Promise<T> {
  const opened: Map<string, Secret>[] = [];
  const open = async (of: Credential, number: number): Promise<KeyHolder> => {
    const provider = providerOf(deps, of);
    const rule = provider.auth.find((each) => each.scheme === "oauth2");
    const fields = rule
      ? await tokenFields(deps.accessTokens, of, number, rule)
      : deps.vault.openFields(of.id, number, "rotation");
    opened.push(fields);
    return holder(deps, of, provider, fields);
  };
  try {
    const readable = isReadable(credential, version);
    const old = readable
      ? await open(credential, version ?? 0)
      : holder(deps, credential, providerOf(deps, credential), new Map());
    const acting = actingCredential(deps, credential, rotation);
    const admin = await open(acting, currentVersion(acting));
    return await work({ admin, old, readable });
  } finally {
    for (const fields of opened) for (const secret of fields.values()) secret.wipe();
  }
}

function holder(deps: HolderDeps, credential: Credential, provider: Provider, fields: Map<string, Secret>): KeyHolder {
  const hosts = new Set(credential.hosts.map((host) => (host.includes(":") ? host : `${host}:443`)));
  return { name: credential.name, provider, hosts, fields, call: deps.call, now: deps.now };
}

function isReadable(credential: Credential, version: number | null): boolean {
  const found = credential.versions.find(({ number }) => number === version);
  return found !== undefined && found.stage !== "revoked";
}

function actingCredential({ vault }: HolderDeps, credential: Credential, { automatic }: Rotation): Credential {
  const name = automatic?.admin ?? null;
  if (name === null) return vault.getCredential(credential.name);
  try {
    return vault.getCredential(name);
  } catch (error) {
    if (!(error instanceof VaultError) || error.code !== "not_found") throw error;
    throw new RotatorError(
      "permanent",
      `the admin credential "${name}" is gone; name another with \`sidekey credential rotation ${credential.name} --automatic --admin <credential>\``,
    );
  }
}

function currentVersion({ name, versions }: Credential): number {
  const current = versions.find(({ stage }) => stage === "current");
  if (current !== undefined) return current.number;
  throw new RotatorError("permanent", `credential "${name}" has no version in use; promote one`);
}

function providerOf(deps: HolderDeps, { name, provider }: Credential): Provider {
  const found = deps.provider(provider);
  if (found !== undefined) return found;
  throw new RotatorError("permanent", `credential "${name}": provider "${provider}" is not in the catalog`);
}

/** The access token that the stored fields are exchanged for. */
async function tokenFields(
  tokens: AccessTokens,
  credential: Credential,
  version: number,
  rule: OAuth2Auth,
): Promise<Map<string, Secret>> {
  try {
    return (await tokens.take(credential, version, rule)).open();
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    throw new RotatorError("retry", error.publicMessage);
  }
}
