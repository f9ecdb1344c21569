import type { Secret } from "../secret.ts";
import { openPrivateKey, sealPrivateKey } from "./categories.ts";
import { bindings } from "./credentials.ts";
import { VaultError } from "./errors.ts";
import { type Keyring, keyringOf, replaceWrappers } from "./keyring.ts";
import type { VaultTransaction, VaultView } from "./ledger.ts";
import { retiredRow } from "./retired-roots.ts";
import { getRows, type Row, rowMac, SEALED_TABLES, type SealedTable, stateDigest, writeRow } from "./rows.ts";
import { resealBlob } from "./sealed-blobs.ts";
import { fingerprintUnder, type VersionBinding, type VersionRow } from "./versions.ts";
import type { Wrapper } from "./wrappers.ts";

/*
 * A new root key means: every row gets a new MAC, what was sealed under the old root key (category keys, blobs, earlier
 * audit keys) is sealed under the new one, and the wrappers wrap the new one. The values themselves are not touched.
 * The slow part is prepared on a snapshot; one transaction then puts it in place if nothing has changed meanwhile.
 */

/** Everything that a root rotation will write. */
export interface RootPlan {
  readonly keys: Keyring;
  readonly wrappers: readonly Wrapper[];
  /** `stateDigest` of the snapshot that it was prepared on. */
  readonly state: Buffer;
  readonly rows: readonly { readonly table: SealedTable; readonly row: Row }[];
}

type KeyPair = { publicKey: Buffer; privateKey: Secret };
type KeyRow = Parameters<typeof openPrivateKey>[1];

/** @param root the new root key; the caller wipes it @throws VaultTamperedError when a row does not open */
export function planRoot({ db, keys }: VaultView, root: Secret, wrappers: readonly Wrapper[]): RootPlan {
  if (keys === null) throw new VaultError("refused", "the vault is sealed; unseal it before its root key is replaced");
  const next = keyringOf(root, keys.vault);
  const pairs = openKeyPairs(getRows<KeyRow>(db, keys, "categories"), getRows(db, keys, "category_generations"), keys);
  try {
    const known = bindings({ db, keys });
    const change = (table: SealedTable, row: Row): Row => {
      if (table === "versions") return { ...row, ...refingerprinted(row, known, pairs, keys, next) };
      if (table === "sealed_blobs") return { ...row, sealed: resealBlob(keys, next, row as never) };
      if (table === "categories" || table === "category_generations") return { ...row, ...resealed(row, pairs, next) };
      return row;
    };
    const rows = SEALED_TABLES.filter((table) => table !== "retired_roots").flatMap((table) =>
      getRows<Row>(db, keys, table).map((found) => {
        const { mac: _old, ...row } = change(table, found);
        return { table, row: { ...row, mac: rowMac(next, table, row) } };
      }),
    );
    return { keys: next, wrappers, state: stateDigest(db, keys), rows };
  } finally {
    for (const { privateKey } of pairs.values()) privateKey.wipe();
  }
}

/**
 * Puts the plan in place.
 * @param lastSeq the newest audit entry of the old root key
 * @returns the keyring to go on with; null when the rows have changed since the plan was made: nothing is written then
 */
export function applyRoot({ db, keys, now }: VaultTransaction, plan: RootPlan, lastSeq: number): Keyring | null {
  if (!stateDigest(db, keys).equals(plan.state)) return null;
  for (const { table, row } of plan.rows) writeRow(db, table, row);
  const retired = [...keys.retired, { lastSeq, key: keys.audit }].map((audit) => ({
    lastSeq: audit.lastSeq,
    key: audit.key.copy(),
  }));
  const since = new Map(getRows<Row>(db, keys, "retired_roots").map((row) => [row.generation, row.retired_at]));
  for (const [at, audit] of retired.entries()) {
    const row = retiredRow(plan.keys, at + 1, audit, Number(since.get(at + 1) ?? now));
    writeRow(db, "retired_roots", { ...row, mac: rowMac(plan.keys, "retired_roots", row) });
  }
  replaceWrappers(db, plan.wrappers);
  return { ...plan.keys, retired };
}

function openKeyPairs(current: readonly KeyRow[], retired: readonly KeyRow[], keys: Keyring): Map<string, KeyPair> {
  const living = [...current, ...retired].filter((row) => row.private_key.length > 0);
  return new Map(
    living.map((row) => [pairName(row), { publicKey: row.public_key, privateKey: openPrivateKey(keys, row) }]),
  );
}

function pairName({ name, generation }: { name: unknown; generation: unknown }): string {
  return `${String(name)}/${String(generation)}`;
}

/** A destroyed category has no private half that could be sealed anew. */
function resealed(row: Row, pairs: ReadonlyMap<string, KeyPair>, next: Keyring): Row {
  const pair = pairs.get(pairName(row as never));
  if (pair === undefined) return {};
  return { private_key: pair.privateKey.use((half) => sealPrivateKey(next, row as never, half)) };
}

/** What cannot be opened any more (its category was destroyed) keeps the fingerprint of before. */
function refingerprinted(
  row: Row,
  known: ReadonlyMap<string, VersionBinding>,
  pairs: ReadonlyMap<string, KeyPair>,
  keys: Keyring,
  next: Keyring,
): Row {
  const binding = known.get(String(row.credential));
  const pair = binding && pairs.get(pairName({ name: binding.category, generation: row.generation }));
  if (binding === undefined || pair === undefined) return {};
  return { fingerprint: fingerprintUnder(next, keys, binding, row as unknown as VersionRow, pair) };
}
