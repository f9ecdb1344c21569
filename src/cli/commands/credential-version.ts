import type { Credential } from "../../store/credentials.ts";
import { notFound } from "../failure.ts";

/** The number of the version that somebody typed. @throws CliError with exit 4 */
export function requireVersion(credential: Credential, text: string): number {
  const found = credential.versions.find((version) => String(version.number) === text);
  if (found !== undefined) return found.number;
  throw notFound(`${credential.name} has no such version`, `see \`sidekey credential show ${credential.name}\``);
}

/** Every version that could still be used. @throws CliError with exit 4 when there is none */
export function livingVersions(credential: Credential): number[] {
  const living = credential.versions.filter((version) => version.stage !== "revoked").map((version) => version.number);
  if (living.length === 0) throw notFound(`${credential.name} has no version that could be revoked`, "nothing to do");
  return living;
}
