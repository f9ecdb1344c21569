export type VaultErrorCode = "exists" | "missing" | "not_found" | "conflict" | "refused" | "invalid";

/** A vault operation that cannot be done; `message` names the object and the next step. */
export class VaultError extends Error {
  override readonly name = "VaultError";
  readonly code: VaultErrorCode;

  constructor(code: VaultErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

export type UnlockProblemCode =
  | "missing"
  | "permissions"
  | "malformed"
  | "wrong_key"
  | "wrong_passphrase"
  | "no_wrapper"
  | "unavailable";

/** Why one unlocker did not open the vault. `by` is "file <path>" or "passphrase". */
export interface UnlockProblem {
  readonly by: string;
  readonly code: UnlockProblemCode;
  readonly message: string;
}

/** One unlocker failed; collected into VaultSealedError.problems. */
export class UnlockError extends Error {
  override readonly name = "UnlockError";
  readonly code: UnlockProblemCode;

  constructor(code: UnlockProblemCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** The vault is sealed, or none of the given unlockers opens it (`problems` says why, one entry each). */
export class VaultSealedError extends Error {
  override readonly name = "VaultSealedError";
  readonly problems: readonly UnlockProblem[];

  constructor(message: string, problems: readonly UnlockProblem[] = []) {
    super(message);
    this.problems = problems;
  }
}

/** Something in the data directory is not what sidekey wrote last: edited, planted, deleted or rolled back. */
export class VaultTamperedError extends Error {
  override readonly name = "VaultTamperedError";
  readonly object: string;
  /** What is wrong with it, without what to do. */
  readonly problem: string;

  constructor(object: string, problem: string) {
    super(`${object}: ${problem}; nothing was opened. Run \`sidekey audit verify\`, then restore a backup`);
    this.object = object;
    this.problem = problem;
  }
}

export type SubmissionErrorCode =
  | "not_a_submission"
  | "newer_format"
  | "too_large"
  | "truncated"
  | "damaged"
  | "bad_public_keys"
  | "foreign_vault"
  | "unknown_generation"
  | "destroyed_key"
  | "category_sealed"
  | "inconsistent"
  | "already_accepted"
  | "expired"
  | "mismatch"
  | "busy"
  | "unknown_provider"
  | "wrong_fields"
  | "wrong_shape"
  | "wrong_hosts";

/** A sealed submission that is not accepted, or a public key file that nothing is sealed with. */
export class SubmissionError extends Error {
  override readonly name = "SubmissionError";
  readonly code: SubmissionErrorCode;

  constructor(code: SubmissionErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
