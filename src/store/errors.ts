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
  | "unavailable"
  | "timeout"
  | "unreachable"
  | "denied"
  | "lying"
  | "too_few_shares"
  | "bad_share"
  | "duplicate_share"
  | "wrong_set";

/** Why one unlocker did not open the vault. `by` is "file <path>", "passphrase" or what else `unlockerName` says. */
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

/** Another process has replaced the root key; what this one holds opens nothing any more. */
export class RootRotatedError extends Error {
  override readonly name = "RootRotatedError";

  constructor() {
    super("the vault's root key was replaced by another process; unseal it again");
  }
}
/** How the data directory differs from what sidekey wrote last. The first two can be acknowledged (see Vault.unseal). */
export type TamperKind =
  /** vault.db is whole, but an older or another copy than the one the anchor recorded */
  | "rollback"
  /** vault.db is whole, but the anchor is missing, edited or of another vault */
  | "anchor"
  /** some rows are older than others, or were deleted */
  | "partial"
  /** a row, an audit entry, a wrapper or the header was edited or planted */
  | "edited";

/** Something in the data directory is not what sidekey wrote last: edited, planted, deleted or rolled back. */
export class VaultTamperedError extends Error {
  override readonly name = "VaultTamperedError";
  readonly code = "vault_tampered";
  readonly object: string;
  /** What is wrong with it, without what to do. */
  readonly problem: string;
  readonly kind: TamperKind;
  /** The first audit entry from which on nothing may be relied on; null when that is not known. */
  readonly entry: number | null;

  constructor(object: string, problem: string, options: { kind?: TamperKind; entry?: number } = {}) {
    const { kind = "edited", entry = null } = options;
    const accept = kind === "rollback" || kind === "anchor" ? ACCEPT : "";
    super(`${object}: ${problem}; nothing was opened. Run \`sidekey audit verify\`, then restore a backup${accept}`);
    this.object = object;
    this.problem = problem;
    this.kind = kind;
    this.entry = entry;
  }
}

const ACCEPT = ", or, if you put this copy here yourself, run `sidekey vault acknowledge-rollback`";

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
