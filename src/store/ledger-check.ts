import { type AuditHead, type ChainProblem, type ChainResult, entryIsGenuine, readHead, verifyChain } from "./audit.ts";
import type { Mark } from "./audit-anchor.ts";
import { constantTimeEqual } from "./crypto.ts";
import type { Database } from "./database.ts";
import { VaultTamperedError } from "./errors.ts";
import { assertHeader, type Keyring, readHeader, renewHeader } from "./keyring.ts";
import { findBadRows, rowMacs, rowsDigest, stateDigest } from "./rows.ts";

/* What the ledger checks and renews inside its transactions. */

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

/** All links, every row, and that the rows fit the last link; not the anchor. */
export function verifyDatabase(db: Database, keys: Keyring): ChainResult {
  const chain = verifyChain(db, keys);
  if (!chain.ok) return chain;
  const row = findBadRows(db, keys)[0];
  const problem = row === undefined ? stateProblem(db, keys, chain.head) : row;
  if (problem === null) return chain;
  return { ok: false, firstBadSeq: chain.head.seq, problem, kind: row === undefined ? "partial" : "edited" };
}

/** Why the rows are not those of the last link; null when they are. */
export function stateProblem(db: Database, keys: Keyring, head: AuditHead): string | null {
  const rows = rowMacs(db);
  const { digest } = readHeader(db);
  const fits = digest === null || constantTimeEqual(digest, rowsDigest(keys, rows));
  if (fits && constantTimeEqual(stateDigest(db, keys, rows), head.state)) return null;
  return `rows were deleted, added or put back to an older content since audit entry ${head.seq}, the last one`;
}

/** The header's next epoch, and the digest of all rows that the audit entry is to carry. */
export function renewState(db: Database, keys: Keyring): Buffer {
  const rows = rowMacs(db);
  renewHeader(db, keys, rowsDigest(keys, rows));
  return stateDigest(db, keys, rows);
}

/** What the anchor is to say; call it in the snapshot that `head` comes from. */
export function markOf(db: Database, { seq, hash }: AuditHead): Mark {
  const { epoch, digest } = readHeader(db);
  return { seq, hash, epoch, digest };
}

/**
 * The last entry of the chain, once it, the header and the rows are known to belong together.
 * @param seen the last entry that this process saw earlier: it must still be there
 * @throws VaultTamperedError
 */
export function verifiedHead(db: Database, keys: Keyring, seen: AuditHead | null): AuditHead {
  const head = readHead(db);
  if (head === null) throw new VaultTamperedError("audit", "every entry is missing", { entry: 1 });
  const { seq } = head;
  if (!entryIsGenuine(db, keys, seq)) {
    throw new VaultTamperedError("audit", `entry ${seq} was edited or planted`, { entry: seq });
  }
  if (seen !== null && !entryIsGenuine(db, keys, seen.seq, seen.hash)) {
    const problem = `entry ${seen.seq}, seen earlier by this process, is gone`;
    throw new VaultTamperedError("audit", problem, { kind: "rollback", entry: seen.seq });
  }
  assertHeader(db, keys);
  const problem = stateProblem(db, keys, head);
  if (problem !== null) throw new VaultTamperedError("vault.db", problem, { kind: "partial", entry: seq });
  return head;
}

/** A problem of the chain or the anchor as the error that refuses to open anything. */
export function tampered(
  object: string,
  { problem, kind, firstBadSeq: entry }: Omit<ChainProblem, "ok">,
): VaultTamperedError {
  return new VaultTamperedError(object, problem, { kind, entry });
}
