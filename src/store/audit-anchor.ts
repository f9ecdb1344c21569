import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { entryIsGenuine } from "./audit.ts";
import { type CanonicalObject, type CanonicalValue, canonicalBytes, canonicalJson } from "./canonical.ts";
import { constantTimeEqual, mac } from "./crypto.ts";
import { type Database, fileError } from "./database.ts";
import { type TamperKind, VaultError } from "./errors.ts";
import { auditKeyFor, type Keyring } from "./keyring.ts";
import { discard } from "./leftovers.ts";

/*
 * audit.anchor: how far the chain had come, outside the database. Written after every commit, so a crash leaves
 * it behind the database, never ahead; a database behind its anchor lost entries or is an older copy.
 */

/** The anchor's name in the data directory. */
export const ANCHOR_FILE = "audit.anchor";

/** How far a vault has come: the end of its audit chain, and what its header says about the rows. */
export interface Mark {
  readonly seq: number;
  readonly hash: Buffer;
  readonly epoch: number;
  readonly digest: Buffer | null;
}

/** A recorded mark. Anchors of format 1 say nothing about the rows. */
export type Anchor = Omit<Mark, "epoch"> & { readonly epoch: number | null };

/** Where database and anchor part. */
export interface AnchorProblem {
  readonly firstBadSeq: number;
  readonly problem: string;
  readonly kind: TamperKind;
}

/**
 * Replaces the anchor atomically, unless another process has already anchored a later entry.
 * @param options.force replace a later one too: an operator vouches for an older copy
 * @throws DatabaseError full, read_only or io
 */
export function writeAnchor(directory: string, keys: Keyring, mark: Mark, options: { force?: boolean } = {}): void {
  const found = readAnchor(directory, keys);
  if (options.force !== true && typeof found !== "string" && found.seq > mark.seq) return;
  const path = join(directory, ANCHOR_FILE);
  const temporary = `${path}.${process.pid}.tmp`;
  const fields = anchorFields(keys, mark);
  const text = canonicalJson({ ...fields, mac: anchorMac(keys, fields).toString("hex") });
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
  const text = readText(join(directory, ANCHOR_FILE));
  return text === null ? "missing" : (parseAnchor(text, keys) ?? "foreign");
}

/** One line of `audit.anchor`; null when this vault's key did not make it. */
export function parseAnchor(text: string, keys: Keyring): Anchor | null {
  try {
    const { mac: found, ...fields } = JSON.parse(text) as Record<string, CanonicalValue>;
    const { seq, hash, epoch = null, digest = null, vault } = fields;
    if (typeof found !== "string" || vault !== keys.vault) return null;
    if (!constantTimeEqual(Buffer.from(found, "hex"), anchorMac(keys, fields))) return null;
    if (typeof seq !== "number" || typeof hash !== "string") return null;
    return {
      seq,
      hash: Buffer.from(hash, "hex"),
      epoch: typeof epoch === "number" ? epoch : null,
      digest: typeof digest === "string" ? Buffer.from(digest, "hex") : null,
    };
  } catch {
    // Text that is not our JSON is as foreign as a wrong MAC.
    return null;
  }
}

/**
 * The anchors of this vault in `text`: a kept copy of the file, or a log with one per line behind any prefix.
 * @returns oldest first
 * @throws VaultError invalid when a line about this vault was edited, or there is none
 */
export function parseAnchors(text: string, keys: Keyring): Anchor[] {
  const lines = text.split("\n").flatMap((line) => /\{.*"vault":"[0-9a-f]{32}"\}/.exec(line)?.[0] ?? []);
  const ours = lines.filter((line) => line.includes(`"vault":"${keys.vault}"`));
  if (ours.length === 0) throw new VaultError("invalid", "there is no anchor of this vault in it");
  const anchors = ours.map((line) => {
    const anchor = parseAnchor(line, keys);
    if (anchor === null) throw new VaultError("invalid", "one of the anchors in it was edited: its MAC does not fit");
    return anchor;
  });
  return anchors.sort((a, b) => a.seq - b.seq);
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
 * @param anchor read BEFORE the snapshot that `mark` comes from, else another process's commit in between looks like a loss
 * @param name what the anchor is called in the problem's text
 */
export function anchorProblem(
  db: Database,
  keys: Keyring,
  mark: Mark,
  anchor: Anchor | "missing" | "foreign",
  name = ANCHOR_FILE,
): AnchorProblem | null {
  const { seq } = mark;
  // A crash while the vault was made leaves its first entry without an anchor; nothing was stored yet.
  if (anchor === "missing" && seq === 1) return null;
  if (anchor === "missing") return { kind: "anchor", firstBadSeq: seq, problem: `${name} is missing` };
  if (anchor === "foreign") {
    return { kind: "anchor", firstBadSeq: seq, problem: `${name} was edited or belongs to another vault` };
  }
  if (anchor.seq > seq) {
    const problem = `entries ${seq + 1} to ${anchor.seq} are missing: they were deleted, or an older copy of vault.db was restored`;
    return { kind: "rollback", firstBadSeq: seq + 1, problem };
  }
  if (!entryIsGenuine(db, keys, anchor.seq, anchor.hash)) {
    const problem = `entry ${anchor.seq} is not the one that ${name} recorded: vault.db was replaced by a copy that went another way`;
    return { kind: "rollback", firstBadSeq: anchor.seq, problem };
  }
  if (headerIsOlder(mark, anchor)) {
    const problem = `the header has epoch ${mark.epoch}, ${name} recorded epoch ${anchor.epoch} with other rows: an older header was put back`;
    return { kind: "rollback", firstBadSeq: anchor.seq, problem };
  }
  return null;
}

/** The chain alone would not tell: the header and its rows against what was recorded for the same entry or an older one. */
function headerIsOlder(mark: Mark, anchor: Anchor): boolean {
  if (anchor.epoch === null) return false;
  if (anchor.epoch !== mark.epoch) return anchor.epoch > mark.epoch;
  if (anchor.digest === null || mark.digest === null) return anchor.digest !== null;
  return !constantTimeEqual(anchor.digest, mark.digest);
}

function anchorFields(keys: Keyring, { seq, hash, epoch, digest }: Mark): CanonicalObject {
  const recorded = { digest: digest?.toString("hex") ?? null, epoch, hash: hash.toString("hex"), seq };
  return { format: 2, ...recorded, vault: keys.vault };
}

function anchorMac(keys: Keyring, fields: CanonicalObject): Buffer {
  const key = typeof fields.seq === "number" ? auditKeyFor(keys, fields.seq) : keys.audit;
  return mac(key, canonicalBytes({ anchor: fields }));
}
