import { formatProblem, PolicyError } from "../policy/problem.ts";
import { type Catalog, CatalogError } from "../providers/catalog.ts";
import { DatabaseError } from "../store/database.ts";
import {
  RootRotatedError,
  SubmissionError,
  VaultError,
  VaultSealedError,
  VaultTamperedError,
} from "../store/errors.ts";
import { openSubmission, wasAccepted } from "../store/submission.ts";
import { acceptSubmission, assertFits, noteRefusal, wasRefused } from "../store/submission-accept.ts";
import { digestOf, parseSubmission, type Submission } from "../store/submission-text.ts";
import type { Vault } from "../store/vault.ts";
import { PolicyFileError } from "./policy-file.ts";
import { checkSubmission } from "./submission-check.ts";
import { type ListedSubmission, SUBMISSION_LIST_FILE } from "./submission-list.ts";

/** What became, or would become, of a listed submission. */
export type Verdict =
  | { readonly state: "accepted"; readonly credential: string; readonly version: number; readonly digest: string }
  /** Accepted earlier. */
  | { readonly state: "known" }
  /** Of a review: nothing speaks against it. */
  | { readonly state: "new"; readonly credential: string }
  /** `waits`: not for what it is; it will be taken once something else has happened. */
  | { readonly state: "refused" | "waits"; readonly problem: string };

/** A submission is good but has to wait when it is refused with one of these. */
const WAITING: ReadonlySet<SubmissionError["code"]> = new Set(["category_sealed", "busy"]);
const ACTOR = `config:${SUBMISSION_LIST_FILE}`;

/**
 * Accepts one listed submission unless that has been done. A refusal leaves an audit entry the first time and changes
 * nothing else. Never throws.
 */
export function applySubmission(vault: Vault, listed: ListedSubmission, catalog: () => Catalog): Verdict {
  return judge(vault, listed, (submission) => {
    const opened = vault.read((view) => openSubmission(view, submission));
    try {
      checkSubmission(catalog(), opened, { shapes: true });
      const by = { as: listed.as, actor: ACTOR };
      const accepted = vault.write((transaction) => acceptSubmission(transaction, submission, opened, by));
      const { credential, version } = accepted;
      return { state: "accepted", credential: credential.name, version, digest: submission.digest };
    } finally {
      for (const secret of opened.fields.values()) secret.wipe();
    }
  });
}

/** What `applySubmission` would do now; changes nothing and leaves no audit entry. Never throws. */
export function reviewSubmission(
  vault: Vault,
  listed: ListedSubmission,
  catalog: () => Catalog,
  nowMs: number,
): Verdict {
  const look = (submission: Submission): Verdict => {
    const opened = vault.read((view) => openSubmission(view, submission));
    try {
      checkSubmission(catalog(), opened, { shapes: true });
      vault.read((view) => assertFits(view, opened.details, listed.as, nowMs));
      return { state: "new", credential: opened.details.name };
    } finally {
      for (const secret of opened.fields.values()) secret.wipe();
    }
  };
  return judge(vault, listed, look, { audit: false });
}

function judge(
  vault: Vault,
  listed: ListedSubmission,
  work: (submission: Submission) => Verdict,
  options = { audit: true },
): Verdict {
  let digest: string | null = null;
  try {
    const text = listed.read();
    digest = digestOf(text);
    const submission = parseSubmission(text);
    digest = submission.digest;
    if (vault.read((view) => wasAccepted(view, submission.digest))) return { state: "known" };
    return work(submission);
  } catch (error) {
    // Another process was faster: it is applied, and that is all that was wanted.
    if (error instanceof SubmissionError && error.code === "already_accepted") return { state: "known" };
    const refused = error instanceof VaultError || (error instanceof SubmissionError && !WAITING.has(error.code));
    if (!refused) return { state: "waits", problem: problemText(error) };
    if (options.audit && digest !== null) auditRefusal(vault, digest, error.code);
    return { state: "refused", problem: problemText(error) };
  }
}

/** A refusal stays one whether or not the disk takes an entry about it; the next attempt writes it then. */
function auditRefusal(vault: Vault, digest: string, code: string): void {
  try {
    if (vault.read((view) => wasRefused(view, digest))) return;
    vault.record((transaction) => noteRefusal(transaction, digest, code, ACTOR));
  } catch {
    // Said by the log and the alert all the same.
  }
}

/** Errors of our own write their messages for the operator; the text of any other may hold anything. */
export function problemText(error: unknown): string {
  if (error instanceof PolicyError) return error.problems.map((each) => formatProblem(error.file, each)).join("; ");
  const own = OWN_ERRORS.some((type) => error instanceof type);
  if (own && error instanceof Error) return error.message;
  return `internal: it failed (${error instanceof Error ? error.name : "unknown error"})`;
}

const OWN_ERRORS = [
  SubmissionError,
  VaultError,
  VaultSealedError,
  VaultTamperedError,
  RootRotatedError,
  DatabaseError,
  PolicyFileError,
  CatalogError,
];
