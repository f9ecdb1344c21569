import type { Anchor, Mark } from "./audit-anchor.ts";
import { sha256 } from "./crypto.ts";
import { VaultError } from "./errors.ts";
import type { Keyring } from "./keyring.ts";
import { sign, signatureFits, signingPublicKey } from "./signing.ts";

/*
 * A checkpoint: the signed end of the audit chain, to be kept elsewhere. It is a C2SP signed note
 * (c2sp.org/signed-note) whose text has the form of c2sp.org/tlog-checkpoint: origin, size, hash, then extension
 * lines. The hash is that of the newest entry, not a Merkle root. Anybody can check it with the verifier key.
 */

export interface Checkpoint {
  readonly note: string;
  /** `<name>+<key id>+<base64 of 0x01 and the public key>`, as c2sp.org/signed-note has it. */
  readonly verifierKey: string;
}

const ED25519 = 1;
const KEY_ID_BYTES = 4;
const NOTE =
  /^(sidekey\/[0-9a-f]{32})\n([1-9]\d{0,15})\n([A-Za-z0-9+/]{43}=)\nepoch ([1-9]\d{0,15})\ntime [0-9TZ:.-]+\n\n\u2014 (\S+) ([A-Za-z0-9+/=]+)\n$/;

/** @param at ms since the epoch */
export function makeCheckpoint(keys: Keyring, { seq, hash, epoch }: Mark, at: number): Checkpoint {
  const name = nameOf(keys);
  const time = new Date(at).toISOString();
  const text = [name, seq, hash.toString("base64"), `epoch ${epoch}`, `time ${time}`, ""].join("\n");
  const publicKey = signingPublicKey(keys.signing);
  const signature = Buffer.concat([keyId(name, publicKey), sign(keys.signing, Buffer.from(text))]);
  const typed = Buffer.concat([Buffer.of(ED25519), publicKey]).toString("base64");
  return {
    note: `${text}\n\u2014 ${name} ${signature.toString("base64")}\n`,
    verifierKey: `${name}+${keyId(name, publicKey).toString("hex")}+${typed}`,
  };
}

/**
 * What a checkpoint of this vault recorded, after checking its signature.
 * @throws VaultError invalid
 */
export function readCheckpoint(keys: Keyring, note: string): Anchor {
  const match = NOTE.exec(note.replaceAll("\r\n", "\n"));
  if (match === null) throw new VaultError("invalid", "this is no checkpoint of `sidekey audit checkpoint`");
  const [, origin = "", size, hash = "", epoch, name, signed = ""] = match;
  if (origin !== nameOf(keys) || name !== origin) {
    throw new VaultError("invalid", `this checkpoint belongs to another vault, ${origin}`);
  }
  const text = note.replaceAll("\r\n", "\n").split("\n\n", 1)[0] ?? "";
  const [publicKey, signature] = [signingPublicKey(keys.signing), Buffer.from(signed, "base64")];
  // Re-encoded: base64 has several spellings of one value.
  const ours =
    signature.toString("base64") === signed && signature.subarray(0, KEY_ID_BYTES).equals(keyId(origin, publicKey));
  if (!ours || !signatureFits(publicKey, Buffer.from(`${text}\n`), signature.subarray(KEY_ID_BYTES))) {
    throw new VaultError(
      "invalid",
      "this checkpoint was edited, or signed with another key: its signature does not fit",
    );
  }
  return { seq: Number(size), hash: Buffer.from(hash, "base64"), epoch: Number(epoch), digest: null };
}

function nameOf(keys: Keyring): string {
  return `sidekey/${keys.vault}`;
}

function keyId(name: string, publicKey: Buffer): Buffer {
  const input = Buffer.concat([Buffer.from(`${name}\n`), Buffer.of(ED25519), publicKey]);
  return sha256(input).subarray(0, KEY_ID_BYTES);
}
