/** Exit codes that scripts may rely on (docs/OPERATING.md lists them). */
export const EXIT = { ok: 0, failed: 1, usage: 2, sealed: 3, notFound: 4, crashed: 70, interrupted: 130 } as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/**
 * A failure that the person at the terminal can do something about. `nextStep` is one sentence or
 * one command per line; it is printed under the message.
 */
export class CliError extends Error {
  readonly exitCode: ExitCode;
  readonly nextStep: string | null;

  constructor(message: string, options: { exitCode?: ExitCode; nextStep?: string | null } = {}) {
    super(message);
    this.name = "CliError";
    this.exitCode = options.exitCode ?? EXIT.failed;
    this.nextStep = options.nextStep ?? null;
  }
}

/** Something that was named does not exist: exit 4. */
export function notFound(what: string, nextStep: string): CliError {
  return new CliError(what, { exitCode: EXIT.notFound, nextStep });
}

/** The command line itself is wrong: exit 2. */
export function usageError(message: string, nextStep: string | null = null): CliError {
  return new CliError(message, { exitCode: EXIT.usage, nextStep });
}

export interface FailureReport {
  readonly message: string;
  readonly nextStep: string | null;
  readonly exitCode: ExitCode;
}

const CHECK_MODE = "check its owner and mode, and those of the directory above it";
const MAKE_ROOM = "free some space and run it again; what is there already is kept";

/** What the operating system said, for people: EACCES alone helps nobody. With the next step where there is one. */
const SYSTEM_ERRORS: ReadonlyMap<string, string> = new Map([
  ["EACCES", "permission denied"],
  ["EPERM", "not permitted"],
  ["ENOENT", "no such file or directory"],
  ["ENOTDIR", "a part of the path is not a directory"],
  ["EISDIR", "is a directory"],
  ["ERR_FS_EISDIR", "is a directory"],
  ["EEXIST", "exists already"],
  ["EROFS", "the file system is read-only"],
  ["ENOSPC", "the disk is full"],
  ["EPIPE", "the reader of the output went away before the end"],
  ["EDQUOT", "the disk quota is used up"],
  ["EMFILE", "too many open files (ulimit -n)"],
  ["EADDRINUSE", "the address is in use"],
  ["EADDRNOTAVAIL", "this machine does not have that address"],
]);
const SYSTEM_NEXT_STEPS: ReadonlyMap<string, string> = new Map([
  ["EACCES", CHECK_MODE],
  ["EPERM", CHECK_MODE],
  ["ENOSPC", MAKE_ROOM],
  ["EDQUOT", MAKE_ROOM],
]);

/** A word longer than this is a mistake (a file's content, a key) and would fill the screen. */
const LONGEST_WORD = 300;
const SHOWN_OF_LONG_WORD = 60;

/**
 * Turns anything thrown into what the terminal prints. Errors of our own modules carry messages
 * written for people; a message of any other error may hold anything, so it is not shown.
 */
export function describeFailure(error: unknown): FailureReport {
  const report = describe(error);
  return { ...report, message: shortened(report.message) };
}

function shortened(message: string): string {
  return message.replace(/\S+/g, (word) =>
    word.length > LONGEST_WORD ? `${word.slice(0, SHOWN_OF_LONG_WORD)}... (${word.length} characters)` : word,
  );
}

function describe(error: unknown): FailureReport {
  if (error instanceof CliError) {
    return { message: error.message, nextStep: error.nextStep, exitCode: error.exitCode };
  }
  if (!(error instanceof Error)) return internal(typeof error);
  const own = describeOwn(error);
  if (own !== null) return own;
  const system = describeSystem(error);
  return system ?? internal(codeOf(error) ?? error.name);
}

/** Error classes of our own modules by name; every one of them writes its message for the operator. */
const OWN_ERRORS: ReadonlyMap<string, ExitCode> = new Map<string, ExitCode>([
  ["VaultSealedError", EXIT.sealed],
  ["VaultTamperedError", EXIT.failed],
  ["RootRotatedError", EXIT.sealed],
  ["VaultError", EXIT.failed],
  ["BackupError", EXIT.failed],
  ["UnlockError", EXIT.failed],
  ["CertificateError", EXIT.failed],
  ["DatabaseError", EXIT.failed],
  ["ConfigError", EXIT.failed],
  ["SetupError", EXIT.failed],
  ["StartError", EXIT.failed],
  ["ControlInUse", EXIT.failed],
  ["PolicyError", EXIT.failed],
  ["PolicyFileError", EXIT.failed],
  ["PriceError", EXIT.failed],
  ["CatalogError", EXIT.failed],
  ["ProviderFileError", EXIT.failed],
  ["SubmissionError", EXIT.failed],
]);

/** Codes that say more than the class does. */
const OWN_CODES: ReadonlyMap<string, ExitCode> = new Map<string, ExitCode>([
  ["not_found", EXIT.notFound],
  ["vault_sealed", EXIT.sealed],
  ["invalid", EXIT.usage],
]);

/** For classes whose message does not say what to do. */
const OWN_NEXT_STEPS: ReadonlyMap<string, string> = new Map([
  ["ControlInUse", "`sidekey status` shows it; stop it first, or name another directory with --data"],
]);

function describeOwn(error: Error): FailureReport | null {
  const byClass = OWN_ERRORS.get(error.name);
  if (byClass === undefined) return null;
  const given = "nextStep" in error && typeof error.nextStep === "string" ? error.nextStep : null;
  const nextStep = given ?? OWN_NEXT_STEPS.get(error.name) ?? null;
  return { message: error.message, nextStep, exitCode: OWN_CODES.get(codeOf(error) ?? "") ?? byClass };
}

function describeSystem(error: Error): FailureReport | null {
  const code = codeOf(error);
  const meaning = code === null ? undefined : SYSTEM_ERRORS.get(code);
  if (meaning === undefined) return null;
  const path = "path" in error && typeof error.path === "string" ? `${error.path}: ` : "";
  const nextStep = SYSTEM_NEXT_STEPS.get(code ?? "") ?? null;
  return { message: `${path}${meaning} (${code})`, nextStep, exitCode: EXIT.failed };
}

function codeOf(error: Error): string | null {
  return "code" in error && typeof error.code === "string" ? error.code : null;
}

function internal(code: string): FailureReport {
  return {
    message: `internal error (this is a bug): ${code}`,
    nextStep: "report it with the command you ran; leave out keys and tokens",
    exitCode: EXIT.failed,
  };
}
