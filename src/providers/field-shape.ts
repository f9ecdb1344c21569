import type { Secret } from "../secret.ts";
import type { Field, Shape } from "./schema.ts";

export type ShapeVerdict = { ok: true } | { ok: false; enforced: boolean; problem: string };

const FIRST_PRINTABLE = 0x21;
const LAST_PRINTABLE = 0x7e;

/**
 * Compares a value with what its field looks like, byte by byte and without making a string of it. Bytes that could
 * not stand in a header line are always refused; the shape of the file only when its evidence allows (`enforced`).
 * `problem` names the field and the next step and never quotes the value.
 */
export function checkShape(field: Field, secret: Secret): ShapeVerdict {
  return secret.use((bytes) => {
    const unsafe = unsafeBytes(bytes);
    if (unsafe !== null) return { ok: false, enforced: true, problem: `${field.name}: ${unsafe}` };
    if (!field.shape) return { ok: true };
    const unlike = unlikeShape(bytes, field.shape);
    if (unlike === null) return { ok: true };
    return { ok: false, enforced: field.shape.enforced, problem: `${field.name}: ${unlike}` };
  });
}

function unsafeBytes(bytes: Buffer): string | null {
  if (bytes.length === 0) return "is empty; paste the value";
  if (isSpace(bytes[0]) || isSpace(bytes[bytes.length - 1])) {
    return "begins or ends with white space or a line break; paste the value alone";
  }
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index] ?? 0;
    if (byte < FIRST_PRINTABLE || byte > LAST_PRINTABLE) {
      return `byte ${index + 1} is a space, a control character or not ASCII; copy the value again`;
    }
  }
  return null;
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d);
}

function unlikeShape(bytes: Buffer, shape: Shape): string | null {
  if (bytes.length < shape.minLength || bytes.length > shape.maxLength) {
    const { minLength, maxLength } = shape;
    const wanted = minLength === maxLength ? `${minLength}` : `${minLength} to ${maxLength}`;
    return `has ${bytes.length} characters, expected ${wanted}; check that the whole value was copied`;
  }
  if (shape.prefixes.length > 0 && !shape.prefixes.some((prefix) => startsWith(bytes, prefix))) {
    return `does not begin with ${shape.prefixes.join(" or ")}; check that it is the right kind of key`;
  }
  if (!shape.alphabet) return null;
  for (let index = 0; index < bytes.length; index++) {
    if (!shape.alphabet.has(bytes[index] ?? 0)) {
      return `byte ${index + 1} is not one of ${shape.alphabetText}; check that only the value was copied`;
    }
  }
  return null;
}

function startsWith(bytes: Buffer, prefix: string): boolean {
  if (bytes.length < prefix.length) return false;
  for (let index = 0; index < prefix.length; index++) if (bytes[index] !== prefix.charCodeAt(index)) return false;
  return true;
}
