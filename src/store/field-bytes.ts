import { Secret, secretBuffer } from "../secret.ts";

/*
 * The plaintext of a version. Bytes in, bytes out: JSON would make every key a JavaScript string.
 *
 *   u8 format = 1 | u16 count | count × ( u16 name length | name | u32 value length | value ) | zeros
 *
 * Big-endian; zeros pad to a multiple of 64, so the ciphertext tells a key's length only roughly.
 */

const FORMAT = 1;
const BUCKET_BYTES = 64;
const HEAD_BYTES = 3;

/** Encodes `fields` in their order. The caller wipes the returned Buffer. */
export function encodeFields(fields: ReadonlyMap<string, Secret>): Buffer {
  const names = new Map([...fields.keys()].map((name) => [name, Buffer.from(name, "utf8")]));
  let size = HEAD_BYTES;
  for (const [name, secret] of fields) size += 2 + (names.get(name)?.length ?? 0) + 4 + secret.length;
  const out = secretBuffer(Math.ceil(size / BUCKET_BYTES) * BUCKET_BYTES);
  try {
    out.writeUInt8(FORMAT, 0);
    let at = out.writeUInt16BE(fields.size, 1);
    for (const [name, secret] of fields) {
      const label = names.get(name) ?? Buffer.alloc(0);
      at = out.writeUInt16BE(label.length, at);
      at += label.copy(out, at);
      at = out.writeUInt32BE(secret.length, at);
      at += secret.use((bytes) => bytes.copy(out, at));
    }
    return out;
  } catch (error) {
    out.fill(0);
    throw error;
  }
}

/**
 * Decodes what `encodeFields` made; the caller wipes every Secret, and `plain` too.
 * @throws Error when the bytes are not exactly that, with nothing left unwiped
 */
export function decodeFields(plain: Buffer): Map<string, Secret> {
  const fields = new Map<string, Secret>();
  try {
    if (plain.readUInt8(0) !== FORMAT) throw new Error(`field format ${plain.readUInt8(0)} is not known`);
    let at = HEAD_BYTES;
    for (let left = plain.readUInt16BE(1); left > 0; left--) {
      const name = slice(plain, at + 2, plain.readUInt16BE(at));
      at += 2 + name.length;
      const value = slice(plain, at + 4, plain.readUInt32BE(at));
      at += 4 + value.length;
      const key = name.toString("utf8");
      if (fields.has(key)) throw new Error(`field "${key}" occurs twice`);
      const own = secretBuffer(value.length);
      value.copy(own);
      fields.set(key, Secret.adopt(own));
    }
    const padding = plain.subarray(at);
    if (padding.length >= BUCKET_BYTES || padding.some((byte) => byte !== 0)) throw new Error("bad padding");
    return fields;
  } catch (error) {
    for (const secret of fields.values()) secret.wipe();
    throw new Error("internal: the decrypted fields are malformed", { cause: error });
  }
}

function slice(plain: Buffer, at: number, length: number): Buffer {
  if (at + length > plain.length) throw new RangeError("a length runs past the end");
  return plain.subarray(at, at + length);
}
