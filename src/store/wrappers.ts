import { Secret } from "../secret.ts";
import { canonicalBytes, canonicalJson } from "./canonical.ts";
import { aeadOpen, aeadSeal, argon2id, DecryptError, kdf, randomBytes, SALT_BYTES } from "./crypto.ts";
import { UnlockError } from "./errors.ts";
import { ensureKeyFile, readKeyFile } from "./key-file.ts";

/** One way to open the vault. `read` asks for the passphrase; the store wipes what it returns. */
export type Unlocker = { kind: "file"; path: string } | { kind: "passphrase"; read: () => Promise<Secret> };

/** A stanza: the root key, encrypted for one unlocker. `params` is canonical JSON and part of the AAD. */
export interface Wrapper {
  id: string;
  kind: string;
  params: string;
  wrapped: Buffer;
  created_at: number;
}

/** Argon2id cost. Stored in each stanza, so it can be raised later without breaking old ones. */
export interface PassphraseCost {
  passes: number;
  memoryBytes: number;
}

/** libsodium's MODERATE: about half a second and 256 MiB per guess. */
export const PASSPHRASE_COST: PassphraseCost = { passes: 3, memoryBytes: 256 * 1024 * 1024 };

// Bounds on what a stanza may ask of us: params are read before anything can be authenticated.
const MAX_PASSES = 64;
const MAX_MEMORY_BYTES = 2 * 1024 ** 3;
const MIN_PASSPHRASE_BYTES = 8;

/** How problems and audit entries name an unlocker. */
export function unlockerName(unlocker: Unlocker): string {
  return unlocker.kind === "file" ? `file ${unlocker.path}` : "passphrase";
}

/**
 * Encrypts `root` for `unlocker`. A missing key file is created.
 * @throws UnlockError, DatabaseError
 */
export async function wrapRootKey(
  root: Secret,
  unlocker: Unlocker,
  vault: string,
  options: { cost: PassphraseCost; now: number },
): Promise<Wrapper> {
  const stanza = { id: randomBytes(8).toString("hex"), kind: unlocker.kind, created_at: options.now };
  if (unlocker.kind === "file") ensureKeyFile(unlocker.path);
  const opener = await openUnlocker(unlocker);
  try {
    if (unlocker.kind === "passphrase" && opener.length < MIN_PASSPHRASE_BYTES) {
      throw new UnlockError(
        "malformed",
        `the passphrase has less than ${MIN_PASSPHRASE_BYTES} bytes; use a longer one`,
      );
    }
    const params = unlocker.kind === "file" ? fileParams(opener) : passphraseParams(options.cost);
    const key = await wrappingKey(stanza.kind, params, opener);
    const aad = wrapperAad(vault, { ...stanza, params });
    const wrapped = key.use((keyBytes) => root.use((rootBytes) => aeadSeal(keyBytes, rootBytes, aad)));
    key.wipe();
    return { ...stanza, params, wrapped };
  } finally {
    opener.wipe();
  }
}

/**
 * Tries one unlocker on every stanza of its kind.
 * @throws UnlockError when none opens
 */
export async function unwrapRootKey(wrappers: readonly Wrapper[], unlocker: Unlocker, vault: string): Promise<Secret> {
  const stanzas = wrappers.filter((wrapper) => wrapper.kind === unlocker.kind);
  if (stanzas.length === 0) {
    throw new UnlockError("no_wrapper", `this vault has no ${unlocker.kind} wrapper; it has: ${kinds(wrappers)}`);
  }
  const opener = await openUnlocker(unlocker);
  try {
    for (const stanza of stanzas) {
      if (unlocker.kind === "file" && stanza.params !== fileParams(opener)) continue;
      const root = await tryStanza(stanza, opener, vault);
      if (root !== null) return root;
    }
  } finally {
    opener.wipe();
  }
  if (unlocker.kind === "file") {
    throw new UnlockError(
      "wrong_key",
      `${unlocker.path} is the key of another vault, or the vault's file wrapper was changed; put the right key file back`,
    );
  }
  throw new UnlockError("wrong_passphrase", "the passphrase is wrong, or the vault's passphrase wrapper was changed");
}

async function tryStanza(stanza: Wrapper, opener: Secret, vault: string): Promise<Secret | null> {
  const key = await wrappingKey(stanza.kind, stanza.params, opener);
  try {
    return Secret.adopt(key.use((bytes) => aeadOpen(bytes, stanza.wrapped, wrapperAad(vault, stanza))));
  } catch (error) {
    if (error instanceof DecryptError) return null;
    throw error;
  } finally {
    key.wipe();
  }
}

async function openUnlocker(unlocker: Unlocker): Promise<Secret> {
  if (unlocker.kind === "file") return readKeyFile(unlocker.path);
  return await unlocker.read();
}

async function wrappingKey(kind: string, params: string, opener: Secret): Promise<Secret> {
  if (kind === "file") return kdf(opener, 2, "skfilewr");
  const { salt, passes, memory } = parsePassphraseParams(params);
  return await argon2id(opener, salt, passes, memory);
}

/** The key file's public name, so that a wrong file is told from a damaged stanza. */
function fileParams(key: Secret): string {
  const name = kdf(key, 1, "skfileid");
  const id = name.use((bytes) => bytes.toString("hex", 0, 8));
  name.wipe();
  return canonicalJson({ key: id });
}

function passphraseParams(cost: PassphraseCost): string {
  const salt = randomBytes(SALT_BYTES).toString("hex");
  return canonicalJson({ memory: cost.memoryBytes, passes: cost.passes, salt });
}

function parsePassphraseParams(params: string): { salt: Buffer; passes: number; memory: number } {
  const { memory, passes, salt } = parseObject(params);
  const bytes = Buffer.from(typeof salt === "string" ? salt : "", "hex");
  const sane =
    typeof memory === "number" &&
    typeof passes === "number" &&
    Number.isSafeInteger(memory * passes) &&
    memory >= 8192 &&
    memory <= MAX_MEMORY_BYTES &&
    passes >= 1 &&
    passes <= MAX_PASSES &&
    bytes.length === SALT_BYTES;
  if (!sane) throw new UnlockError("malformed", "the vault's passphrase wrapper was changed; restore a backup");
  return { salt: bytes, passes, memory };
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

function wrapperAad(vault: string, wrapper: Omit<Wrapper, "wrapped">): Buffer {
  const { id, kind, params } = wrapper;
  return canonicalBytes({ format: 1, kind, params, vault, wrapper: id });
}

/** Kinds that need another machine or another program to answer. What is behind `exec` is unknown, so it counts. */
const REMOTE_KINDS: ReadonlySet<string> = new Set(["exec", "vault-transit", "aws-kms"]);

export function isRemote(kind: string): boolean {
  return REMOTE_KINDS.has(kind);
}

/**
 * What is risky about the only ways to open a vault or a backup, one sentence each with what to do; none when all is
 * well. Shown when a vault is made, when its wrappers change, and when a backup is made.
 */
export function wrapperWarnings(wrappers: readonly { kind: string }[]): string[] {
  const [only] = wrappers;
  if (only === undefined) return [];
  const remedy =
    "add a way of your own: `sidekey vault shares split`, kept on paper, or `vault wrapper add passphrase`";
  if (wrappers.every(({ kind }) => isRemote(kind))) {
    const lost = "without that service, its key or your account there, every credential is lost";
    const what =
      wrappers.length === 1 ? `only one remote wrapper (${only.kind})` : `only remote wrappers (${kinds(wrappers)})`;
    return [`${what} can open this vault: ${lost}; ${remedy}`];
  }
  if (wrappers.every(({ kind }) => kind === "systemd")) {
    return [`only a systemd credential can open this vault, and it may be bound to this machine; ${remedy}`];
  }
  return [];
}

function kinds(wrappers: readonly { kind: string }[]): string {
  return [...new Set(wrappers.map((wrapper) => wrapper.kind))].join(", ") || "none";
}
