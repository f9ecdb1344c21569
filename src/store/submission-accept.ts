import { addCredential, addVersion, type Credential, getCredential, type Owner } from "./credentials.ts";
import { SubmissionError, VaultError } from "./errors.ts";
import type { VaultTransaction, VaultView } from "./ledger.ts";
import { getRotation, isUnderWay } from "./rotations.ts";
import { getRows, putRow, type Row } from "./rows.ts";
import { assertNew, type OpenedSubmission, type SubmissionDetails } from "./submission.ts";
import type { Submission } from "./submission-text.ts";

export type AcceptAs = "current" | "pending";

export interface Accepted {
  readonly credential: Credential;
  readonly version: number;
}

/**
 * Stores what a submission holds, as a new credential or as a new version of the one with its name, and remembers the
 * submission: all in one transaction, so that it is applied once, however many processes try.
 * @throws SubmissionError already_accepted, expired, mismatch or busy; VaultError
 */
export function acceptSubmission(
  transaction: VaultTransaction,
  submission: Submission,
  opened: OpenedSubmission,
  by: { readonly as: AcceptAs; readonly actor: string },
): Accepted {
  const { db, keys, now, note } = transaction;
  assertNew(transaction, submission.digest);
  const { details, fields } = opened;
  const { name, provider, environment, category, hosts, owner, expires } = details;
  const existing = assertFits(transaction, details, by.as, now);
  if (existing === null) {
    const added = { name, provider, environment, category, hosts, owner, expiresAt: expires };
    addCredential(transaction, added, fields, by.actor);
  } else {
    addVersion(transaction, name, { fields, stage: by.as, actor: by.actor });
    if (expires !== null) setExpiry(transaction, existing.id, expires);
  }
  const credential = getCredential(transaction, name);
  const version = Math.max(...credential.versions.map(({ number }) => number));
  const { digest } = submission;
  putRow(db, keys, "submissions", { digest, credential: credential.id, version, accepted_at: now });
  const detail = { digest, version, stage: by.as, provider, fingerprint: opened.fingerprint };
  note({ actor: by.actor, action: "submission.accept", object: `credential:${name}`, detail });
  return { credential, version };
}

/**
 * Whether the submission may become what it says; looks only.
 * @returns the credential that it is a new version of; null when it is a new credential
 * @throws SubmissionError expired, mismatch or busy
 */
export function assertFits(
  view: VaultView,
  details: SubmissionDetails,
  as: AcceptAs,
  nowMs: number,
): Credential | null {
  const { name, expires } = details;
  if (expires !== null && expires <= nowMs) {
    throw new SubmissionError("expired", `the submitted key ended on ${new Date(expires).toISOString()}`);
  }
  const existing = findCredential(view, name);
  if (existing === null) {
    assertNameFree(view, name);
    if (as === "current") return null;
    throw new SubmissionError("mismatch", `there is no credential ${name} yet; accept its first key as current`);
  }
  const difference = differenceFrom(existing, details);
  if (difference !== null) {
    throw new SubmissionError(
      "mismatch",
      `credential ${name} exists with ${difference}; a new version cannot change that. Seal it under another --name`,
    );
  }
  assertFree(view, existing);
  if (as === "pending" && expires !== null) {
    throw new SubmissionError(
      "mismatch",
      `a pending version of ${name} has no expiry of its own; seal it without --expires, or accept it as current`,
    );
  }
  return existing;
}

/** A key never goes anywhere new because somebody submitted a value for it. */
function differenceFrom(existing: Credential, details: SubmissionDetails): string | null {
  if (existing.provider !== details.provider) return `provider ${existing.provider}`;
  if (existing.environment !== details.environment) return `environment ${existing.environment}`;
  if (existing.category !== details.category) return `category ${existing.category}`;
  if (ownerText(existing.owner) !== ownerText(details.owner)) return `owner ${ownerText(existing.owner)}`;
  if (existing.hosts.join(" ") !== details.hosts.join(" ")) return `hosts ${existing.hosts.join(", ")}`;
  return null;
}

/** A removed credential cannot be found, and keeps its name until it is shredded. */
function assertNameFree({ db, keys }: VaultView, name: string): void {
  if (getRows(db, keys, "credentials", { name }).length === 0) return;
  throw new SubmissionError("busy", `credential ${name} is removed and waits to be shredded; restore it first`);
}

function assertFree(view: VaultView, { id, name }: Credential): void {
  if (isUnderWay(getRotation(view, id))) {
    throw new SubmissionError("busy", `credential ${name} is being rotated; wait for the end, or roll it back first`);
  }
}

function findCredential(view: VaultView, name: string): Credential | null {
  try {
    return getCredential(view, name);
  } catch (error) {
    if (error instanceof VaultError && error.code === "not_found") return null;
    throw error;
  }
}

/** `service`, or `user <id>`. */
export function ownerText(owner: Owner): string {
  return owner.kind === "service" ? "service" : `user ${owner.id}`;
}

function setExpiry({ db, keys }: VaultTransaction, id: string, expires: number): void {
  const row = getRows<Row>(db, keys, "credentials", { id })[0];
  putRow(db, keys, "credentials", { ...row, expires_at: expires });
}

const REFUSED = "submission.refuse";

/** Whether the audit says already that this was refused; one entry is enough, however often it is tried. */
export function wasRefused({ db }: VaultView, digest: string): boolean {
  const row = db.prepare("SELECT 1 FROM audit WHERE action = ? AND object = ? LIMIT 1").get(REFUSED, objectOf(digest));
  return row !== undefined;
}

/** Writes that it was refused, and by which code. */
export function noteRefusal({ note }: VaultTransaction, digest: string, code: string, actor: string): void {
  note({ actor, action: REFUSED, object: objectOf(digest), detail: { code } });
}

function objectOf(digest: string): string {
  return `submission:${digest}`;
}
