import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Secret } from "../secret.ts";
import { type AuditEntry, type AuditNote, type ChainProblem, listEntries } from "./audit.ts";
import { type Anchor, type AnchorProblem, type Mark, parseAnchors } from "./audit-anchor.ts";
import { type Checkpoint, makeCheckpoint, readCheckpoint } from "./checkpoint.ts";
import * as clients from "./clients.ts";
import * as removal from "./credential-removal.ts";
import * as rotation from "./credential-rotation.ts";
import * as credentials from "./credentials.ts";
import { ready } from "./crypto.ts";
import { type Database, guard, openVaultDatabase } from "./database.ts";
import { VaultError } from "./errors.ts";
import * as keyring from "./keyring.ts";
import { Ledger, type VaultTransaction, type VaultView } from "./ledger.ts";
import { removeLeftovers } from "./leftovers.ts";
import { prepareWrapper, storeWrapper } from "./prepared-wrapper.ts";
import * as blobs from "./sealed-blobs.ts";
import type { PassphraseCost, Unlocker, Wrapper } from "./wrappers.ts";

export interface VaultOptions {
  /** ms since the epoch */
  now?: () => number;
  /** Argon2id cost of new passphrase wrappers; measured unless given */
  cost?: PassphraseCost;
  /** who audit entries of unsealing and opening name; "sidekey" unless given */
  actor?: string;
  /** opens vault.db; a test passes one with a small page limit */
  openDatabase?: (path: string, options?: { create?: boolean }) => Database;
}

/** A wrapper as `listWrappers` shows it. */
export type WrapperInfo = Pick<Wrapper, "id" | "kind"> & { createdAt: number };

type Fields = ReadonlyMap<string, Secret>;

export const VAULT_FILE = "vault.db";

/**
 * Opens the vault of `directory`, sealed.
 * @throws VaultError missing; DatabaseError
 */
export function openVault(directory: string, options: VaultOptions = {}): Vault {
  const path = join(directory, VAULT_FILE);
  if (!existsSync(path))
    throw new VaultError("missing", `${path} does not exist; run \`sidekey init\` to make a vault`);
  const now = options.now ?? Date.now;
  removeLeftovers(directory, now());
  const open = options.openDatabase ?? openVaultDatabase;
  return new Vault(new Ledger(open(path), directory, now), options);
}

/** The sealed store of one data directory. Several processes may have it open; each change is durable when it returns. */
export class Vault {
  /** random, fixed when the vault was made; everything sealed is bound to it */
  readonly id: string;
  readonly #ledger: Ledger;
  readonly #actor: string;
  readonly #wrapping: { cost: PassphraseCost | undefined; now: () => number };

  constructor(ledger: Ledger, options: VaultOptions) {
    this.#ledger = ledger;
    this.#actor = options.actor ?? "sidekey";
    this.#wrapping = { cost: options.cost, now: options.now ?? Date.now };
    this.id = guard(ledger.db.name, () => keyring.readHeader(ledger.db).vault);
  }

  get sealed(): boolean {
    return this.#ledger.sealed;
  }

  /**
   * Opens the root key with the first unlocker that fits, after checking that nothing was rolled back.
   * @param options.acceptRollback who vouches for a restored older copy; leaves a signed acknowledgement
   * @throws VaultSealedError with a problem per unlocker; VaultTamperedError
   */
  async unseal(
    unlockers: readonly Unlocker[],
    options: { acceptRollback?: string; reason?: string } = {},
  ): Promise<{ by: string }> {
    await ready();
    const { keys, by } = await keyring.openKeyring(this.#ledger.db, unlockers);
    this.#ledger.unseal(keys, { by, actor: this.#actor, ...options });
    return { by };
  }

  /**
   * Compares database and anchor without taking the vault into use.
   * @returns both ends, and what `unseal` would refuse it for; null when it would not
   * @throws VaultSealedError; VaultTamperedError when the database does not agree with itself
   */
  async examine(
    unlockers: readonly Unlocker[],
  ): Promise<{ mark: Mark; anchor: Anchor | "missing" | "foreign"; problem: AnchorProblem | null }> {
    await ready();
    const { keys } = await keyring.openKeyring(this.#ledger.db, unlockers);
    try {
      return this.#ledger.examine(keys);
    } finally {
      keyring.wipeKeyring(keys);
    }
  }

  /** Wipes the keys from memory. What was already opened stays with its caller. */
  seal(): void {
    this.#ledger.seal();
  }

  close(): void {
    this.#ledger.close();
  }

  /** Runs `work` on one consistent, verified snapshot; see Ledger.read. */
  read<T>(work: (view: VaultView) => T): T {
    return this.#ledger.read(work);
  }

  /** Changes rows with their audit entries, on disk when this returns. @throws VaultSealedError */
  write<T>(work: (transaction: VaultTransaction) => T): T {
    return this.#ledger.write(work);
  }

  /** Adds audit entries without changing rows. @throws VaultSealedError */
  record<T>(work: (transaction: VaultTransaction) => T): T {
    return this.#ledger.record(work);
  }

  /** Changes whenever credentials, tokens or anything else but the audit may have; cheap enough to poll. */
  dataVersion(): number {
    return this.#ledger.dataVersion();
  }

  /** Writes the log back into vault.db and empties it, so that no deleted row lies in it; nothing while others read. */
  compact(): void {
    this.#ledger.compact();
  }

  listWrappers(): WrapperInfo[] {
    const wrappers = this.#ledger.read(({ db }) => keyring.readWrappers(db));
    return wrappers.map(({ id, kind, created_at }) => ({ id, kind, createdAt: created_at }));
  }

  /** Adds a way to unseal. `unlockers` must open the vault: holding it unsealed does not give away the root key. */
  async addWrapper(added: Unlocker, unlockers: readonly Unlocker[], actor: string): Promise<{ id: string }> {
    const { cost, now } = this.#wrapping;
    const made = await prepareWrapper(this, unlockers, added, { cost, now: now() });
    return { id: storeWrapper(this, made, actor).id };
  }

  /** Opens the vault and forgets the keys again: a quorum of shares is proven, nothing is unsealed. @throws VaultSealedError */
  async proveOpening(unlocker: Unlocker): Promise<void> {
    await ready();
    keyring.wipeKeyring((await keyring.openKeyring(this.#ledger.db, [unlocker])).keys);
  }

  /** Removes a way to unseal. Older backups still open with it. @throws VaultError not_found, or refused for the last one */
  removeWrapper(id: string, actor: string): void {
    this.#ledger.write(({ db, note }) => {
      const kind = keyring.deleteWrapper(db, id);
      note({ actor, action: "wrapper.remove", object: `wrapper:${id}`, detail: { kind } });
    });
  }

  /**
   * Replaces the root key. `wrappers` wrap the new one (see `rewrapRootKey`). Credentials, tokens and the audit's past
   * stay as they are. The caller wipes `root`.
   * @throws VaultError, VaultSealedError, VaultTamperedError; nothing is changed then
   */
  rotateRoot(root: Secret, wrappers: readonly Wrapper[], actor: string): void {
    const detail = { wrappers: wrappers.map(({ kind }) => kind).join(" ") };
    this.#ledger.rotateRoot(root, wrappers, { actor, action: "vault.rotate-root", object: "vault", detail });
  }

  /** Announces the root key that another process is about to put in place. The caller wipes `root`. */
  expectRoot(root: Secret): void {
    this.#ledger.expectRoot(root);
  }

  /** Unseals with the root key itself, as `openRoot` of another process gave it. The caller wipes `root`. */
  async unsealWith(root: Secret, by: string): Promise<void> {
    await ready();
    this.#ledger.unseal(keyring.keyringFor(this.#ledger.db, root), { by, actor: this.#actor });
  }

  /** The root key, opened with the first unlocker that fits; the vault stays as it is. The caller wipes it. */
  async openRoot(unlockers: readonly Unlocker[]): Promise<{ root: Secret; by: string }> {
    await ready();
    return await keyring.openRootKey(keyring.readStanzas(this.#ledger.db), unlockers);
  }

  addCredential(added: credentials.NewCredential, fields: Fields, actor: string): credentials.Credential {
    return this.#ledger.write((transaction) => credentials.addCredential(transaction, added, fields, actor));
  }

  addVersion(name: string, fields: Fields, stage: "current" | "pending", actor: string): credentials.Credential {
    return this.#ledger.write((transaction) => rotation.addVersionTo(transaction, name, { fields, stage, actor }));
  }

  /** Makes a pending version current, or a previous one current again (roll-back). */
  promote(name: string, version: number, actor: string): credentials.Credential {
    return this.#ledger.write((transaction) => rotation.promote(transaction, name, version, actor));
  }

  revokeVersion(name: string, version: number, actor: string): credentials.Credential {
    return this.#ledger.write((transaction) => rotation.revoke(transaction, name, version, actor));
  }

  setState(name: string, state: "enabled" | "disabled", actor: string): credentials.Credential {
    return this.#ledger.write((transaction) => credentials.setCredentialState(transaction, name, state, actor));
  }

  /** Deletes it with all its versions, whether it was taken out of use before or not. @throws VaultError not_found */
  removeCredential(name: string, actor: string): void {
    this.#ledger.write((transaction) => removal.shred(transaction, name, actor));
  }

  /** Credentials that were taken out of use and can be restored. */
  listRemoved(): credentials.RemovedCredential[] {
    return this.#ledger.read(credentials.listRemoved);
  }

  /** Works while sealed too; what it returns is then unchecked and only good for showing. */
  listCredentials(): credentials.Credential[] {
    return this.#ledger.read(credentials.listCredentials);
  }

  /** @throws VaultError not_found */
  getCredential(name: string): credentials.Credential {
    return this.#ledger.read((view) => credentials.getCredential(view, name));
  }

  /** Every credential of `provider` that belongs to the user, whatever its environment and state. */
  findOwned(provider: string, userId: string): credentials.Credential[] {
    return this.#ledger.read((view) => credentials.findOwned(view, provider, userId));
  }

  /**
   * Opens the secret fields of one version. The audit entry `secret.open` is on disk before this returns; when it
   * cannot be written nothing is handed out. The caller wipes every Secret.
   * @throws VaultSealedError, VaultError (not_found, refused), VaultTamperedError, DatabaseError
   */
  openFields(credentialId: string, version: number, purpose: string): Map<string, Secret> {
    let opened: Map<string, Secret> | null = null;
    try {
      return this.#ledger.record((transaction) => {
        opened = credentials.openCredential(transaction, credentialId, version, { purpose, actor: this.#actor });
        return opened;
      });
    } catch (error) {
      wipeAll(opened);
      throw error;
    }
  }

  /** Stores, or replaces, a secret of sidekey itself. */
  putSealed(name: string, plaintext: Secret, actor: string): void {
    this.#ledger.write((transaction) => blobs.putSealed(transaction, name, plaintext, actor));
  }

  /** Opens what `putSealed` stored, audited as `openFields` is; null when there is none. The caller wipes it. */
  openSealed(name: string, purpose: string): Secret | null {
    void this.#ledger.keys;
    if (!this.#ledger.read((view) => blobs.hasSealed(view, name))) return null;
    let opened: Secret | null = null;
    try {
      return this.#ledger.record((transaction) => {
        opened = blobs.openSealed(transaction, name, { purpose, actor: this.#actor });
        return opened;
      });
    } catch (error) {
      wipeAll(opened === null ? null : new Map([[name, opened]]));
      throw error;
    }
  }

  /** Makes a token for a client; `token` is shown once and never again. */
  addClientToken(
    client: string,
    options: { expiresAt?: number | null; label?: string },
    actor: string,
  ): { token: string; id: string } {
    return this.#ledger.write((transaction) => clients.addClientToken(transaction, client, options, actor));
  }

  listClientTokens(): clients.ClientToken[] {
    return this.#ledger.read(clients.listClientTokens);
  }

  /** Revokes one token (by id) or all tokens of a client; returns the ids. @throws VaultError not_found */
  revokeClientTokens(clientOrId: string, actor: string): string[] {
    return this.#ledger.write((transaction) => clients.revokeClientTokens(transaction, clientOrId, actor));
  }

  /** @throws VaultSealedError: unchecked token rows must not let anybody in */
  loadTokenTable(): clients.TokenTable {
    void this.#ledger.keys;
    return this.#ledger.read(clients.loadTokenTable);
  }

  /** Adds an audit entry for something that happened outside the vault (a policy reload, a start). */
  audit(entry: AuditNote): void {
    this.#ledger.record(({ note }) => note(entry));
  }

  /** Entries, oldest first. @param filter.since ms since the epoch @param filter.limit newest so many, 1000 unless given */
  listAudit(filter: { since?: number; limit?: number } = {}): AuditEntry[] {
    return this.#ledger.read(({ db }) => listEntries(db, filter));
  }

  /** How far the vault has come. @throws VaultSealedError; VaultTamperedError */
  mark(): Mark {
    return this.#ledger.mark();
  }

  /** The signed end of the audit chain, to be kept elsewhere. */
  checkpoint(): Checkpoint {
    return makeCheckpoint(this.#ledger.keys, this.#ledger.mark(), this.#wrapping.now());
  }

  /**
   * Compares the vault with what was kept elsewhere: checkpoints, or copies of `audit.anchor`, one or many.
   * @returns where they part, or how many records agree
   * @throws VaultError invalid when the record is none of this vault
   */
  compare(kind: "anchor" | "checkpoint", text: string): { ok: true; records: number } | ChainProblem {
    const { keys } = this.#ledger;
    const recorded = kind === "anchor" ? parseAnchors(text, keys) : [readCheckpoint(keys, text)];
    const problem = this.#ledger.compare(recorded, `the given ${kind}`);
    return problem === null ? { ok: true, records: recorded.length } : { ok: false, ...problem };
  }

  /** Checks every link, the anchor, every row, and that the rows are those of the last link. */
  verifyAudit(): { ok: true; entries: number; head: { seq: number; hash: string } } | ChainProblem {
    const result = this.#ledger.verify();
    if (!result.ok) return result;
    return {
      ok: true,
      entries: result.entries,
      head: { seq: result.head.seq, hash: result.head.hash.toString("hex") },
    };
  }
}

function wipeAll(secrets: ReadonlyMap<string, Secret> | null): void {
  for (const secret of secrets?.values() ?? []) secret.wipe();
}
