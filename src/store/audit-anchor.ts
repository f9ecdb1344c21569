import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type AuditHead, entryIsGenuine } from "./audit.ts";
import { canonicalBytes, canonicalJson } from "./canonical.ts";
import { constantTimeEqual, mac } from "./crypto.ts";
import { type Database, fileError } from "./database.ts";
import type { Keyring } from "./keyring.ts";
import { discard } from "./leftovers.ts";

/*
 * audit.anchor: how far the chain had come, outside the database. Written after every commit, so a crash leaves
 * it behind the database, never ahead; a database behind its anchor lost entries or is an older copy.
 */

const FILE = "audit.anchor";

export interface Anchor {
  seq: number;
  hash: Buffer;
}

/**
 * Replaces the anchor atomically, unless another process has already anchored a later entry.
 * @param options.force replace a later one too: an operator vouches for an older copy
 * @throws DatabaseError full, read_only or io
 */
export function writeAnchor(
  directory: string,
  keys: Keyring,
  head: AuditHead,
  options: { force?: boolean } = {},
): void {
  const found = readAnchor(directory, keys);
  if (options.force !== true && typeof found !== "string" && found.seq > head.seq) return;
  const path = join(directory, FILE);
  const temporary = `${path}.${process.pid}.tmp`;
  const value = anchorMac(keys, head.seq, head.hash.toString("hex"));
  const text = canonicalJson({
    ...anchorFields(keys, head.seq, head.hash.toString("hex")),
    mac: value.toString("hex"),
  });
  try {
    const fd = openSync(temporary, "w", 0o600);
    try {
      // Not writeSync: on a disk that fills up it may write a part and say so only by its result.
      writeFileSync(fd, `${text}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    discard(temporary);
    throw fileError(error, path);
  }
}

/** The anchor, or why there is none to trust. */
export function readAnchor(directory: string, keys: Keyring): Anchor | "missing" | "foreign" {
  const text = readText(join(directory, FILE));
  if (text === null) return "missing";
  try {
    const { seq, hash, mac: found } = JSON.parse(text) as Record<string, unknown>;
    if (typeof seq === "number" && typeof hash === "string" && typeof found === "string") {
      const genuine = constantTimeEqual(Buffer.from(found, "hex"), anchorMac(keys, seq, hash));
      if (genuine) return { seq, hash: Buffer.from(hash, "hex") };
    }
  } catch {
    // Falls through: text that is not our JSON is as foreign as a wrong MAC.
  }
  return "foreign";
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw fileError(error, path);
  }
}

/**
 * Compares database and anchor. Null when they agree or the database is ahead; else what is wrong, from which entry on.
 * @param anchor read BEFORE the snapshot that `head` comes from, else another process's commit in between looks like a loss
 */
export function anchorProblem(
  db: Database,
  keys: Keyring,
  head: AuditHead,
  anchor: Anchor | "missing" | "foreign",
): { firstBadSeq: number; problem: string } | null {
  // A crash while the vault was made leaves its first entry without an anchor; nothing was stored yet.
  if (anchor === "missing" && head.seq === 1) return null;
  if (anchor === "missing") return { firstBadSeq: head.seq, problem: `${FILE} is missing` };
  if (anchor === "foreign") return { firstBadSeq: head.seq, problem: `${FILE} was edited or belongs to another vault` };
  if (anchor.seq > head.seq) {
    const problem = `entries ${head.seq + 1} to ${anchor.seq} are missing: they were deleted, or an older copy of vault.db was restored`;
    return { firstBadSeq: head.seq + 1, problem };
  }
  if (entryIsGenuine(db, keys, anchor.seq, anchor.hash)) return null;
  const problem = `entry ${anchor.seq} is not the one that ${FILE} recorded: vault.db was replaced by a copy that went another way`;
  return { firstBadSeq: anchor.seq, problem };
}

function anchorFields(keys: Keyring, seq: number, hash: string) {
  return { format: 1, hash, seq, vault: keys.vault };
}

function anchorMac(keys: Keyring, seq: number, hash: string): Buffer {
  return mac(keys.audit, canonicalBytes({ anchor: anchorFields(keys, seq, hash) }));
}
