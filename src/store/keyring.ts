import { Secret } from "../secret.ts";
import { canonicalBytes } from "./canonical.ts";
import { constantTimeEqual, KEY_BYTES, kdf, mac, randomBytes } from "./crypto.ts";
import { type Database, guard } from "./database.ts";
import { UnlockError, type UnlockProblem, VaultError, VaultSealedError, VaultTamperedError } from "./errors.ts";
import { loadRetired } from "./retired-roots.ts";
import { type Unlocker, unlockerName, unwrapRootKey, type WrapOptions, type Wrapper, wrapRootKey } from "./wrappers.ts";

/** Version of everything described in docs/vault-format.md. */
export const VAULT_FORMAT = 1;

/** Subkeys of the root key: id and KDF context. Numbers are part of the format; never reuse one. */
const SUBKEYS = {
  header: [1, "skheader"],
  rows: [2, "skrowmac"],
  state: [3, "skstate_"],
  audit: [4, "skaudit_"],
  categories: [5, "skcatkey"],
  blobs: [6, "skblobs_"],
  fingerprint: [7, "skfngprt"],
  backup: [8, "skbackup"],
  log: [9, "sklogmac"],
  signing: [10, "sksigns_"],
} as const;

type SubkeyName = keyof typeof SUBKEYS;

/** What an unsealed vault holds in memory. The root key itself is wiped once these are derived. */
export type Keyring = { readonly vault: string; readonly retired: readonly RetiredAuditKey[] } & {
  readonly [name in SubkeyName]: Secret;
};

/** The audit key of an earlier root key, which made the entries up to `lastSeq`. */
export interface RetiredAuditKey {
  readonly lastSeq: number;
  readonly key: Secret;
}

export interface Header {
  id: number;
  vault: string;
  format: number;
  /** One more with every change of a row. */
  epoch: number;
  created_at: number;
  mac: Buffer;
  /** `rowsDigest` of all other tables; null until the first change by a sidekey that writes it. */
  digest: Buffer | null;
}

/** Derives the subkeys. The caller wipes `root`; the keyring owns `retired`. */
export function keyringOf(root: Secret, vault: string, retired: readonly RetiredAuditKey[] = []): Keyring {
  const subkeys = (Object.keys(SUBKEYS) as SubkeyName[]).map((name) => {
    const [id, context] = SUBKEYS[name];
    return [name, kdf(root, id, context)] as const;
  });
  return { vault, retired, ...(Object.fromEntries(subkeys) as Record<SubkeyName, Secret>) };
}

/** The key of the header's MAC alone. The caller wipes it. */
export function headerKeyOf(root: Secret): Secret {
  return kdf(root, ...SUBKEYS.header);
}

export function wipeKeyring(keys: Keyring): void {
  for (const name of Object.keys(SUBKEYS) as SubkeyName[]) keys[name].wipe();
  for (const { key } of keys.retired) key.wipe();
}

/** The key that entry `seq` of the audit, or an anchor at it, was made with. */
export function auditKeyFor(keys: Keyring, seq: number): Secret {
  return keys.retired.find(({ lastSeq }) => seq <= lastSeq)?.key ?? keys.audit;
}

/**
 * Gives an empty database its root key, wrapped for `unlocker`, and its header.
 * @throws UnlockError, DatabaseError
 */
export async function createKeyring(db: Database, unlocker: Unlocker, options: WrapOptions): Promise<Keyring> {
  const vault = randomBytes(16).toString("hex");
  const root = Secret.adopt(randomBytes(KEY_BYTES));
  try {
    const wrapper = await wrapRootKey(root, unlocker, vault, options);
    const keys = keyringOf(root, vault);
    const insert = db.transaction(() => {
      insertWrapper(db, wrapper);
      const header = { id: 1, vault, format: VAULT_FORMAT, epoch: 1, created_at: options.now, digest: null };
      const columns =
        "(id, vault, format, epoch, created_at, mac) VALUES (@id, @vault, @format, @epoch, @created_at, @mac)";
      db.prepare(`INSERT INTO vault ${columns}`).run({ ...header, mac: headerMac(keys, header, [wrapper]) });
    });
    guard(db.name, () => insert.immediate());
    return keys;
  } finally {
    root.wipe();
  }
}

/**
 * Opens the root key with the first unlocker that fits, checks the header and derives the subkeys.
 * @returns `by` names the unlocker that fitted
 * @throws VaultSealedError with one problem per unlocker; VaultTamperedError when the wrappers were edited
 */
export async function openKeyring(
  db: Database,
  unlockers: readonly Unlocker[],
): Promise<{ keys: Keyring; by: string }> {
  const { root, by } = await openRootKey(readStanzas(db), unlockers);
  try {
    return { keys: keyringFor(db, root), by };
  } finally {
    root.wipe();
  }
}

/**
 * The keyring of an opened root key, once the header has proven that it is this vault's. The caller wipes `root`.
 * @throws VaultTamperedError when it is not
 */
export function keyringFor(db: Database, root: Secret): Keyring {
  // One snapshot: another process may be changing the wrappers right now.
  return guard(db.name, () => db.transaction(() => keyringInSnapshot(db, root))());
}

function keyringInSnapshot(db: Database, root: Secret): Keyring {
  const keys = keyringOf(root, readHeader(db).vault);
  try {
    assertHeader(db, keys);
    return { ...keys, retired: loadRetired(db, keys) };
  } catch (error) {
    wipeKeyring(keys);
    throw error;
  }
}

/** What has to be opened, read in one snapshot. */
export interface Stanzas {
  readonly vault: string;
  readonly wrappers: readonly Wrapper[];
}

export function readStanzas(db: Database): Stanzas {
  return guard(db.name, () => ({ vault: readHeader(db).vault, wrappers: readWrappers(db) }));
}

/** The root key, by the first unlocker that fits. The caller wipes it. @throws VaultSealedError */
export async function openRootKey(
  { vault, wrappers }: Stanzas,
  unlockers: readonly Unlocker[],
): Promise<{ root: Secret; by: string }> {
  const problems: UnlockProblem[] = [];
  for (const unlocker of unlockers) {
    const by = unlockerName(unlocker);
    try {
      return { root: await unwrapRootKey(wrappers, unlocker, vault), by };
    } catch (error) {
      const code = error instanceof UnlockError ? error.code : "unavailable";
      problems.push({ by, code, message: error instanceof Error ? error.message : String(error) });
    }
  }
  const reasons = problems.map(reasonOf).join("; ");
  throw new VaultSealedError(`the vault stays sealed: ${reasons || "no unlocker is configured"}`, problems);
}

/** Most messages about a key file name it themselves. */
function reasonOf({ by, message }: UnlockProblem): string {
  return message.startsWith(by.replace(/^file /, "")) ? message : `${by}: ${message}`;
}

export function readHeader(db: Database): Header {
  const header = db.prepare("SELECT * FROM vault").get() as Header | undefined;
  if (header === undefined) throw new VaultTamperedError("vault.db vault", "the vault's header is missing");
  if (header.format !== VAULT_FORMAT) {
    throw new VaultTamperedError("vault.db vault", `format ${header.format} is not known to this version`);
  }
  return header;
}

export function readWrappers(db: Database): Wrapper[] {
  return db.prepare("SELECT * FROM wrappers ORDER BY id").all() as Wrapper[];
}

export function insertWrapper(db: Database, wrapper: Wrapper): void {
  const columns = "(id, kind, params, wrapped, created_at) VALUES (@id, @kind, @params, @wrapped, @created_at)";
  db.prepare(`INSERT INTO wrappers ${columns}`).run(wrapper);
}

/** Puts `wrappers` in the place of all that are there. */
export function replaceWrappers(db: Database, wrappers: readonly Wrapper[]): void {
  if (wrappers.length === 0) throw new VaultError("refused", "without a wrapper nothing would open the vault");
  db.prepare("DELETE FROM wrappers").run();
  for (const wrapper of wrappers) insertWrapper(db, wrapper);
}

/** @returns the kind of the deleted stanza @throws VaultError not_found, or refused for the last one */
export function deleteWrapper(db: Database, id: string): string {
  const wrappers = readWrappers(db);
  const found = wrappers.find((wrapper) => wrapper.id === id);
  if (found === undefined)
    throw new VaultError("not_found", `there is no wrapper ${id}; \`sidekey vault wrapper list\` shows them`);
  if (wrappers.length === 1) {
    throw new VaultError("refused", "this is the last wrapper: without it nothing opens the vault. Add another first");
  }
  db.prepare("DELETE FROM wrappers WHERE id = ?").run(id);
  return found.kind;
}

/**
 * The next epoch, and a header MAC over what is there now. The ledger does this once in every transaction that
 * changes rows, after having verified the header as it was.
 * @param digest `rowsDigest` after the change
 */
export function renewHeader(db: Database, keys: Keyring, digest: Buffer): { epoch: number; digest: Buffer } {
  const header = readHeader(db);
  const renewed = { ...header, epoch: header.epoch + 1, digest };
  const value = headerMac(keys, renewed, readWrappers(db));
  db.prepare("UPDATE vault SET epoch = ?, digest = ?, mac = ?").run(renewed.epoch, digest, value);
  return renewed;
}

/** Whether the header was made with these keys: not after a root rotation, nor after an edit. */
export function headerFits(db: Database, keys: Keyring): boolean {
  const header = readHeader(db);
  return constantTimeEqual(header.mac, headerMac(keys, header, readWrappers(db)));
}

/** @throws VaultTamperedError when a stanza, the epoch or anything else in the header is not ours */
export function assertHeader(db: Database, keys: Keyring): void {
  if (headerFits(db, keys)) return;
  throw new VaultTamperedError("vault.db wrappers", "a wrapper or the header was edited, added or removed");
}

function headerMac(keys: Keyring, header: Omit<Header, "mac">, wrappers: readonly Wrapper[]): Buffer {
  const { vault, format, epoch, created_at } = header;
  // Absent rather than null: so the MAC of a header without one is what it was before the column existed.
  const digest = header.digest === null ? {} : { digest: header.digest.toString("hex") };
  const stanzas = [...wrappers]
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .map(({ id, kind, params, wrapped, created_at }) => ({
      id,
      kind,
      params,
      wrapped: wrapped.toString("base64"),
      created_at,
    }));
  return mac(keys.header, canonicalBytes({ created_at, ...digest, epoch, format, vault, wrappers: stanzas }));
}
