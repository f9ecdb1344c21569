import {
  type Acknowledged,
  acknowledgementNote,
  acknowledgementProblem,
  storeAcknowledgement,
} from "./acknowledgement.ts";
import {
  type AuditHead,
  type AuditNote,
  appendEntry,
  type ChainProblem,
  type ChainResult,
  entryIsGenuine,
  readHead,
  verifyChain,
} from "./audit.ts";
import { type Anchor, type AnchorProblem, anchorProblem, type Mark, readAnchor, writeAnchor } from "./audit-anchor.ts";
import { constantTimeEqual } from "./crypto.ts";
import { type Database, guard } from "./database.ts";
import { VaultSealedError, VaultTamperedError } from "./errors.ts";
import { assertHeader, type Keyring, readHeader, renewHeader, wipeKeyring } from "./keyring.ts";
import { findBadRows, rowMacs, rowsDigest, stateDigest } from "./rows.ts";

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
}

/** Who takes the keys into use, with which unlocker, and whether an older copy is accepted. */
export interface UnsealOptions {
  by: string;
  actor: string;
  /** who vouches for an older copy: the anchor is then replaced instead of compared */
  acceptRollback?: string;
  /** why, for the signed acknowledgement */
  reason?: string;
  /** the vault was made a moment ago, so no anchor can be its own */
  newAnchor?: boolean;
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
  #unanchored: Mark | null = null;
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
      const { mark } = this.#verify(keys);
      return { mark, anchor, problem: anchorProblem(this.db, keys, mark, anchor) };
    });
  }

  /** An operator may accept another copy, never one that is broken in itself. */
  #assertWhole(): void {
    const result = this.#snapshot(() => this.#verifyDatabase(this.keys));
    if (!result.ok) throw tampered("audit", result);
  }

  /** Writes the first entry of a new vault. Its anchor is written once the vault is in place. */
  begin(keys: Keyring, work: (transaction: VaultTransaction) => void): void {
    this.#transact(keys, work, { rowsChange: true, begin: true });
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

  /** Checks everything: all links, the anchor, every row, and that the rows fit the last link. */
  verify(): ChainResult {
    const keys = this.keys;
    const anchor = readAnchor(this.#directory, keys);
    return this.#snapshot(() => {
      const result = this.#verifyDatabase(keys);
      if (!result.ok) return result;
      const behind = anchorProblem(this.db, keys, this.#markOf(result.head), anchor);
      if (behind !== null) return { ok: false, ...behind };
      return acknowledgementProblem(this.db, keys, this.#directory) ?? result;
    });
  }

  /** How far the vault has come, verified. */
  mark(): Mark {
    return this.#snapshot(() => this.#verify(this.keys).mark);
  }

  /** Where the chain parts from what was recorded elsewhere; null when it holds all of it. @param name what the record is called */
  compare(recorded: readonly Anchor[], name: string): AnchorProblem | null {
    const keys = this.keys;
    return this.#snapshot(() => {
      const { mark } = this.#verify(keys);
      const problems = recorded.map((anchor) => anchorProblem(this.db, keys, mark, anchor, name));
      return problems.find((problem) => problem !== null) ?? null;
    });
  }

  #verifyDatabase(keys: Keyring): ChainResult {
    const chain = verifyChain(this.db, keys);
    if (!chain.ok) return chain;
    const row = findBadRows(this.db, keys)[0];
    const problem = row === undefined ? this.#stateProblem(keys, chain.head) : row;
    if (problem === null) return chain;
    return { ok: false, firstBadSeq: chain.head.seq, problem, kind: row === undefined ? "partial" : "edited" };
  }

  /** What the anchor is to say; call it in the snapshot that `head` comes from. */
  #markOf({ seq, hash }: AuditHead): Mark {
    const { epoch, digest } = readHeader(this.db);
    return { seq, hash, epoch, digest };
  }

  #commit<T>(work: (transaction: VaultTransaction) => T, rowsChange: boolean): T {
    const keys = this.keys;
    // An anchor that could not be written must not fall behind further: no anchor, no next change.
    if (this.#unanchored !== null) this.#anchor(keys, this.#unanchored);
    const { result, verified } = this.#transact(keys, work, { rowsChange, begin: false });
    this.#verified = verified;
    this.#unanchored = verified.mark;
    this.#anchorQuietly(keys, verified.mark);
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
      const state = mode.rowsChange || start === null ? this.#renewState(keys) : start.head.state;
      const head = this.#appendAll(keys, notes, { previous: start?.head ?? null, state, at: now });
      // Read inside the transaction: afterwards another process's commit could pass for verified.
      const dataVersion = this.#pragmaDataVersion();
      return { result, verified: { dataVersion, head, mark: this.#markOf(head) } };
    });
    return guard(this.db.name, () => run.immediate());
  }

  /** The header's next epoch, and the digest of all rows that the audit entry is to carry. */
  #renewState(keys: Keyring): Buffer {
    const rows = rowMacs(this.db);
    renewHeader(this.db, keys, rowsDigest(keys, rows));
    return stateDigest(this.db, keys, rows);
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

  #anchor(keys: Keyring, mark: Mark): void {
    writeAnchor(this.#directory, keys, mark);
    this.#unanchored = null;
  }

  /** The change is committed, so failing now would report a lie; the next change insists on the anchor. */
  #anchorQuietly(keys: Keyring, mark: Mark): void {
    try {
      this.#anchor(keys, mark);
    } catch {
      // Kept in #unanchored.
    }
  }

  /** How far the database is, after checking it if another connection has committed since the last time. */
  #verify(keys: Keyring): Verified {
    const dataVersion = this.#pragmaDataVersion();
    const last = this.#verified;
    if (last !== null && last.dataVersion === dataVersion) return last;
    const head = readHead(this.db);
    if (head === null) throw new VaultTamperedError("audit", "every entry is missing", { entry: 1 });
    const { seq } = head;
    if (!entryIsGenuine(this.db, keys, seq)) {
      throw new VaultTamperedError("audit", `entry ${seq} was edited or planted`, { entry: seq });
    }
    if (last !== null && !entryIsGenuine(this.db, keys, last.head.seq, last.head.hash)) {
      const problem = `entry ${last.head.seq}, seen earlier by this process, is gone`;
      throw new VaultTamperedError("audit", problem, { kind: "rollback", entry: last.head.seq });
    }
    assertHeader(this.db, keys);
    const problem = this.#stateProblem(keys, head);
    if (problem !== null) throw new VaultTamperedError("vault.db", problem, { kind: "partial", entry: seq });
    this.#verified = { dataVersion, head, mark: this.#markOf(head) };
    return this.#verified;
  }

  #stateProblem(keys: Keyring, head: AuditHead): string | null {
    const rows = rowMacs(this.db);
    const { digest } = readHeader(this.db);
    const fits = digest === null || constantTimeEqual(digest, rowsDigest(keys, rows));
    if (fits && constantTimeEqual(stateDigest(this.db, keys, rows), head.state)) return null;
    return `rows were deleted, added or put back to an older content since audit entry ${head.seq}, the last one`;
  }

  #snapshot<T>(work: () => T): T {
    return guard(this.db.name, () => this.db.transaction(work).deferred());
  }

  #pragmaDataVersion(): number {
    return this.db.pragma("data_version", { simple: true }) as number;
  }
}

function tampered(object: string, { problem, kind, firstBadSeq: entry }: Omit<ChainProblem, "ok">): VaultTamperedError {
  return new VaultTamperedError(object, problem, { kind, entry });
}
