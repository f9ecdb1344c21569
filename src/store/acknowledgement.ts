import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type AuditEntry, type AuditNote, type ChainProblem, entriesOf } from "./audit.ts";
import type { Anchor, AnchorProblem, Mark } from "./audit-anchor.ts";
import { type CanonicalObject, type CanonicalValue, canonicalBytes, canonicalJson } from "./canonical.ts";
import { type Database, fileError } from "./database.ts";
import type { Keyring } from "./keyring.ts";
import { sign, signatureFits, signingPublicKey } from "./signing.ts";

/*
 * A signed acknowledgement: who took which older copy of the vault into use, and why. The statement is kept in the
 * audit entry `vault.accept-rollback` and, with signature and public key, in a file that can be shown to others.
 */

export const ACKNOWLEDGE_ACTION = "vault.accept-rollback";
/** In the data directory; one file each. */
export const ACKNOWLEDGEMENTS = "acknowledgements";
/** Signed in front of the statement, so that the signature is good for nothing else. */
const PURPOSE = Buffer.from("sidekey acknowledgement v1\n", "ascii");

export interface Acknowledgement {
  readonly mark: Mark;
  readonly anchor: Anchor | "missing" | "foreign";
  readonly problem: AnchorProblem | null;
  readonly actor: string;
  /** ms since the epoch */
  readonly at: number;
  readonly reason: string;
}

export interface Acknowledged {
  readonly note: AuditNote;
  readonly at: number;
  /** The file's text. */
  readonly text: string;
}

/** The audit entry for an accepted copy, with both ends and the signature in its detail. */
export function acknowledgementNote(keys: Keyring, accepted: Acknowledgement): Acknowledged {
  const { mark, anchor, problem, actor, at, reason } = accepted;
  const detail = {
    problem: problem?.problem ?? "",
    reason,
    ...endFields("database", mark),
    ...(typeof anchor === "string" ? { anchor } : endFields("anchor", anchor)),
  };
  const statement = statementOf(keys.vault, { actor, at, detail });
  const signed = {
    public_key: signingPublicKey(keys.signing).toString("hex"),
    signature: sign(keys.signing, signedBytes(statement)).toString("hex"),
  };
  const note = { actor, action: ACKNOWLEDGE_ACTION, object: "vault", detail: { ...detail, ...signed } };
  return { note, at, text: canonicalJson({ ...signed, statement }) };
}

function endFields(name: string, { seq, hash, epoch, digest }: Anchor): Record<string, string | number> {
  return {
    [`${name}_seq`]: seq,
    [`${name}_hash`]: hash.toString("hex"),
    ...(epoch === null ? {} : { [`${name}_epoch`]: epoch }),
    ...(digest === null ? {} : { [`${name}_digest`]: digest.toString("hex") }),
  };
}

function statementOf(vault: string, { actor, at, detail }: { actor: string; at: number; detail: CanonicalObject }) {
  return { actor, at, detail, format: 1, vault };
}

function signedBytes(statement: CanonicalValue): Buffer {
  return Buffer.concat([PURPOSE, canonicalBytes(statement)]);
}

/**
 * Checks the signature of every acknowledgement, in the audit and in the files. The chain, verified before, vouches
 * for the public keys in its entries; a file must be signed with one of those or with the present one.
 */
export function acknowledgementProblem(db: Database, keys: Keyring, directory: string): ChainProblem | null {
  const signed = entriesOf(db, ACKNOWLEDGE_ACTION).filter(({ detail }) => detail.signature !== undefined);
  const bad = signed.find((entry) => !entryFits(keys.vault, entry));
  if (bad !== undefined) {
    return {
      ok: false,
      firstBadSeq: bad.seq,
      problem: `the signature of entry ${bad.seq} does not fit`,
      kind: "edited",
    };
  }
  const known = new Set([
    signingPublicKey(keys.signing).toString("hex"),
    ...signed.map(({ detail }) => detail.public_key),
  ]);
  const file = fileNames(directory).find((name) => !fileFits(join(directory, ACKNOWLEDGEMENTS, name), known));
  if (file === undefined) return null;
  const problem = `${ACKNOWLEDGEMENTS}/${file} was edited or is of another vault: its signature does not fit`;
  return { ok: false, firstBadSeq: 0, problem, kind: "edited" };
}

function entryFits(vault: string, { actor, at, detail: all }: AuditEntry): boolean {
  const { signature, public_key: publicKey, ...detail } = all;
  return fits(statementOf(vault, { actor, at, detail }), signature, publicKey);
}

function fits(statement: CanonicalValue, signature: unknown, publicKey: unknown): boolean {
  if (typeof signature !== "string" || typeof publicKey !== "string") return false;
  return signatureFits(Buffer.from(publicKey, "hex"), signedBytes(statement), Buffer.from(signature, "hex"));
}

/**
 * Writes `acknowledgements/<time>.json`, 0600.
 * @throws DatabaseError; the audit entry, which holds the same, is there by then
 */
export function storeAcknowledgement(directory: string, { at, text }: Acknowledged): void {
  const folder = join(directory, ACKNOWLEDGEMENTS);
  const path = join(folder, `${new Date(at).toISOString().replaceAll(":", "-")}.json`);
  try {
    mkdirSync(folder, { mode: 0o700, recursive: true });
    writeFileSync(path, `${text}\n`, { mode: 0o600, flag: "wx", flush: true });
  } catch (error) {
    throw fileError(error, path);
  }
}

function fileNames(directory: string): string[] {
  const folder = join(directory, ACKNOWLEDGEMENTS);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .sort();
}

function fileFits(path: string, known: ReadonlySet<unknown>): boolean {
  try {
    const { statement, signature, public_key: publicKey } = JSON.parse(readFileSync(path, "utf8")) as CanonicalObject;
    return known.has(publicKey) && statement !== undefined && fits(statement, signature, publicKey);
  } catch {
    return false;
  }
}
