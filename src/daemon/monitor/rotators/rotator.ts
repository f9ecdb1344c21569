import type { Secret } from "../../../secret.ts";
import type { KeyHolder } from "./ask.ts";

export type Fields = ReadonlyMap<string, Secret>;

/** What a rotator works with during one step. */
export interface RotatorContext {
  /** Whose key may make and end keys. Often not the credential that is rotated. */
  readonly admin: KeyHolder;
  /** The version that is replaced, or whose key is to be ended. */
  readonly old: KeyHolder;
  /** The name that the new key gets at the provider, so that it is found again after a crash. */
  readonly token: string;
  readonly settings: Readonly<Record<string, string>>;
  /** When the rotation began, ms since the epoch. */
  readonly startedAt: number;
}

/** What was found at the provider before a key is made. Stored before `create` is called. */
export interface Preparation {
  /** What the provider calls the key that is replaced; null when that cannot be found out. */
  readonly oldKey: string | null;
  /** What `create` must know to tell its own key from others; null when the token suffices. Never a secret. */
  readonly memo: string | null;
}

/** A key that the provider has just made. The caller wipes the fields. */
export interface MintedKey {
  readonly fields: Map<string, Secret>;
  /** What the provider calls it. */
  readonly keyId: string;
}

/** One setting of a rotator, as `credential rotation --set name=value` takes it. */
export interface RotatorSetting {
  readonly required: boolean;
  readonly pattern: RegExp;
  /** What it is, for messages: "the project's id, like proj_abc". */
  readonly what: string;
}

/** How the keys of one provider are made and ended through its API. Every step may be run again after a crash. */
export interface Rotator {
  readonly id: string;
  /** Catalog id of the provider whose credential may make and end keys; null when the key itself may. */
  readonly admin: string | null;
  /** Whether the key may do without an admin credential. */
  readonly selfService: boolean;
  readonly settings: Readonly<Record<string, RotatorSetting>>;
  /** The fields that a new key consists of. */
  readonly fields: readonly string[];
  /** False when the provider has no list of keys: what a crash leaves behind can then only be named, not removed. */
  readonly findsOrphans: boolean;
  /** Only looks. @throws RotatorError */
  prepare(context: RotatorContext): Promise<Preparation>;
  /**
   * Makes a key.
   * @param attempt 1 for the first; later ones follow an attempt whose result is not known, and first remove what it left
   * @throws RotatorError
   */
  create(context: RotatorContext, memo: string | null, attempt: number): Promise<MintedKey>;
  /** Ends the key; one that is gone already is done. @throws RotatorError */
  revoke(context: RotatorContext, keyId: string): Promise<void>;
  /** Uses the old key: dead only when the provider refuses it as it documents. @throws RotatorError */
  proveDead(context: RotatorContext): Promise<DeathProof>;
}

export interface DeathProof {
  readonly dead: boolean;
  /** HTTP status of the answer. */
  readonly status: number;
}

/** A step that did not work. The message is for people, names the next step and never holds what a provider sent. */
export class RotatorError extends Error {
  override readonly name = "RotatorError";
  /** `retry`: the same call may work later. `permanent`: only a person can change that. */
  readonly kind: "retry" | "permanent";
  /** What the provider asked for with Retry-After; null when it asked for nothing. */
  readonly retryAfterMs: number | null;

  /** True when the provider said no, so that whatever was asked for was not done. */
  readonly refused: boolean;

  constructor(
    kind: "retry" | "permanent",
    message: string,
    more: { readonly retryAfterMs?: number | null; readonly refused?: boolean } = {},
  ) {
    super(message);
    this.kind = kind;
    this.retryAfterMs = more.retryAfterMs ?? null;
    this.refused = more.refused ?? false;
  }
}
