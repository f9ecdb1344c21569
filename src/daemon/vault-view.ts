import type { KnownObjects } from "../policy/compile.ts";
import { listCategories } from "../store/categories.ts";
import { TokenTable } from "../store/clients.ts";
import { type Credential, listCredentials } from "../store/credentials.ts";
import { isHoneytoken } from "../store/honeytoken.ts";
import { type KnownValues, loadKnownValues } from "../store/known-values.ts";
import { rampPercent } from "../store/rotation-step.ts";
import { isUnderWay, listRotations } from "../store/rotations.ts";
import type { Vault } from "../store/vault.ts";
import type { Rotating } from "./monitor/rotation.ts";
import type { CredentialTable } from "./pipeline/choose.ts";
import type { Ramp } from "./pipeline/ramp.ts";

const POLL_MS = 250;

/**
 * What the daemon knows of the vault without opening a secret: credentials and token hashes, in memory,
 * so no request reads the database. Another process's change (the CLI) is noticed within a second.
 */
export interface VaultView extends CredentialTable {
  readonly tokens: TokenTable;
  readonly known: KnownObjects;
  /** False while its category is sealed: nothing of it may be used then. */
  isOpen(category: string): boolean;
  /** Whether a category is sealed. */
  readonly anySealed: boolean;
  byId(id: string): Credential | undefined;
  list(): readonly Credential[];
  /** Which stored version has which value, told without opening any; null while the vault is sealed. */
  readonly values: KnownValues | null;
  /** Credentials that are being rotated. */
  readonly rotating: readonly Rotating[];
  /** Looks for changes now instead of at the next poll. */
  refresh(): void;
  close(): void;
}

interface Loaded {
  readonly byName: ReadonlyMap<string, Credential>;
  readonly byId: ReadonlyMap<string, Credential>;
  readonly owned: ReadonlyMap<string, Credential>;
  readonly tokens: TokenTable;
  readonly known: KnownObjects;
  readonly values: KnownValues | null;
  readonly closed: ReadonlySet<string>;
  readonly rotating: readonly Rotating[];
  readonly ramps: ReadonlyMap<string, Ramp>;
}

/**
 * While the vault is sealed nobody is known and nothing can be used; only names are still read, for the policy.
 * @param onChange called after credentials or clients have come or gone
 * @param onFailure called when the vault cannot be read; what was known stays in use
 * @param onLoad called after every reading, when all that the view tells is new
 */
export function watchVault(
  vault: Vault,
  onChange: () => void,
  onFailure: (error: unknown) => void,
  onLoad: () => void = () => {},
): VaultView {
  // Read first: a change between the two is loaded twice rather than never.
  let seen = vault.dataVersion();
  let loaded = load(vault);
  let sealed = vault.sealed;
  const refresh = (): void => {
    try {
      const version = vault.dataVersion();
      if (version === seen && sealed === vault.sealed) return;
      const before = signature(loaded);
      sealed = vault.sealed;
      loaded = load(vault);
      seen = version;
      onLoad();
      if (signature(loaded) !== before) onChange();
    } catch (error) {
      onFailure(error);
    }
  };
  const timer = setInterval(refresh, POLL_MS);
  timer.unref();
  return {
    get tokens() {
      return loaded.tokens;
    },
    get known() {
      return loaded.known;
    },
    isOpen: (category) => !loaded.closed.has(category),
    get anySealed() {
      return loaded.closed.size > 0;
    },
    get rotating() {
      return loaded.rotating;
    },
    get ramps() {
      return loaded.ramps;
    },
    get values() {
      return loaded.values;
    },
    list: () => [...loaded.byName.values()],
    byName: (name) => loaded.byName.get(name),
    byId: (id) => loaded.byId.get(id),
    ownedBy: (provider, userId) => loaded.owned.get(ownedKey(provider, userId)),
    refresh,
    close: () => clearInterval(timer),
  };
}

/** What the policy depends on; an audit entry alone is not a change to it. */
function signature({ known }: Loaded): string {
  return JSON.stringify([[...known.credentials], [...known.clients]]);
}

function load(vault: Vault): Loaded {
  const { credentials, categories, rotations, values } = vault.read((view) => {
    const stored = listCredentials(view);
    return {
      credentials: stored,
      categories: listCategories(view),
      rotations: listRotations(view),
      values: loadKnownValues(view, stored),
    };
  });
  // Rows that no key has vouched for are not to be used for anything but their names.
  const trusted = vault.sealed ? [] : credentials.map(asUsable);
  const rotating = trusted.flatMap((credential): Rotating[] => {
    const rotation = rotations.get(credential.id) ?? null;
    return isUnderWay(rotation) ? [{ credential, rotation }] : [];
  });
  const nowMs = Date.now();
  const live = vault
    .listClientTokens()
    .filter((token) => token.revokedAt === null && (token.expiresAt === null || token.expiresAt > nowMs));
  return {
    byName: new Map(trusted.map((credential) => [credential.name, credential])),
    byId: new Map(trusted.map((credential) => [credential.id, credential])),
    owned: new Map(
      trusted.flatMap((credential): [string, Credential][] =>
        credential.owner.kind === "user" ? [[ownedKey(credential.provider, credential.owner.id), credential]] : [],
      ),
    ),
    tokens: vault.sealed ? new TokenTable([]) : vault.loadTokenTable(),
    values,
    closed: new Set(categories.filter(({ state }) => state !== "enabled").map(({ name }) => name)),
    known: {
      credentials: new Map(credentials.map(({ name, provider, environment }) => [name, { provider, environment }])),
      clients: new Set(live.map((token) => token.client)),
    },
    rotating,
    ramps: new Map(rotating.flatMap(rampOf)),
  };
}

/** To everything that might use, check or rotate it a honeytoken is a disabled credential, so no answer tells them apart. */
function asUsable(credential: Credential): Credential {
  return isHoneytoken(credential) ? { ...credential, state: "disabled" } : credential;
}

/** Only while the new version waits to become current; a version that was revoked meanwhile is never chosen. */
function rampOf({ credential, rotation }: Rotating): [string, Ramp][] {
  const { phase, to } = rotation;
  if (phase !== "ramping" || to === null) return [];
  const waits = credential.versions.some(({ number, stage }) => number === to && stage === "pending");
  return waits ? [[credential.id, { to, percent: rampPercent(rotation) }]] : [];
}

function ownedKey(provider: string, userId: string): string {
  return `${provider}\n${userId}`;
}
