import { Secret } from "../secret.ts";
import { KEY_BYTES, randomBytes } from "./crypto.ts";
import { UnlockError, VaultError } from "./errors.ts";
import { readWrappers } from "./keyring.ts";
import type { Vault } from "./vault.ts";
import { rewrapRootKey, type Unlocker, type Wrapper } from "./wrappers.ts";

export interface ReplaceRoot {
  /** Tried on every wrapper in turn; each wrapper that is kept must open with one of them. */
  readonly unlockers: readonly Unlocker[];
  /** Ids of wrappers that shall not open the vault any more. */
  readonly drop: readonly string[];
  readonly actor: string;
  /** Called with the new root key before it is put in place, so that a running daemon can follow. */
  readonly announce: (root: Secret) => Promise<void>;
}

/**
 * Makes a new root key, wraps it for every wrapper that is kept and puts it in place. The vault must be unsealed.
 * @returns the kinds of the wrappers that open it now
 * @throws VaultError refused, naming each wrapper that none of the unlockers opens; nothing is changed then
 */
export async function replaceRoot(vault: Vault, options: ReplaceRoot): Promise<string[]> {
  const all = vault.read(({ db }) => readWrappers(db));
  const unknown = options.drop.find((id) => !all.some((wrapper) => wrapper.id === id));
  if (unknown !== undefined) {
    throw new VaultError(
      "not_found",
      `there is no wrapper ${unknown.slice(0, 40)}; \`sidekey vault wrapper list\` shows them`,
    );
  }
  const root = Secret.adopt(randomBytes(KEY_BYTES));
  try {
    const kept = all.filter(({ id }) => !options.drop.includes(id));
    const wrapped = await Promise.all(kept.map((wrapper) => rewrap(root, wrapper, vault.id, options)));
    const wrappers = wrapped.flatMap(({ made }) => made ?? []);
    const unopened = kept.filter((_, at) => wrapped[at]?.made === undefined);
    if (unopened.length > 0) throw cannotRewrap(unopened, [...new Set(wrapped.flatMap(({ problems }) => problems))]);
    await options.announce(root);
    vault.rotateRoot(root, wrappers, options.actor);
    return wrappers.map(({ kind }) => kind);
  } finally {
    root.wipe();
  }
}

interface Rewrapped {
  readonly made?: Wrapper;
  /** Why what was tried did not open it. */
  readonly problems: readonly string[];
}

async function rewrap(root: Secret, wrapper: Wrapper, vault: string, options: ReplaceRoot): Promise<Rewrapped> {
  const problems: string[] = [];
  for (const unlocker of options.unlockers.filter(({ kind }) => kind === wrapper.kind)) {
    try {
      return { made: await rewrapRootKey(root, wrapper, unlocker, vault), problems };
    } catch (error) {
      if (!(error instanceof UnlockError)) throw error;
      problems.push(error.message);
    }
  }
  return { problems };
}

function cannotRewrap(unopened: readonly Wrapper[], problems: readonly string[]): VaultError {
  const list = unopened.map(({ id, kind }) => `${id} (${kind})`).join(", ");
  const next = "name what opens it under `unlock:` in daemon.yaml or with an option, or give it up with --drop <id>";
  const reasons = problems.length === 0 ? "" : ` (${problems.join("; ")})`;
  return new VaultError("refused", `wrapper ${list} could not be opened, so it would be lost${reasons}; ${next}`);
}
