import { Secret, secretBuffer } from "../../secret.ts";
import type { BasicAuth, Template } from "../schema.ts";
import type { InjectionPlan } from "./plan.ts";

const COLON = 0x3a;
const PAD = 0x3d;
const ALPHABET = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", "latin1");

/** `Authorization: Basic base64(user:password)` (RFC 7617). */
export function planBasic({ user, password }: BasicAuth): InjectionPlan {
  const fields = [user.field, password.field].filter((field) => field !== null);
  const render = { encoding: "basic" as const, fields, user, password };
  return { headers: [{ name: "authorization", prefix: "Basic ", suffix: "", render }], query: [], body: null };
}

/**
 * Base64 of `user:password`, computed on bytes; the joined pair is wiped before returning.
 * @throws Error that names the field when one is missing, or when the user's has a colon.
 */
export function encodeBasic(user: Template, password: Template, fields: ReadonlyMap<string, Secret>): Secret {
  const pair = secretBuffer(sizeOf(user, fields) + 1 + sizeOf(password, fields));
  try {
    const colon = write(pair, 0, user, fields);
    // RFC 7617 section 2: the first colon ends the user, so one inside would move bytes into the password.
    if (pair.subarray(0, colon).includes(COLON)) {
      throw new Error(`field "${user.field}" has a colon, which a Basic user cannot; check that it is the user part`);
    }
    pair[colon] = COLON;
    write(pair, colon + 1, password, fields);
    return Secret.adopt(encodeBase64(pair));
  } finally {
    pair.fill(0);
  }
}

function sizeOf(template: Template, fields: ReadonlyMap<string, Secret>): number {
  return template.prefix.length + secretOf(template, fields).length + template.suffix.length;
}

function secretOf(template: Template, fields: ReadonlyMap<string, Secret>): Secret {
  if (template.field === null) return EMPTY;
  const secret = fields.get(template.field);
  if (!secret) throw new Error(`credential has no field "${template.field}"; add a version that has it`);
  return secret;
}

const EMPTY = Secret.copyOf(new Uint8Array(0));

/** Writes prefix, field and suffix at `offset`; returns the offset behind them. Template text is ASCII. */
function write(target: Buffer, offset: number, template: Template, fields: ReadonlyMap<string, Secret>): number {
  let at = offset + target.write(template.prefix, offset, "latin1");
  at += secretOf(template, fields).use((bytes) => bytes.copy(target, at));
  return at + target.write(template.suffix, at, "latin1");
}

/** Buffer.toString("base64") would make a string of the secret, so the bytes are encoded here (RFC 4648 section 4). */
function encodeBase64(bytes: Buffer): Buffer {
  const encoded = secretBuffer(Math.ceil(bytes.length / 3) * 4);
  let at = 0;
  for (let index = 0; index < bytes.length; index += 3) {
    const left = bytes.length - index;
    const group = ((bytes[index] ?? 0) << 16) | ((bytes[index + 1] ?? 0) << 8) | (bytes[index + 2] ?? 0);
    encoded[at++] = ALPHABET[group >> 18] ?? 0;
    encoded[at++] = ALPHABET[(group >> 12) & 63] ?? 0;
    encoded[at++] = left > 1 ? (ALPHABET[(group >> 6) & 63] ?? 0) : PAD;
    encoded[at++] = left > 2 ? (ALPHABET[group & 63] ?? 0) : PAD;
  }
  return encoded;
}
