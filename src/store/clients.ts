import { constantTimeEqual, randomBytes, sha256 } from "./crypto.ts";
import { VaultError } from "./errors.ts";
import type { VaultTransaction, VaultView } from "./ledger.ts";
import { getRows, putRow } from "./rows.ts";

/** A client's token, without its secret part. */
export interface ClientToken {
  readonly id: string;
  readonly client: string;
  readonly label: string;
  readonly createdAt: number;
  /** ms since the epoch */
  readonly expiresAt: number | null;
  /** ms since the epoch; the row stays, so that a revoked token is told from an unknown one in the list */
  readonly revokedAt: number | null;
}

interface TokenRow {
  id: string;
  client: string;
  label: string;
  digest: Buffer;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
  mac: Buffer;
}

const PREFIX = "skc_";
const ID_CHARACTERS = 10;
const SECRET_BYTES = 32;
const SECRET_CHARACTERS = 43;
const TOKEN_CHARACTERS = PREFIX.length + ID_CHARACTERS + 1 + SECRET_CHARACTERS;
const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";
const CLIENT_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
/** Shown in lists, so nothing that breaks a line. */
const LABEL = /^\P{Cc}{0,200}$/u;
/** Compared with when no token has the id: no SHA-256 of anything we hand out. */
const NO_DIGEST = Buffer.alloc(32);

export function isClientName(text: string): boolean {
  return CLIENT_NAME.test(text);
}

/**
 * Makes a token `skc_<10 base32>_<43 base64url>`. Only the SHA-256 of the last part is stored; 256 random bits
 * need no slow hash.
 * @returns `token` can never be shown again
 */
export function addClientToken(
  { db, keys, now, note }: VaultTransaction,
  client: string,
  options: { expiresAt?: number | null; label?: string },
  actor: string,
): { token: string; id: string } {
  if (!isClientName(client)) {
    throw new VaultError(
      "invalid",
      `client "${client}": use 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit`,
    );
  }
  if (!LABEL.test(options.label ?? "")) {
    throw new VaultError("invalid", `the label of a token of ${client}: use up to 200 characters, no line breaks`);
  }
  const id = [...randomBytes(ID_CHARACTERS)].map((byte) => BASE32.charAt(byte & 31)).join("");
  const secret = randomBytes(SECRET_BYTES).toString("base64url");
  const [label, expiresAt] = [options.label ?? "", options.expiresAt ?? null];
  putRow(db, keys, "client_tokens", {
    id,
    client,
    label,
    digest: sha256(secret),
    created_at: now,
    expires_at: expiresAt,
    revoked_at: null,
  });
  const detail = { token: id, label, ...(expiresAt === null ? {} : { expiresAt }) };
  note({ actor, action: "client.add-token", object: `client:${client}`, detail });
  return { token: `${PREFIX}${id}_${secret}`, id };
}

/** All tokens, by client and age. */
export function listClientTokens({ db, keys }: VaultView): ClientToken[] {
  const list = getRows<TokenRow>(db, keys, "client_tokens").map(describe);
  return list.sort((a, b) => a.client.localeCompare(b.client, "en") || a.createdAt - b.createdAt);
}

/**
 * Revokes one token by its id, or every token of a client.
 * @returns the ids that were revoked now; earlier revocations keep their time
 * @throws VaultError not_found
 */
export function revokeClientTokens(transaction: VaultTransaction, clientOrId: string, actor: string): string[] {
  const { db, keys, now, note } = transaction;
  const byId = getRows<TokenRow>(db, keys, "client_tokens", { id: clientOrId });
  const rows = byId.length > 0 ? byId : getRows<TokenRow>(db, keys, "client_tokens", { client: clientOrId });
  const [first] = rows;
  if (first === undefined) {
    throw new VaultError(
      "not_found",
      `no client and no token is called "${clientOrId}"; \`sidekey client list\` shows them`,
    );
  }
  const live = rows.filter((row) => row.revoked_at === null);
  for (const row of live) putRow(db, keys, "client_tokens", { ...row, revoked_at: now });
  const ids = live.map((row) => row.id);
  note({ actor, action: "client.revoke-token", object: `client:${first.client}`, detail: { tokens: ids.join(" ") } });
  return ids;
}

/** The tokens as they were when it was loaded; load again when `vault.dataVersion()` has changed. */
export class TokenTable {
  readonly #rows: ReadonlyMap<string, TokenRow>;

  constructor(rows: readonly TokenRow[]) {
    this.#rows = new Map(rows.map((row) => [row.id, row]));
  }

  /**
   * Whose token this is, or null when it is unknown, wrong, expired or revoked. Every answer costs one hash and
   * one comparison, so the time does not tell which ids exist.
   */
  verify(token: string, nowMs: number): { client: string; tokenId: string } | null {
    const [idAt, secretAt] = [PREFIX.length, PREFIX.length + ID_CHARACTERS + 1];
    const id = token.slice(idAt, idAt + ID_CHARACTERS);
    const digest = sha256(token.slice(secretAt, secretAt + SECRET_CHARACTERS));
    const row = this.#rows.get(id);
    const matches = constantTimeEqual(digest, row?.digest ?? NO_DIGEST);
    const shaped = token.length === TOKEN_CHARACTERS && token.startsWith(PREFIX) && token[secretAt - 1] === "_";
    if (row === undefined || !matches || !shaped || row.revoked_at !== null) return null;
    if (row.expires_at !== null && row.expires_at <= nowMs) return null;
    return { client: row.client, tokenId: row.id };
  }
}

export function loadTokenTable({ db, keys }: VaultTransaction | VaultView): TokenTable {
  return new TokenTable(getRows<TokenRow>(db, keys, "client_tokens"));
}

function describe(row: TokenRow): ClientToken {
  const { id, client, label, created_at, expires_at, revoked_at } = row;
  return { id, client, label, createdAt: created_at, expiresAt: expires_at, revokedAt: revoked_at };
}
