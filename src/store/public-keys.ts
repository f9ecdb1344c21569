import { KEY_BYTES, sha256 } from "./crypto.ts";
import { SubmissionError, VaultSealedError } from "./errors.ts";
import type { VaultView } from "./ledger.ts";
import { getRows } from "./rows.ts";

/*
 * The public half of a vault, as a text file that `sidekey seal` needs and nothing else does:
 *
 *   -----BEGIN SIDEKEY PUBLIC KEYS-----
 *   format: 1
 *   vault: <32 hex digits>
 *   key: <category> <generation> <base64 of 32 bytes>      one line per category, by name
 *   checksum: <32 hex digits>                              SHA-256 of every line above, first 16 bytes
 *   -----END SIDEKEY PUBLIC KEYS-----
 *
 * The checksum finds accidents. Whoever can exchange the file can exchange the checksum too, so people compare it
 * over a channel that they trust.
 */

/** What a submission is sealed to. */
export interface SubmissionKey {
  readonly vault: string;
  readonly category: string;
  readonly generation: number;
  readonly publicKey: Buffer;
}

export interface PublicKeys {
  readonly vault: string;
  /** By category. */
  readonly keys: ReadonlyMap<string, SubmissionKey>;
  /** 32 hex digits. */
  readonly checksum: string;
}

const FORMAT = 1;
const BEGIN = "-----BEGIN SIDEKEY PUBLIC KEYS-----";
const END = "-----END SIDEKEY PUBLIC KEYS-----";
const CHECKSUM_DIGITS = 32;
/** Largest file, in bytes: hundreds of categories. */
export const MAX_PUBLIC_KEYS_BYTES = 64 * 1024;

interface CategoryColumns {
  name: string;
  generation: number;
  state: string;
  public_key: Buffer;
}

/**
 * The file's text. The vault must be unsealed: unverified rows could hold somebody else's keys.
 * @throws VaultSealedError, VaultTamperedError
 */
export function exportPublicKeys({ db, keys }: VaultView): string {
  if (keys === null) throw new VaultSealedError("the vault is sealed; its public keys cannot be verified");
  const rows = getRows<CategoryColumns>(db, keys, "categories").filter(({ state }) => state !== "destroyed");
  return render(
    keys.vault,
    rows.map((row) => ({ category: row.name, generation: row.generation, publicKey: row.public_key })),
  );
}

function render(vault: string, keys: readonly Omit<SubmissionKey, "vault">[]): string {
  const lines = keys.map(
    ({ category, generation, publicKey }) => `key: ${category} ${generation} ${publicKey.toString("base64")}\n`,
  );
  const head = `${BEGIN}\nformat: ${FORMAT}\nvault: ${vault}\n${lines.join("")}`;
  return `${head}checksum: ${checksumOf(head)}\n${END}\n`;
}

function checksumOf(head: string): string {
  return sha256(head).toString("hex").slice(0, CHECKSUM_DIGITS);
}

/** Reads what `exportPublicKeys` wrote; line ends and blanks around it may differ. @throws SubmissionError */
export function parsePublicKeys(text: string): PublicKeys {
  const whole = `${text.replaceAll("\r\n", "\n").replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, "")}\n`;
  if (!whole.startsWith(`${BEGIN}\n`)) refuse("is no public key file; make one with `sidekey vault public-key`");
  const format = /^format: ([1-9]\d{0,8})$/m.exec(whole)?.[1];
  if (Number(format) > FORMAT) refuse(`has format ${format}, which this sidekey does not know; upgrade it`);
  const vault = /^vault: ([0-9a-f]{32})$/m.exec(whole)?.[1] ?? "";
  const keys = [...whole.matchAll(/^key: ([a-z][a-z-]{0,31}) ([1-9]\d{0,8}) ([A-Za-z0-9+/]{43}=)$/gm)].map(
    ([, category = "", generation = "", key = ""]) => ({
      vault,
      category,
      generation: Number(generation),
      publicKey: Buffer.from(key, "base64"),
    }),
  );
  // One spelling only: whatever was changed, cut or added, the text made from what was read differs.
  if (render(vault, keys) !== whole) refuse("is damaged; export it again with `sidekey vault public-key`");
  if (keys.some(({ publicKey }) => publicKey.length !== KEY_BYTES)) refuse("holds a key of the wrong length");
  const checksum = /^checksum: ([0-9a-f]+)$/m.exec(whole)?.[1] ?? "";
  return { vault, keys: new Map(keys.map((key) => [key.category, key])), checksum };
}

function refuse(problem: string): never {
  throw new SubmissionError("bad_public_keys", `the public key file ${problem}`);
}
