import { secretBuffer } from "../../secret.ts";
import type { HeaderAuth } from "../schema.ts";
import type { InjectionPlan } from "./plan.ts";

const NUL = 0x00;
const LF = 0x0a;
const CR = 0x0d;

/** One or several header fields, each literal text around a field's bytes. */
export function planHeader(rule: HeaderAuth): InjectionPlan {
  const headers = rule.headers.map(({ name, prefix, suffix, field }) => {
    return { name, prefix, suffix, render: { encoding: "raw" as const, fields: [field] } };
  });
  return { headers, query: [], body: null };
}

/**
 * Copies bytes for a header line. They were checked when they were stored; the check is repeated because a line
 * break here would end the field and begin another one (RFC 9110 section 5.5).
 * @throws Error that names the field.
 */
export function copyForHeader(bytes: Buffer, field: string): Buffer {
  for (const byte of bytes) {
    if (byte === NUL || byte === LF || byte === CR) {
      throw new Error(`field "${field}" has a line break or NUL, which no header can carry; store it again`);
    }
  }
  const copy = secretBuffer(bytes.length);
  bytes.copy(copy);
  return copy;
}
