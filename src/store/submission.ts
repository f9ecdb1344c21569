import { z } from "zod";
import { type Secret, secretBuffer } from "../secret.ts";
import { canonicalBytes, canonicalJson } from "./canonical.ts";
import { openCategory } from "./categories.ts";
import type { Owner } from "./credentials.ts";
import {
  aeadOpen,
  aeadSeal,
  BOX_SEAL_BYTES,
  boxSeal,
  boxSealOpen,
  DecryptError,
  KEY_BYTES,
  randomBytes,
} from "./crypto.ts";
import { SubmissionError, VaultSealedError } from "./errors.ts";
import { decodeFields, encodeFields } from "./field-bytes.ts";
import type { Keyring } from "./keyring.ts";
import type { VaultView } from "./ledger.ts";
import type { SubmissionKey } from "./public-keys.ts";
import { getRows } from "./rows.ts";
import {
  digestOf,
  renderSubmission,
  SUBMISSION_FORMAT,
  type Submission,
  type SubmissionHeader,
} from "./submission-text.ts";
import { fingerprintOf } from "./versions.ts";

/*
 * What is sealed in a submission. Numbers are big-endian.
 *
 *   body  = u8 format = 1 | crypto_box_seal(DEK, category's public key) (80 B) | nonce (24 B) | ciphertext | tag (16 B)
 *   AEAD  = XChaCha20-Poly1305-IETF(DEK, AAD = canonical JSON of the header with `format` and `kind: "submission"`)
 *   plain = u32 length | canonical JSON of SubmissionDetails | the fields as field-bytes.ts writes them
 *
 * The header is sealed twice: as the AAD, so that nobody can edit it, and inside, so that whoever sealed cannot make
 * it say something else than what is stored.
 */

/** Everything about a submitted key but the key. */
export interface SubmissionDetails extends SubmissionHeader {
  /** Random, 32 hex digits: the same key sealed twice is two submissions. */
  readonly id: string;
  readonly environment: string;
  readonly owner: Owner;
  /** ms since the epoch */
  readonly expires: number | null;
}

export interface OpenedSubmission {
  readonly details: SubmissionDetails;
  /** The caller wipes them. */
  readonly fields: Map<string, Secret>;
  /** As the stored version will have it. */
  readonly fingerprint: string;
}

export type SubmissionPlan = Pick<
  SubmissionDetails,
  "provider" | "name" | "hosts" | "environment" | "owner" | "expires"
>;

const SEALED_KEY_BYTES = BOX_SEAL_BYTES + KEY_BYTES;

const detailsSchema = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{32}$/),
  vault: z.string(),
  category: z.string(),
  generation: z.int(),
  provider: z.string(),
  name: z.string(),
  hosts: z.array(z.string()),
  created: z.string(),
  environment: z.string().regex(/^[\x21-\x7e]{1,64}$/),
  owner: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("service") }),
    z.strictObject({ kind: z.literal("user"), id: z.string().regex(/^[\x21-\x7e]{1,128}$/) }),
  ]),
  expires: z.int().nullable(),
});

/**
 * Seals `fields` for whoever can unseal the vault of `key`. Needs no vault; await `ready()` of crypto.ts before.
 * @param nowMs by this machine's clock
 * @throws SubmissionError too_large, bad_public_keys
 */
export function sealSubmission(
  key: SubmissionKey,
  plan: SubmissionPlan,
  fields: ReadonlyMap<string, Secret>,
  nowMs: number,
): { text: string; digest: string } {
  const { vault, category, generation } = key;
  const { provider, name, environment, owner, expires } = plan;
  const hosts = [...new Set(plan.hosts)].sort();
  const header = { vault, category, generation, provider, name, hosts, created: new Date(nowMs).toISOString() };
  const details = { ...header, id: randomBytes(16).toString("hex"), environment, owner: { ...owner }, expires };
  const plain = encodePlain(Buffer.from(canonicalJson(details), "utf8"), fields);
  const dataKey = randomBytes(KEY_BYTES);
  try {
    const parts = [sealDataKey(key.publicKey, dataKey), aeadSeal(dataKey, plain, headerAad(header))];
    const text = renderSubmission(header, Buffer.concat([Buffer.of(SUBMISSION_FORMAT), ...parts]));
    return { text, digest: digestOf(text) };
  } finally {
    dataKey.fill(0);
    plain.fill(0);
  }
}

function sealDataKey(publicKey: Buffer, dataKey: Buffer): Buffer {
  try {
    return boxSeal(publicKey, dataKey);
  } catch (error) {
    if (!(error instanceof DecryptError)) throw error;
    throw new SubmissionError("bad_public_keys", `the public key file: ${error.message}`);
  }
}

function encodePlain(details: Buffer, fields: ReadonlyMap<string, Secret>): Buffer {
  const encoded = encodeFields(fields);
  const plain = secretBuffer(4 + details.length + encoded.length);
  plain.writeUInt32BE(details.length, 0);
  details.copy(plain, 4);
  encoded.copy(plain, 4 + details.length);
  encoded.fill(0);
  return plain;
}

function headerAad(header: SubmissionHeader): Buffer {
  const { vault, category, generation, provider, name, hosts, created } = header;
  const facts = { vault, category, generation, provider, name, hosts, created };
  return canonicalBytes({ ...facts, format: SUBMISSION_FORMAT, kind: "submission" });
}

/**
 * Opens a submission that this vault has not accepted yet. Whether what is in it may be stored is another question.
 * @throws SubmissionError already_accepted, foreign_vault, unknown_generation, destroyed_key, category_sealed, damaged
 * or inconsistent; VaultSealedError, VaultTamperedError
 */
export function openSubmission(view: VaultView, submission: Submission): OpenedSubmission {
  const { keys } = view;
  if (keys === null) throw new VaultSealedError("the vault is sealed; unseal it to open submissions");
  assertNew(view, submission.digest);
  assertOpenable(view, keys, submission.header);
  const plain = decrypt(view, keys, submission);
  try {
    if (plain.length < 4) throw inconsistent("what is sealed in it is too short");
    const length = plain.readUInt32BE(0);
    const details = parseDetails(plain.subarray(4, 4 + length), submission.header);
    const encoded = plain.subarray(4 + length);
    return { details, fields: readFields(encoded), fingerprint: fingerprintOf(keys, encoded) };
  } finally {
    plain.fill(0);
  }
}

interface AcceptedRow {
  digest: string;
  credential: string;
  version: number;
  accepted_at: number;
}

/** Whether a submission with this digest was accepted, ever. */
export function wasAccepted({ db, keys }: VaultView, digest: string): boolean {
  return getRows<AcceptedRow>(db, keys, "submissions", { digest }).length > 0;
}

/** @throws SubmissionError already_accepted */
export function assertNew({ db, keys }: VaultView, digest: string): void {
  const row = getRows<AcceptedRow>(db, keys, "submissions", { digest })[0];
  if (row === undefined) return;
  const name = getRows<{ name: string }>(db, keys, "credentials", { id: row.credential })[0]?.name;
  const what = name === undefined ? "a credential that was removed since" : `${name} version ${row.version}`;
  throw new SubmissionError(
    "already_accepted",
    `this submission was accepted on ${new Date(row.accepted_at).toISOString()} as ${what}; seal the key again to store it anew`,
  );
}

function assertOpenable({ db }: VaultView, keys: Keyring, header: SubmissionHeader): void {
  const { vault, category, generation } = header;
  const anew = "seal again with a fresh `sidekey vault public-key`";
  if (vault !== keys.vault) {
    throw new SubmissionError("foreign_vault", `sealed for vault ${vault}, but this one is ${keys.vault}; ${anew}`);
  }
  const row = getRows<{ generation: number; state: string }>(db, keys, "categories", { name: category })[0];
  const sealedTo = `sealed to key generation ${generation} of category ${category}`;
  if (row === undefined || generation > row.generation) {
    throw new SubmissionError("unknown_generation", `${sealedTo}, which this vault never had; ${anew}`);
  }
  const retired = getRows(db, keys, "category_generations", { name: category, generation });
  if (row.state === "destroyed" || (generation < row.generation && retired.length === 0)) {
    throw new SubmissionError("destroyed_key", `${sealedTo}, which was destroyed; ${anew}`);
  }
  if (row.state === "disabled") {
    throw new SubmissionError("category_sealed", `category ${category} is sealed; unseal it to open this submission`);
  }
}

function decrypt({ db }: VaultView, keys: Keyring, { header, body }: Submission): Buffer {
  // The text says format 1 as well, and nobody could have changed only one of the two.
  if (body[0] !== SUBMISSION_FORMAT || body.length <= 1 + SEALED_KEY_BYTES) throw damaged();
  const { publicKey, privateKey } = openCategory(db, keys, header.category, header.generation);
  let dataKey: Buffer | null = null;
  try {
    dataKey = privateKey.use((key) => boxSealOpen(publicKey, key, body.subarray(1, 1 + SEALED_KEY_BYTES)));
    if (dataKey.length !== KEY_BYTES) throw damaged();
    return aeadOpen(dataKey, body.subarray(1 + SEALED_KEY_BYTES), headerAad(header));
  } catch (error) {
    throw error instanceof DecryptError ? damaged() : error;
  } finally {
    privateKey.wipe();
    dataKey?.fill(0);
  }
}

/** From here on everything was sealed with our key, but by anybody: it is parsed as a stranger's. */
function parseDetails(json: Buffer, header: SubmissionHeader): SubmissionDetails {
  const parsed = detailsSchema.safeParse(jsonValue(json));
  if (!parsed.success) throw inconsistent("what is sealed in it is no description of a credential");
  const details = parsed.data;
  if (!headerAad(details).equals(headerAad(header))) {
    throw inconsistent("its visible header says something else than what is sealed in it");
  }
  return details;
}

function jsonValue(json: Buffer): unknown {
  try {
    return JSON.parse(json.toString("utf8"));
  } catch {
    return null;
  }
}

function readFields(encoded: Buffer): Map<string, Secret> {
  try {
    return decodeFields(encoded);
  } catch {
    throw inconsistent("the fields sealed in it are malformed");
  }
}

function damaged(): SubmissionError {
  return new SubmissionError("damaged", "the submission does not open: it was changed on the way; seal it again");
}

function inconsistent(what: string): SubmissionError {
  return new SubmissionError("inconsistent", `the submission is refused: ${what}; ask whoever sealed it`);
}
