export type StartErrorCode =
  | "vault_missing"
  | "vault_sealed"
  | "port_in_use"
  | "already_running"
  | "policy_invalid"
  | "environment"
  | "self_check"
  | "io";

/** Why the daemon did not start. The message ends with what to do next. */
export class StartError extends Error {
  readonly code: StartErrorCode;

  constructor(code: StartErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "StartError";
    this.code = code;
  }
}
