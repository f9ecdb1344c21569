import type { Secret } from "../secret.ts";
import { canonicalBytes } from "./canonical.ts";
import { constantTimeEqual, mac } from "./crypto.ts";
import { VaultError } from "./errors.ts";
import * as keyring from "./keyring.ts";
import type { Vault } from "./vault.ts";
import {
  type Unlocker,
  unwrapRootKey,
  type WrapOptions,
  type Wrapper,
  wrapForShares,
  wrapRootKey,
} from "./wrappers.ts";

/** A stanza that is not stored yet. Between its making and its storing the root key may be rotated by somebody else. */
export interface PreparedWrapper {
  readonly wrapper: Wrapper;
  /** Keyed with the root key that is inside. */
  readonly proof: Buffer;
}

export interface PreparedShares extends PreparedWrapper {
  /** In words, to be shown once. The caller wipes them. */
  readonly shares: readonly Secret[];
}

type Changed = Pick<Vault, "read" | "write">;

/**
 * A stanza for a further unlocker; one of `unlockers` has to open the vault, because holding it unsealed does not give
 * away the root key. @throws VaultSealedError, UnlockError
 */
export async function prepareWrapper(
  vault: Changed,
  unlockers: readonly Unlocker[],
  added: Unlocker,
  options: WrapOptions,
): Promise<PreparedWrapper> {
  return await withRootKey(vault, unlockers, async (root, id) => {
    const wrapper = await wrapRootKey(root, added, id, options);
    return { wrapper, proof: proofOf(root, wrapper) };
  });
}

/**
 * A stanza for the holders of new shares, as yet without effect; `replaceShares` stores it.
 * @throws VaultSealedError; UnlockError malformed when there can be no such set
 */
export async function prepareShares(
  vault: Changed,
  unlockers: readonly Unlocker[],
  set: { threshold: number; count: number },
  now: number,
): Promise<PreparedShares> {
  return await withRootKey(vault, unlockers, async (root, id) => {
    const { wrapper, shares } = wrapForShares(root, set, id, now);
    return { wrapper, shares, proof: proofOf(root, wrapper) };
  });
}

/**
 * Makes prepared shares a way to unseal and removes those of older sets, in one transaction.
 * @param typed at least as many shares as the threshold, typed back from what was written down; wiped here
 * @throws UnlockError that says which share is wrong, and why; then nothing changes
 */
export async function replaceShares(
  vault: Changed & Pick<Vault, "id">,
  made: PreparedWrapper,
  typed: readonly Secret[],
  actor: string,
): Promise<{ id: string; replaced: string[] }> {
  const root = await unwrapRootKey([made.wrapper], { kind: "shares", read: async () => typed }, vault.id);
  root.wipe();
  return storeWrapper(vault, made, actor, (wrapper) => wrapper.kind === made.wrapper.kind);
}

/**
 * @param outdated wrappers that go in the same transaction
 * @throws VaultError conflict when the root key was rotated since the stanza was made
 */
export function storeWrapper(
  vault: Changed,
  { wrapper, proof }: PreparedWrapper,
  actor: string,
  outdated: (wrapper: Wrapper) => boolean = () => false,
): { id: string; replaced: string[] } {
  return vault.write(({ db, keys, note }) => {
    keyring.assertHeader(db, keys);
    if (!constantTimeEqual(proof, wrapperProof(keys.header, wrapper))) {
      throw new VaultError("conflict", "the root key was rotated in the meantime; nothing was changed, do it again");
    }
    const replaced = keyring
      .readWrappers(db)
      .filter(outdated)
      .map(({ id }) => id);
    keyring.insertWrapper(db, wrapper);
    for (const id of replaced) keyring.deleteWrapper(db, id);
    const { id, kind } = wrapper;
    const detail = replaced.length === 0 ? { kind } : { kind, replaced: replaced.join(" ") };
    note({ actor, action: "wrapper.add", object: `wrapper:${id}`, detail });
    return { id, replaced };
  });
}

async function withRootKey<T>(
  vault: Changed,
  unlockers: readonly Unlocker[],
  work: (root: Secret, id: string) => Promise<T>,
): Promise<T> {
  const stanzas = vault.read(({ db }) => keyring.readStanzas(db));
  const { root } = await keyring.openRootKey(stanzas, unlockers);
  try {
    return await work(root, stanzas.vault);
  } finally {
    root.wipe();
  }
}

function proofOf(root: Secret, wrapper: Wrapper): Buffer {
  const key = keyring.headerKeyOf(root);
  const proof = wrapperProof(key, wrapper);
  key.wipe();
  return proof;
}

function wrapperProof(headerKey: Secret, { id, kind, params, wrapped }: Wrapper): Buffer {
  return mac(headerKey, canonicalBytes({ prepared: { id, kind, params, wrapped: wrapped.toString("base64") } }));
}
