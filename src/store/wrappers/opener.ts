import type { Secret } from "../../secret.ts";
import type { UnlockError } from "../errors.ts";
import type { Wrapper } from "../wrappers.ts";

/** What every unlocker may say. */
export interface Timed {
  /** ms until it is given up and the next one is tried; 10 s unless given, and none where a person is asked */
  readonly timeoutMs?: number;
}

/** What a key is bound to, besides the stanza's own AAD. */
export interface Place {
  readonly vault: string;
  readonly wrapper: string;
}

export interface OpenContext {
  /** Aborted when the deadline has passed. */
  readonly signal: AbortSignal;
  /** ms since the epoch */
  readonly now: () => number;
}

/** An unlocker at work: it has read its file, asked its question or logged in. */
export interface Opener {
  /**
   * The key that encrypts the root key in this stanza; null when the stanza is for another unlocker of the kind. The
   * caller wipes it. @throws UnlockError
   */
  keyOf(stanza: Pick<Wrapper, "params">, place: Place): Promise<Secret | null>;
  /** Params and key of a new stanza. The caller wipes the key. @throws UnlockError */
  newKey(place: Place): Promise<{ params: string; key: Secret }>;
  /** Why, when the key of a stanza does not decrypt it, or no stanza was meant for this unlocker. */
  readonly mismatch: UnlockError;
  wipe(): void;
}

/** Members of a stanza's params; none when somebody has put something else there. */
export function parseParams(params: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(params);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
