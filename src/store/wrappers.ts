import { Secret } from "../secret.ts";
import { canonicalBytes } from "./canonical.ts";
import { aeadOpen, aeadSeal, DecryptError, randomBytes } from "./crypto.ts";
import { UnlockError } from "./errors.ts";
import { ensureKeyFile } from "./key-file.ts";
import { type AwsKmsUnlocker, openAwsKms } from "./wrappers/aws-kms.ts";
import { withDeadline } from "./wrappers/deadline.ts";
import { type ExecUnlocker, openExec } from "./wrappers/exec.ts";
import { type FileUnlocker, openFile } from "./wrappers/file.ts";
import type { OpenContext, Opener } from "./wrappers/opener.ts";
import { openPassphrase, type PassphraseUnlocker } from "./wrappers/passphrase.ts";
import { machineSources, tunedCost } from "./wrappers/passphrase-cost.ts";
import { newShareSet, openShares, type SharesUnlocker } from "./wrappers/shares.ts";
import { openSystemd, type SystemdUnlocker } from "./wrappers/systemd.ts";
import { openTransit, type TransitUnlocker } from "./wrappers/vault-transit.ts";

/** One way to open the vault: where its key is, not the key. */
export type Unlocker =
  | FileUnlocker
  | PassphraseUnlocker
  | SystemdUnlocker
  | ExecUnlocker
  | TransitUnlocker
  | AwsKmsUnlocker
  | SharesUnlocker;

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

export interface WrapOptions {
  /** of a new passphrase stanza; found by measuring when there is none */
  readonly cost?: PassphraseCost | undefined;
  /** ms since the epoch */
  readonly now: number;
  /** of the new stanza; random unless given */
  readonly id?: string;
}

const DEFAULT_TIMEOUT_MS = 10_000;
/** Somebody types there. */
const UNHURRIED: ReadonlySet<Unlocker["kind"]> = new Set(["passphrase", "shares"]);
/** Kinds that need another machine or another program to answer. What is behind `exec` is unknown, so it counts. */
const REMOTE_KINDS: ReadonlySet<string> = new Set(["exec", "vault-transit", "aws-kms"]);

/** How problems and audit entries name an unlocker. */
export function unlockerName(unlocker: Unlocker): string {
  switch (unlocker.kind) {
    case "file":
      return `file ${unlocker.path}`;
    case "systemd":
      return `systemd ${unlocker.name}`;
    case "exec":
      return `exec ${unlocker.argv[0]}`;
    case "vault-transit":
      return `vault-transit ${unlocker.address} ${unlocker.mount}/${unlocker.key}`;
    case "aws-kms":
      return `aws-kms ${unlocker.key} in ${unlocker.region}`;
    default:
      return unlocker.kind;
  }
}

/**
 * Encrypts `root` for `unlocker`, which has to show right away that it can open what it makes. A missing key file is
 * created.
 * @throws UnlockError, DatabaseError
 */
export async function wrapRootKey(
  root: Secret,
  unlocker: Unlocker,
  vault: string,
  options: WrapOptions,
): Promise<Wrapper> {
  const stanza = { id: options.id ?? newWrapperId(), kind: unlocker.kind, created_at: options.now };
  if (unlocker.kind === "file") ensureKeyFile(unlocker.path);
  return await withOpener(unlocker, options, async (opener) => {
    const { params, key } = await opener.newKey({ vault, wrapper: stanza.id });
    return sealed({ ...stanza, params }, { root, key, vault });
  });
}

/**
 * Encrypts `root` for the holders of a new set of shares.
 * @returns the stanza, which must not be stored before the shares have been typed back, and the shares in words, to be
 *   shown once; the caller wipes them
 * @throws UnlockError malformed when there can be no such set
 */
export function wrapForShares(
  root: Secret,
  set: { threshold: number; count: number },
  vault: string,
  now: number,
): { wrapper: Wrapper; shares: readonly Secret[] } {
  const { params, key, shares } = newShareSet(set);
  return {
    wrapper: sealed({ id: newWrapperId(), kind: "shares", params, created_at: now }, { root, key, vault }),
    shares,
  };
}

/**
 * Tries one unlocker on every stanza of its kind.
 * @throws UnlockError when none opens
 */
export async function unwrapRootKey(wrappers: readonly Wrapper[], unlocker: Unlocker, vault: string): Promise<Secret> {
  const opened = await openAny(wrappers, unlocker, vault);
  opened.key.wipe();
  return opened.root;
}

/**
 * The same stanza for another root key, for root rotation: same id, kind, params and key. So the passphrase, the
 * shares and what the key service keeps all stay as they are.
 * @throws UnlockError when `unlocker` does not open the stanza as it is now
 */
export async function rewrapRootKey(
  newRoot: Secret,
  stanza: Wrapper,
  unlocker: Unlocker,
  vault: string,
): Promise<Wrapper> {
  const { key, root } = await openAny([stanza], unlocker, vault);
  root.wipe();
  const { wrapped: _, ...rest } = stanza;
  return sealed(rest, { root: newRoot, key, vault });
}

interface Opened {
  readonly root: Secret;
  readonly key: Secret;
}

async function openAny(wrappers: readonly Wrapper[], unlocker: Unlocker, vault: string): Promise<Opened> {
  const stanzas = wrappers.filter((wrapper) => wrapper.kind === unlocker.kind);
  if (stanzas.length === 0) {
    throw new UnlockError("no_wrapper", `this vault has no ${unlocker.kind} wrapper; it has: ${kinds(wrappers)}`);
  }
  const open = async (opener: Opener): Promise<Opened> => {
    const problems: UnlockError[] = [];
    for (const stanza of stanzas) {
      try {
        const opened = await openStanza(stanza, opener, vault);
        if (opened !== null) return opened;
      } catch (error) {
        // It may be about another server's stanza: the next one still gets its turn.
        if (!(error instanceof UnlockError)) throw error;
        problems.push(error);
      }
    }
    throw problems[0] ?? opener.mismatch;
  };
  return await withOpener(unlocker, { now: Date.now() }, open, ({ root, key }) => {
    root.wipe();
    key.wipe();
  });
}

/** @returns null when the stanza is for another unlocker of the kind */
async function openStanza(stanza: Wrapper, opener: Opener, vault: string): Promise<Opened | null> {
  const key = await opener.keyOf(stanza, { vault, wrapper: stanza.id });
  if (key === null) return null;
  try {
    const root = Secret.adopt(key.use((bytes) => aeadOpen(bytes, stanza.wrapped, wrapperAad(vault, stanza))));
    return { root, key };
  } catch (error) {
    key.wipe();
    if (error instanceof DecryptError) return null;
    throw error;
  }
}

async function withOpener<T>(
  unlocker: Unlocker,
  options: Pick<WrapOptions, "cost" | "now">,
  work: (opener: Opener) => Promise<T>,
  discard: (late: T) => void = () => undefined,
): Promise<T> {
  const patience = UNHURRIED.has(unlocker.kind) ? null : DEFAULT_TIMEOUT_MS;
  const run = async (signal: AbortSignal): Promise<T> => {
    const opener = await startOpener(unlocker, { signal, now: () => options.now }, options.cost);
    try {
      return await work(opener);
    } finally {
      opener.wipe();
    }
  };
  return await withDeadline(unlocker.timeoutMs ?? patience, unlockerName(unlocker), run, discard);
}

function startOpener(unlocker: Unlocker, context: OpenContext, cost: PassphraseCost | undefined): Promise<Opener> {
  switch (unlocker.kind) {
    case "file":
      return openFile(unlocker);
    case "passphrase":
      return openPassphrase(unlocker, async () => cost ?? (await tunedCost(machineSources(() => performance.now()))));
    case "systemd":
      return openSystemd(unlocker);
    case "exec":
      return openExec(unlocker, context);
    case "vault-transit":
      return openTransit(unlocker, context);
    case "aws-kms":
      return openAwsKms(unlocker, context);
    case "shares":
      return openShares(unlocker);
  }
}

/** Wipes the key. */
function sealed(
  stanza: Omit<Wrapper, "wrapped">,
  { root, key, vault }: { root: Secret; key: Secret; vault: string },
): Wrapper {
  const aad = wrapperAad(vault, stanza);
  const wrapped = key.use((keyBytes) => root.use((rootBytes) => aeadSeal(keyBytes, rootBytes, aad)));
  key.wipe();
  return { ...stanza, wrapped };
}

function newWrapperId(): string {
  return randomBytes(8).toString("hex");
}

function wrapperAad(vault: string, wrapper: Omit<Wrapper, "wrapped">): Buffer {
  const { id, kind, params } = wrapper;
  return canonicalBytes({ format: 1, kind, params, vault, wrapper: id });
}

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
    "add a way of your own: `sidekey vault shares split`, kept on paper, or `sidekey vault wrapper add passphrase`";
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
