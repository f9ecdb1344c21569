import { secretBuffer } from "../../secret.ts";
import type { QueryAuth } from "../schema.ts";
import type { InjectionPlan } from "./plan.ts";

const PERCENT = 0x25;
const HEX = Buffer.from("0123456789ABCDEF", "latin1");

/** Parameter names are plain ASCII by the file format, so only values need encoding. */
export function planQuery(rule: QueryAuth): InjectionPlan {
  const query = rule.query.map(({ name, field }) => {
    return { name, render: { encoding: "percent" as const, fields: [field] } };
  });
  return { headers: [], query, body: null };
}

/** Percent-encodes every byte that is not unreserved (RFC 3986 section 2.3). */
export function encodePercent(bytes: Buffer): Buffer {
  let length = 0;
  for (const byte of bytes) length += isUnreserved(byte) ? 1 : 3;
  const encoded = secretBuffer(length);
  let at = 0;
  for (const byte of bytes) {
    if (isUnreserved(byte)) {
      encoded[at++] = byte;
      continue;
    }
    encoded[at++] = PERCENT;
    encoded[at++] = HEX[byte >> 4] ?? 0;
    encoded[at++] = HEX[byte & 15] ?? 0;
  }
  return encoded;
}

function isUnreserved(byte: number): boolean {
  const letter = byte | 0x20;
  if (letter >= 0x61 && letter <= 0x7a) return true;
  if (byte >= 0x30 && byte <= 0x39) return true;
  return byte === 0x2d || byte === 0x2e || byte === 0x5f || byte === 0x7e;
}
