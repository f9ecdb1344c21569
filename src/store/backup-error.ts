/**
 * Why a backup cannot be made or used. The first seven say what is wrong with the file itself:
 * - `not_a_backup`: it begins with something else
 * - `truncated`: it ends too early
 * - `damaged`: some byte is not what was written
 * - `newer_format`: made by a newer sidekey
 * - `foreign`: of another vault than the one it is held against
 * - `wrong_key`: the keys and passphrases given open none of its wrappers
 * - `inconsistent`: every byte is genuine, but the vault inside does not hold together
 */
export type BackupErrorCode =
  | "not_a_backup"
  | "truncated"
  | "damaged"
  | "newer_format"
  | "foreign"
  | "wrong_key"
  | "inconsistent"
  | "exists"
  | "in_use"
  | "conflict"
  | "stopped"
  | "unreadable";

/** A backup that was refused, or could not be made. `message` begins with the file and the reason. */
export class BackupError extends Error {
  override readonly name = "BackupError";
  readonly code: BackupErrorCode;
  readonly nextStep: string | null;

  constructor(code: BackupErrorCode, message: string, nextStep: string | null = null) {
    super(message);
    this.code = code;
    this.nextStep = nextStep;
  }
}
