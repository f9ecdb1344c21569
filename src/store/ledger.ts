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
import { VaultSealedError, VaultTamperedError } from "./errors.ts";
import { type Keyring, wipeKeyring } from "./keyring.ts";
import { findBadRows, stateDigest } from "./rows.ts";

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
    this.#transact(keys, work, { rowsChange: true, begin: true });
  }

  /** @returns what is wrong if `accept`, after making the database's end the anchor; null when nothing is */
  #compareAnchor(keys: Keyring, accept: boolean): string | null {
    const anchor = readAnchor(this.#directory, keys);
    const { head, problem } = this.#snapshot(() => {
      const end = this.#verify(keys);
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
      if (this.#keys !== null) this.#verify(this.#keys);
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

  #commit<T>(work: (transaction: VaultTransaction) => T, rowsChange: boolean): T {
    const keys = this.keys;
    // An anchor that could not be written must not fall behind further: no anchor, no next change.
    if (this.#unanchored !== null) this.#anchor(keys, this.#unanchored);
    const { result, verified } = this.#transact(keys, work, { rowsChange, begin: false });
    this.#verified = verified;
    this.#unanchored = verified.head;
    this.#anchorQuietly(keys, verified.head);
    return result;
  }

  #transact<T>(
    keys: Keyring,
    work: (transaction: VaultTransaction) => T,
    mode: { rowsChange: boolean; begin: boolean },
  ): { result: T; verified: Verified } {
    const now = this.#now();
    const run = this.db.transaction(() => {
      const start = mode.begin ? null : this.#verify(keys);
      const notes: AuditNote[] = [];
      const result = work({ db: this.db, keys, now, note: (entry) => void notes.push(entry) });
      const state = mode.rowsChange || start === null ? stateDigest(this.db, keys) : start.state;
      const head = this.#appendAll(keys, notes, { previous: start, state, at: now });
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

  /** The end of the chain, after checking it and the rows if another connection has committed since the last time. */
  #verify(keys: Keyring): AuditHead {
    const dataVersion = this.#pragmaDataVersion();
    const last = this.#verified;
    if (last !== null && last.dataVersion === dataVersion) return last.head;
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
    return head;
  }

  #stateProblem(keys: Keyring, head: AuditHead): string | null {
    if (constantTimeEqual(stateDigest(this.db, keys), head.state)) return null;
    return "rows were deleted, added or put back to an older content since the last audit entry";
  }

  #snapshot<T>(work: () => T): T {
    return guard(this.db.name, () => this.db.transaction(work).deferred());
  }

  #pragmaDataVersion(): number {
    return this.db.pragma("data_version", { simple: true }) as number;
  }
}
