import { canonicalBytes, canonicalJson } from "./canonical.ts";
import { constantTimeEqual, MAC_BYTES, mac } from "./crypto.ts";
import type { Database } from "./database.ts";
import type { TamperKind } from "./errors.ts";
import { auditKeyFor, type Keyring } from "./keyring.ts";

/** What happened. `actor`: who did it; `action`: `noun.verb`; `object`: `noun:name`. Never holds a secret. */
export interface AuditNote {
  actor: string;
  action: string;
  object: string;
  detail: Readonly<Record<string, string | number | boolean>>;
}

export interface AuditEntry extends AuditNote {
  seq: number;
  /** ms since the epoch */
  at: number;
  /** hex */
  hash: string;
}

interface AuditRow {
  seq: number;
  at: number;
  actor: string;
  action: string;
  object: string;
  detail: string;
  /** `stateDigest` of the vault after the transaction that wrote this entry */
  state: Buffer;
  prev: Buffer;
  hash: Buffer;
}

/** The end of the chain. */
export interface AuditHead {
  seq: number;
  hash: Buffer;
  state: Buffer;
}

export type ChainResult = { ok: true; entries: number; head: AuditHead } | ChainProblem;
export interface ChainProblem {
  ok: false;
  firstBadSeq: number;
  problem: string;
  kind: TamperKind;
}

const GENESIS = Buffer.alloc(MAC_BYTES);

/** Appends one link. Call it inside the transaction that makes the change, after the change. */
export function appendEntry(
  db: Database,
  keys: Keyring,
  note: AuditNote,
  end: { previous: AuditHead | null; state: Buffer; at: number },
): AuditHead {
  const { actor, action, object } = note;
  const [seq, prev] = end.previous === null ? [1, GENESIS] : [end.previous.seq + 1, end.previous.hash];
  const row = { seq, at: end.at, actor, action, object, detail: canonicalJson(note.detail), state: end.state, prev };
  const hash = entryHash(keys, row);
  db.prepare(
    `INSERT INTO audit (seq, at, actor, action, object, detail, state, prev, hash)
     VALUES (@seq, @at, @actor, @action, @object, @detail, @state, @prev, @hash)`,
  ).run({ ...row, hash });
  return { seq, hash, state: end.state };
}

/** Appends one link for each note. @throws Error when there is none: every change says what it was */
export function appendEntries(
  db: Database,
  keys: Keyring,
  notes: readonly AuditNote[],
  end: { previous: AuditHead | null; state: Buffer; at: number },
): AuditHead {
  let head = end.previous;
  for (const note of notes) head = appendEntry(db, keys, note, { ...end, previous: head });
  if (head === null || notes.length === 0) throw new Error("internal: a vault transaction without an audit entry");
  return head;
}

function entryHash(keys: Keyring, row: Omit<AuditRow, "hash">): Buffer {
  const { seq, at, actor, action, object, detail } = row;
  const [state, prev] = [row.state.toString("hex"), row.prev.toString("hex")];
  return mac(
    auditKeyFor(keys, seq),
    canonicalBytes({ action, actor, at, detail, format: 1, object, prev, seq, state, vault: keys.vault }),
  );
}

/** The last entry, its own hash not yet checked; null when there is none. */
export function readHead(db: Database): AuditHead | null {
  return (db.prepare("SELECT seq, hash, state FROM audit ORDER BY seq DESC LIMIT 1").get() as AuditHead) ?? null;
}

/** Whether entry `seq` is there with a hash that this vault's key made, and (if given) exactly `hash`. */
export function entryIsGenuine(db: Database, keys: Keyring, seq: number, hash?: Uint8Array): boolean {
  const row = db.prepare("SELECT * FROM audit WHERE seq = ?").get(seq) as AuditRow | undefined;
  if (row === undefined || !rowIsGenuine(keys, row)) return false;
  return hash === undefined || constantTimeEqual(row.hash, hash);
}

function rowIsGenuine(keys: Keyring, row: AuditRow): boolean {
  try {
    return constantTimeEqual(row.hash, entryHash(keys, row));
  } catch {
    // A number without a canonical form: not ours.
    return false;
  }
}

/** Walks the whole chain: hashes, links, and sequence numbers without gaps. */
export function verifyChain(db: Database, keys: Keyring): ChainResult {
  let head: AuditHead | null = null;
  for (const item of db.prepare("SELECT * FROM audit ORDER BY seq").iterate()) {
    const row = item as AuditRow;
    const expected: number = head === null ? 1 : head.seq + 1;
    const prev: Buffer = head === null ? GENESIS : head.hash;
    if (row.seq !== expected) return bad(expected, `entry ${expected} is missing`);
    if (!rowIsGenuine(keys, row)) return bad(row.seq, `entry ${row.seq} was edited or planted`);
    if (!constantTimeEqual(row.prev, prev))
      return bad(row.seq, `entry ${row.seq} does not follow entry ${row.seq - 1}`);
    head = { seq: row.seq, hash: row.hash, state: row.state };
  }
  if (head === null) return bad(1, "every entry is missing");
  return { ok: true, entries: head.seq, head };
}

function bad(firstBadSeq: number, problem: string): ChainProblem {
  return { ok: false, firstBadSeq, problem, kind: "edited" };
}

/**
 * Entries, oldest first: the newest `limit` of those not older than `since`. Not verified (see verifyChain).
 * @param since ms since the epoch
 */
export function listEntries(db: Database, filter: { since?: number; limit?: number } = {}): AuditEntry[] {
  const rows = db
    .prepare("SELECT * FROM audit WHERE at >= ? ORDER BY seq DESC LIMIT ?")
    .all(filter.since ?? 0, filter.limit ?? 1000) as AuditRow[];
  return rows.reverse().map(entryOf);
}

/** All entries of one action, oldest first. Not verified. */
export function entriesOf(db: Database, action: string): AuditEntry[] {
  return (db.prepare("SELECT * FROM audit WHERE action = ? ORDER BY seq").all(action) as AuditRow[]).map(entryOf);
}

function entryOf(row: AuditRow): AuditEntry {
  const { seq, at, actor, action, object } = row;
  return { seq, at, actor, action, object, detail: parseDetail(row.detail), hash: row.hash.toString("hex") };
}

function parseDetail(text: string): AuditNote["detail"] {
  try {
    return JSON.parse(text) as AuditNote["detail"];
  } catch {
    return { unreadable: true };
  }
}
