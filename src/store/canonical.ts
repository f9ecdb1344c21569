export type CanonicalValue = string | number | boolean | null | readonly CanonicalValue[] | CanonicalObject;
export interface CanonicalObject {
  readonly [key: string]: CanonicalValue;
}

/**
 * JSON with one spelling per value, for MACs and AAD: keys sorted by UTF-16 code unit, no white space, integers
 * only. For these values it equals RFC 8785 (JCS).
 * @throws Error on a number that is not a safe integer: two JSON writers may spell a fraction differently
 */
export function canonicalJson(value: CanonicalValue): string {
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    throw new Error(`internal: ${value} is not a safe integer and has no canonical form`);
  }
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (isList(value)) return `[${value.map(canonicalJson).join(",")}]`;
  // A loop, because the MAC of each row of a large vault goes through here.
  let text = "";
  for (const key of Object.keys(value).sort()) {
    text += `${text === "" ? "" : ","}${JSON.stringify(key)}:${canonicalJson(value[key] ?? null)}`;
  }
  return `{${text}}`;
}

/** The UTF-8 bytes of `canonicalJson`. */
export function canonicalBytes(value: CanonicalValue): Buffer {
  return Buffer.from(canonicalJson(value), "utf8");
}

function isList(value: readonly CanonicalValue[] | CanonicalObject): value is readonly CanonicalValue[] {
  return Array.isArray(value);
}
