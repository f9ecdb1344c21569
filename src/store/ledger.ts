import type { Secret } from "../secret.ts";
import {
  type Acknowledged,
  acknowledgementNote,
  acknowledgementProblem,
  storeAcknowledgement,
} from "./acknowledgement.ts";
import { AnchorDebt } from "./anchor-debt.ts";
import { type AuditHead, type AuditNote, appendEntries, type ChainResult } from "./audit.ts";
import { type Anchor, type AnchorProblem, anchorProblem, type Mark, readAnchor, writeAnchor } from "./audit-anchor.ts";
import { type Database, guard } from "./database.ts";
import { RootRotatedError, VaultError, VaultSealedError } from "./errors.ts";
import { headerFits, type Keyring, keyringFor, wipeKeyring } from "./keyring.ts";
import { markOf, renewState, tampered, type UnsealOptions, verifiedHead, verifyDatabase } from "./ledger-check.ts";
import { countRetired } from "./retired-roots.ts";
import { applyRoot, planRoot, type RootPlan } from "./root-rotation.ts";
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
  mark: Mark;
  /** How many root keys there were before the present one. */
  roots: number;
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
  readonly #anchor: AnchorDebt;
  #seenDataVersion: number;
  #changes = 0;

  constructor(db: Database, directory: string, now: () => number) {
    this.db = db;
    this.#directory = directory;
    this.#now = now;
    this.#anchor = new AnchorDebt(directory);
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
   * Takes the keys into use once rows, chain end and anchor agree; wipes them when they do not. An accepted older
   * copy is checked as a whole first, and leaves a signed entry and a file of what was accepted.
   * @throws VaultTamperedError
   */
  unseal(keys: Keyring, options: UnsealOptions): void {
    const { by, actor, acceptRollback, reason = "", newAnchor = false } = options;
    this.seal();
    this.#keys = keys;
    try {
      const found = this.examine(keys);
      // A second entry without an anchor would look like a lost one, so the first is anchored before.
      if (found.anchor === "missing") this.#anchor.owe(found.mark);
      if (found.problem !== null && !newAnchor && acceptRollback === undefined) throw tampered("audit", found.problem);
      const accepted = newAnchor || acceptRollback === undefined || found.problem === null ? null : found;
      if (accepted !== null) this.#assertWhole();
      let signed: Acknowledged | null = null;
      this.record(({ note, now }) => {
        if (accepted?.problem && acceptRollback !== undefined) {
          signed = acknowledgementNote(keys, { ...accepted, actor: acceptRollback, at: now, reason });
          note(signed.note);
        }
        note({ actor, action: "vault.unseal", object: "vault", detail: { by } });
      });
      if (this.#verified !== null && (newAnchor || accepted !== null)) {
        writeAnchor(this.#directory, keys, this.#verified.mark, { force: true });
      }
      if (signed !== null) storeAcknowledgement(this.#directory, signed);
    } catch (error) {
      this.seal();
      throw error;
    }
  }

  /**
   * How far the database has come, and where it parts from the anchor.
   * @throws VaultTamperedError when the database does not even agree with itself
   */
  examine(keys: Keyring): { mark: Mark; anchor: ReturnType<typeof readAnchor>; problem: AnchorProblem | null } {
    const anchor = readAnchor(this.#directory, keys);
    return this.#snapshot(() => {
      const mark = markOf(this.db, verifiedHead(this.db, keys, this.#verified?.head ?? null));
      return { mark, anchor, problem: anchorProblem(this.db, keys, mark, anchor) };
    });
  }

  /** An operator may accept another copy, never one that is broken in itself. */
  #assertWhole(): void {
    const result = this.#snapshot(() => verifyDatabase(this.db, this.keys));
    if (!result.ok) throw tampered("audit", result);
  }

  /** Writes the first entry of a new vault. Its anchor is written once the vault is in place. */
  begin(keys: Keyring, work: (transaction: VaultTransaction) => void): void {
    this.#transact(keys, work, { rowsChange: true });
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

  /** Grows whenever the rows may have changed, here or in another process. Cheap enough to poll. */
  dataVersion(): number {
    const found = guard(this.db.name, () => this.#pragmaDataVersion());
    if (found !== this.#seenDataVersion) this.#changes += 1;
    this.#seenDataVersion = found;
    return this.#changes;
  }

  /** Empties the write-ahead log into the database, unless somebody reads or writes just now: nobody is waited for. */
  compact(): void {
    const waitMs = this.db.pragma("busy_timeout", { simple: true }) as number;
    guard(this.db.name, () => {
      this.db.pragma("busy_timeout = 0");
      try {
        this.db.pragma("wal_checkpoint(TRUNCATE)");
      } finally {
        this.db.pragma(`busy_timeout = ${waitMs}`);
      }
    });
  }

  /** Checks everything: all links, the anchor, every row, and that the rows fit the last link. */
  verify(): ChainResult {
    this.#snapshot(() => this.#followRoot());
    const keys = this.keys;
    const anchor = readAnchor(this.#directory, keys);
    return this.#snapshot(() => {
      const result = verifyDatabase(this.db, keys);
      if (!result.ok) return result;
      const behind = anchorProblem(this.db, keys, markOf(this.db, result.head), anchor);
      if (behind !== null) return { ok: false, ...behind };
      return acknowledgementProblem(this.db, keys, this.#directory) ?? result;
    });
  }

  /** How far the vault has come, verified. */
  mark(): Mark {
    return this.#snapshot(() => this.#verify().mark);
  }

  /** Where the chain parts from what was recorded elsewhere; null when it holds all of it. @param name what the record is called */
  compare(recorded: readonly Anchor[], name: string): AnchorProblem | null {
    return this.#snapshot(() => {
      const { keys, mark } = this.#verify();
      const problems = recorded.map((anchor) => anchorProblem(this.db, keys, mark, anchor, name));
      return problems.find((problem) => problem !== null) ?? null;
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
      const next = applyRoot({ db: this.db, keys, now, note: () => undefined }, plan, head.seq);
      if (next === null) return null;
      const end = { previous: head, state: renewState(this.db, next), at: now };
      return { next, verified: this.#verifiedAt(appendEntries(this.db, next, [note], end)) };
    });
    const done = guard(this.db.name, () => run.immediate());
    if (done === null) return false;
    if (this.#keys !== null) wipeKeyring(this.#keys);
    this.#keys = done.next;
    this.#changes += 1;
    this.#committed(done.verified);
    return true;
  }

  #commit<T>(work: (transaction: VaultTransaction) => T, rowsChange: boolean): T {
    this.#anchor.pay(this.keys);
    const { result, verified } = this.#transact(null, work, { rowsChange });
    this.#committed(verified);
    return result;
  }

  #committed(verified: Verified): void {
    this.#verified = verified;
    this.#anchor.owe(verified.mark);
    this.#anchor.tryToPay(this.keys);
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
        return { result, verified: this.#verifiedAt(start.head) };
      }
      const state = mode.rowsChange || start.head === null ? renewState(this.db, keys) : start.head.state;
      const head = appendEntries(this.db, keys, notes, { previous: start.head, state, at: now });
      return { result, verified: this.#verifiedAt(head) };
    });
    return guard(this.db.name, () => run.immediate());
  }

  /** Call it inside the transaction: afterwards another process's commit could pass for verified. */
  #verifiedAt(head: AuditHead): Verified {
    const roots = countRetired(this.db);
    return { dataVersion: this.#pragmaDataVersion(), head, mark: markOf(this.db, head), roots };
  }

  /** The keys and how far the database is, after checking it if another connection has committed since the last time. */
  #verify(): Verified & { keys: Keyring } {
    const last = this.#verified;
    if (last !== null && last.dataVersion === this.#pragmaDataVersion()) return { ...last, keys: this.keys };
    this.#followRoot();
    const { keys } = this;
    this.#verified = this.#verifiedAt(verifiedHead(this.db, keys, last?.head ?? null));
    return { ...this.#verified, keys };
  }

  /**
   * When another process has rotated the root key: goes on with the new one if it was announced.
   * @throws RootRotatedError if it was not
   */
  #followRoot(): void {
    const { keys } = this;
    const known = this.#verified?.roots ?? keys.retired.length;
    if (countRetired(this.db) <= known || headerFits(this.db, keys)) return;
    if (this.#nextRoot === null) throw new RootRotatedError();
    const next = keyringFor(this.db, this.#nextRoot);
    wipeKeyring(keys);
    this.#keys = next;
    this.#nextRoot.wipe();
    this.#nextRoot = null;
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
