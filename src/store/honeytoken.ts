import type { Credential } from "./credentials.ts";
import { VaultError } from "./errors.ts";

/** In the metadata of a credential, which its row's MAC covers. */
export const HONEYTOKEN_METADATA: Readonly<Record<string, string>> = { honeytoken: "true" };

/**
 * A credential that is there to be stolen: nothing of sidekey's ever opens, sends, checks or rotates it, so whoever
 * shows its value has been where he should not be.
 */
export function isHoneytoken({ metadata }: Pick<Credential, "metadata">): boolean {
  return metadata.honeytoken === "true";
}

/** @throws VaultError refused @param what that is to be done with it: `rotated` */
export function assertNoHoneytoken(credential: Pick<Credential, "name" | "metadata">, what: string): void {
  if (!isHoneytoken(credential)) return;
  throw new VaultError("refused", `credential "${credential.name}" is a honeytoken, which is never ${what}`);
}
