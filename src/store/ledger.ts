import type { Secret } from "../secret.ts";
import {
  type AuditHead,
  type AuditNote,
  appendEntry,
  type ChainResult,
  entryIsGenuine,
  readHead,
  verifyChain,
} from "./audit.ts";
import { anchorProblem, readAnchor, writeAnchor } from "./audit-anchor.ts";
import { constantTimeEqual } from "./crypto.ts";
import { type Database, guard } from "./database.ts";
import { RootRotatedError, VaultError, VaultSealedError, VaultTamperedError } from "./errors.ts";
import { headerFits, type Keyring, keyringFor, wipeKeyring } from "./keyring.ts";
import { countRetired } from "./retired-roots.ts";
import { applyRoot, planRoot, type RootPlan } from "./root-rotation.ts";
import { findBadRows, stateDigest } from "./rows.ts";
import type { Wrapper } from "./wrappers.ts";

/** How often a root rotation is prepared again because somebody else has changed the vault meanwhile. */
const ROOT_ATTEMPTS = 5;

/** What one operation of the vault works with. */
export interface VaultTransaction {
  readonly db: Database;
  readonly keys: Keyring;
  /** ms since the epoch, the same for everything in this transaction */
  readonly now: number;
  /** Adds an audit entry; it is committed together with the rows or not at all. */
  note(entry: AuditNote): void;
}

/** Reading works while sealed too; `keys` is then null and nothing that is read may be relied on. */
export interface VaultView {
  readonly db: Database;
  readonly keys: Keyring | null;
}

interface Verified {
  dataVersion: number;
  head: AuditHead;
}

/**
 * The only way to vault.db. Each change and its audit entries are one transaction; each transaction first makes
 * sure that the rows still fit the end of the chain. Several processes may do this on one file.
 */
export class Ledger {
  readonly db: Database;
  readonly #directory: string;
  readonly #now: () => number;
  #keys: Keyring | null = null;
  /** A root key that another process may be about to put in place of ours. */
  #nextRoot: Secret | null = null;
  /** What was last verified: nothing is checked again until another connection commits. */
  #verified: Verified | null = null;
  #unanchored: AuditHead | null = null;
  #seenDataVersion: number;
  #changes = 0;

  constructor(db: Database, directory: string, now: () => number) {
    this.db = db;
    this.#directory = directory;
    this.#now = now;
    this.#seenDataVersion = guard(db.name, () => this.#pragmaDataVersion());
  }

  get sealed(): boolean {
    return this.#keys === null;
  }

  /** @throws VaultSealedError */
  get keys(): Keyring {
    if (this.#keys === null) throw new VaultSealedError("the vault is sealed; unseal it first");
    return this.#keys;
  }

  /**
   * Takes the keys into use once rows, chain end and anchor agree; wipes them when they do not.
   * @param options.acceptRollback who vouches for an older copy: the anchor is then replaced instead of compared
   * @param options.newAnchor the vault was made a moment ago, so no anchor can be its own
   * @throws VaultTamperedError
   */
  unseal(keys: Keyring, options: { by: string; actor: string; acceptRollback?: string; newAnchor?: boolean }): void {
    const { by, actor, acceptRollback, newAnchor = false } = options;
    this.seal();
    this.#keys = keys;
    try {
      const rollback = this.#compareAnchor(keys, newAnchor || acceptRollback !== undefined);
      this.record(({ note }) => {
        if (rollback !== null && acceptRollback !== undefined) {
          note({
            actor: acceptRollback,
            action: "vault.accept-rollback",
            object: "vault",
            detail: { problem: rollback },
          });
        }
        note({ actor, action: "vault.unseal", object: "vault", detail: { by } });
      });
    } catch (error) {
      this.seal();
      throw error;
    }
  }

  /** Writes the first entry of a new vault. Its anchor is written once the vault is in place. */
  begin(keys: Keyring, work: (transaction: VaultTransaction) => void): void {
    this.#transact(keys, work, { rowsChange: true });
  }

  /** @returns what is wrong if `accept`, after making the database's end the anchor; null when nothing is */
  #compareAnchor(keys: Keyring, accept: boolean): string | null {
    const anchor = readAnchor(this.#directory, keys);
    const { head, problem } = this.#snapshot(() => {
      const { head: end } = this.#verify();
      return { head: end, problem: anchorProblem(this.db, keys, end, anchor)?.problem ?? null };
    });
    if (problem === null) return null;
    if (!accept) throw new VaultTamperedError("audit", problem);
    writeAnchor(this.#directory, keys, head, { force: true });
    return problem;
  }

  /** Wipes every key from memory. */
  seal(): void {
    if (this.#keys !== null) wipeKeyring(this.#keys);
    this.#nextRoot?.wipe();
    this.#nextRoot = null;
    this.#keys = null;
    this.#verified = null;
  }

  close(): void {
    this.seal();
    this.db.close();
  }

  /** Runs `work` on one consistent snapshot. */
  read<T>(work: (view: VaultView) => T): T {
    return this.#snapshot(() => {
      if (this.#keys !== null) this.#verify();
      return work({ db: this.db, keys: this.#keys });
    });
  }

  /** Changes rows and adds audit entries, in one transaction that is on disk when this returns. */
  write<T>(work: (transaction: VaultTransaction) => T): T {
    const result = this.#commit(work, true);
    this.#changes += 1;
    return result;
  }

  /** Adds audit entries without changing rows; as durable as `write`. */
  record<T>(work: (transaction: VaultTransaction) => T): T {
    return this.#commit(work, false);
  }

  /** Overwrites what the write-ahead log still holds of deleted rows, as far as no reader needs it. */
  emptyLog(): void {
    guard(this.db.name, () => this.db.pragma("wal_checkpoint(TRUNCATE)"));
  }

  /** Grows whenever the rows may have changed, here or in another process. Cheap enough to poll. */
  dataVersion(): number {
    const found = guard(this.db.name, () => this.#pragmaDataVersion());
    if (found !== this.#seenDataVersion) this.#changes += 1;
    this.#seenDataVersion = found;
    return this.#changes;
  }

  /** Checks everything: all links, the anchor, every row, and that the rows fit the last link. */
  verify(): ChainResult {
    this.#snapshot(() => this.#followRoot());
    const keys = this.keys;
    const anchor = readAnchor(this.#directory, keys);
    return this.#snapshot(() => {
      const chain = verifyChain(this.db, keys);
      if (!chain.ok) return chain;
      const behind = anchorProblem(this.db, keys, chain.head, anchor);
      if (behind !== null) return { ok: false, ...behind };
      const rows = findBadRows(this.db, keys)[0] ?? this.#stateProblem(keys, chain.head);
      return rows === null ? chain : { ok: false, firstBadSeq: chain.head.seq, problem: rows };
    });
  }

  /**
   * Takes over `root` once another process has put it in place of the present root key, without a moment in which
   * nothing could be opened. The caller wipes `root`.
   */
  expectRoot(root: Secret): void {
    void this.keys;
    this.#nextRoot?.wipe();
    this.#nextRoot = root.copy();
  }

  /**
   * Replaces the root key by `root`, wrapped as `wrappers` say: whole or not at all. The caller wipes `root`.
   * @throws VaultError conflict when others keep changing the vault; VaultSealedError; VaultTamperedError
   */
  rotateRoot(root: Secret, wrappers: readonly Wrapper[], note: AuditNote): void {
    for (let attempt = 0; attempt < ROOT_ATTEMPTS; attempt++) {
      const plan = this.read((view) => planRoot(view, root, wrappers));
      if (this.#tryRoot(plan, note)) return;
      wipeKeyring(plan.keys);
    }
    throw new VaultError("conflict", "the vault was changed meanwhile; nothing was done, run it again");
  }

  #tryRoot(plan: RootPlan, note: AuditNote): boolean {
    const now = this.#now();
    const run = this.db.transaction(() => {
      const { keys, head } = this.#verify();
      const transaction = { db: this.db, keys, now, note: () => undefined };
      const next = applyRoot(transaction, plan, head.seq);
      if (next === null) return null;
      const end = { previous: head, state: stateDigest(this.db, next), at: now };
      const renewed = this.#appendAll(next, [note], end);
      return { next, verified: { dataVersion: this.#pragmaDataVersion(), head: renewed } };
    });
    const done = guard(this.db.name, () => run.immediate());
    if (done === null) return false;
    if (this.#keys !== null) wipeKeyring(this.#keys);
    this.#keys = done.next;
    this.#changes += 1;
    this.#verified = done.verified;
    this.#unanchored = done.verified.head;
    this.#anchorQuietly(done.next, done.verified.head);
    return true;
  }

  #commit<T>(work: (transaction: VaultTransaction) => T, rowsChange: boolean): T {
    const keys = this.keys;
    // An anchor that could not be written must not fall behind further: no anchor, no next change.
    if (this.#unanchored !== null) this.#anchor(keys, this.#unanchored);
    const { result, verified } = this.#transact(null, work, { rowsChange });
    this.#verified = verified;
    this.#unanchored = verified.head;
    this.#anchorQuietly(this.keys, verified.head);
    return result;
  }

  /** @param begin the keys of a vault that has no entry yet; null for every other */
  #transact<T>(
    begin: Keyring | null,
    work: (transaction: VaultTransaction) => T,
    mode: { rowsChange: boolean },
  ): { result: T; verified: Verified } {
    const now = this.#now();
    const run = this.db.transaction(() => {
      const start = begin === null ? this.#verify() : { keys: begin, head: null };
      const { keys } = start;
      const notes: AuditNote[] = [];
      const changes = this.#totalChanges();
      const result = work({ db: this.db, keys, now, note: (entry) => void notes.push(entry) });
      // Somebody else was faster and nothing is left to do.
      if (notes.length === 0 && start.head !== null && changes === this.#totalChanges()) {
        return { result, verified: { dataVersion: this.#pragmaDataVersion(), head: start.head } };
      }
      const state = mode.rowsChange || start.head === null ? stateDigest(this.db, keys) : start.head.state;
      const head = this.#appendAll(keys, notes, { previous: start.head, state, at: now });
      // Read inside the transaction: afterwards another process's commit could pass for verified.
      return { result, verified: { dataVersion: this.#pragmaDataVersion(), head } };
    });
    return guard(this.db.name, () => run.immediate());
  }

  #appendAll(
    keys: Keyring,
    notes: AuditNote[],
    end: { previous: AuditHead | null; state: Buffer; at: number },
  ): AuditHead {
    let head = end.previous;
    for (const note of notes) head = appendEntry(this.db, keys, note, { ...end, previous: head });
    if (head === null || notes.length === 0) throw new Error("internal: a vault transaction without an audit entry");
    return head;
  }

  #anchor(keys: Keyring, head: AuditHead): void {
    writeAnchor(this.#directory, keys, head);
    this.#unanchored = null;
  }

  /** The change is committed, so failing now would report a lie; the next change insists on the anchor. */
  #anchorQuietly(keys: Keyring, head: AuditHead): void {
    try {
      this.#anchor(keys, head);
    } catch {
      // Kept in #unanchored.
    }
  }

  /** The keys and the end of the chain, after checking it and the rows if another connection has committed since the last time. */
  #verify(): { keys: Keyring; head: AuditHead } {
    const dataVersion = this.#pragmaDataVersion();
    const last = this.#verified;
    if (last !== null && last.dataVersion === dataVersion) return { keys: this.keys, head: last.head };
    this.#followRoot();
    const { keys } = this;
    const head = readHead(this.db);
    if (head === null) throw new VaultTamperedError("audit", "every entry is missing");
    if (!entryIsGenuine(this.db, keys, head.seq)) {
      throw new VaultTamperedError("audit", `entry ${head.seq} was edited or planted`);
    }
    if (last !== null && !entryIsGenuine(this.db, keys, last.head.seq, last.head.hash)) {
      throw new VaultTamperedError("audit", `entry ${last.head.seq}, seen earlier by this process, is gone`);
    }
    const problem = this.#stateProblem(keys, head);
    if (problem !== null) throw new VaultTamperedError("vault.db", problem);
    this.#verified = { dataVersion, head };
    return { keys, head };
  }

  /**
   * When another process has rotated the root key: goes on with the new one if it was announced.
   * @throws RootRotatedError if it was not
   */
  #followRoot(): void {
    const { keys } = this;
    if (countRetired(this.db) <= keys.retired.length || headerFits(this.db, keys)) return;
    if (this.#nextRoot === null) throw new RootRotatedError();
    const next = keyringFor(this.db, this.#nextRoot);
    wipeKeyring(keys);
    this.#keys = next;
    this.#nextRoot.wipe();
    this.#nextRoot = null;
  }

  #stateProblem(keys: Keyring, head: AuditHead): string | null {
    if (constantTimeEqual(stateDigest(this.db, keys), head.state)) return null;
    return "rows were deleted, added or put back to an older content since the last audit entry";
  }

  #snapshot<T>(work: () => T): T {
    return guard(this.db.name, () => this.db.transaction(work).deferred());
  }

  #totalChanges(): number {
    return this.db.prepare("SELECT total_changes()").pluck().get() as number;
  }

  #pragmaDataVersion(): number {
    return this.db.pragma("data_version", { simple: true }) as number;
  }
}
