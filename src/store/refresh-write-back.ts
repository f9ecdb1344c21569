import type { Secret } from "../secret.ts";
import { addVersion, getCredential } from "./credentials.ts";
import type { VaultTransaction } from "./ledger.ts";
import { getRotation, isUnderWay, putRotation } from "./rotations.ts";
import { putRow } from "./rows.ts";
import { getVersion } from "./versions.ts";

/**
 * Stores the fields of version `number` with the refresh token that the provider put in the place of the old one: as a
 * new version in the same stage. The replaced one is revoked, because its token is spent (RFC 6749 section 6). A
 * rotation under way goes on with the new number.
 * @returns the number of the new version
 * @throws VaultError not_found, or refused when `number` was revoked meanwhile
 */
export function writeBackRefresh(
  transaction: VaultTransaction,
  name: string,
  written: { readonly version: number; readonly fields: ReadonlyMap<string, Secret> },
  actor: string,
): number {
  const { db, keys } = transaction;
  const { id } = getCredential(transaction, name);
  const replaced = getVersion(db, keys, id, written.version);
  const credential = addVersion(transaction, name, { fields: written.fields, stage: "pending", actor });
  const number = Math.max(...credential.versions.map((version) => version.number));
  // Whoever is current gives way before another becomes it.
  putRow(db, keys, "versions", { ...replaced, stage: "revoked" });
  putRow(db, keys, "versions", { ...getVersion(db, keys, id, number), stage: replaced.stage });
  const rotation = getRotation(transaction, id);
  if (isUnderWay(rotation) && (rotation.from === written.version || rotation.to === written.version)) {
    const side = rotation.from === written.version ? { from: number } : { to: number };
    putRotation(transaction, id, { ...rotation, ...side });
  }
  const detail = { version: number, replaced: written.version, stage: replaced.stage };
  transaction.note({ actor, action: "version.refresh", object: `credential:${name}`, detail });
  return number;
}
