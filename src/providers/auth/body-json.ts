import { secretBuffer } from "../../secret.ts";
import type { BodyJsonAuth } from "../schema.ts";
import { assertUnambiguous } from "./json-scan.ts";
import type { InjectionPlan } from "./plan.ts";

export type BodyReason =
  | "not_utf8"
  | "not_json"
  | "not_an_object"
  | "duplicate_key"
  | "forbidden_key"
  | "too_deep"
  | "pointer_blocked";

/** Why a key cannot be written into a body. `message` never quotes the body. */
export class BodyError extends Error {
  readonly reason: BodyReason;

  constructor(reason: BodyReason, message: string) {
    super(message);
    this.name = "BodyError";
    this.reason = reason;
  }
}

type JsonObject = Record<string, unknown>;

/** Part of the language since V8 11.4 (ECMA-262 "JSON.parse source text access"), not yet in TypeScript's library. */
interface SourceTextJson {
  parse(text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown): unknown;
  rawJSON(text: string): unknown;
}
const sourceTextJson = JSON as unknown as SourceTextJson;

const BACKSLASH = 0x5c;
const QUOTE = 0x22;
const HEX = Buffer.from("0123456789abcdef", "latin1");
/** Control characters that JSON writes with a letter. */
const SHORT_ESCAPES = new Map([
  [0x08, 0x62],
  [0x09, 0x74],
  [0x0a, 0x6e],
  [0x0c, 0x66],
  [0x0d, 0x72],
]);

/** One member of the JSON body. */
export function planBodyJson(rule: BodyJsonAuth): InjectionPlan {
  return {
    headers: [],
    query: [],
    body: { pointer: rule.pointer, render: { encoding: "json", fields: [rule.field] } },
  };
}

/**
 * Parses a JSON body, removes what it has at every carrier pointer, sets the member at `pointer` to `marker` and
 * serialises it again. Numbers keep their source text, so 12345678901234567890 and 1e400 survive.
 * @throws BodyError when the body is not one unambiguous JSON object, or `pointer` leads through something else.
 */
export function rewriteJsonBody(
  body: Buffer,
  pointer: string,
  marker: string,
  carriers: readonly string[] = [],
): Buffer {
  const root = parseObject(body);
  for (const carrier of carriers) removeMember(root, segmentsOf(carrier));
  const segments = segmentsOf(pointer);
  setMember(root, segments, marker);
  return Buffer.from(JSON.stringify(root), "utf8");
}

/** The string that a body has at `pointer`; null when there is none or the body is not acceptable JSON. */
export function readJsonPointer(body: Buffer, pointer: string): string | null {
  try {
    const segments = segmentsOf(pointer);
    const parent = parentOf(parseObject(body), segments);
    const value = parent && ownMember(parent, segments[segments.length - 1] ?? "");
    return typeof value === "string" ? value : null;
  } catch (error) {
    if (error instanceof BodyError) return null;
    throw error;
  }
}

/** JSON string escaping without the quotes, on bytes. Bytes from 0x80 are taken as they are: JSON is UTF-8. */
export function escapeJson(bytes: Buffer): Buffer {
  let length = 0;
  for (const byte of bytes) length += escapedSize(byte);
  const escaped = secretBuffer(length);
  let at = 0;
  for (const byte of bytes) at = writeEscaped(escaped, at, byte);
  return escaped;
}

function escapedSize(byte: number): number {
  if (byte === QUOTE || byte === BACKSLASH || SHORT_ESCAPES.has(byte)) return 2;
  return byte < 0x20 ? 6 : 1;
}

function writeEscaped(target: Buffer, at: number, byte: number): number {
  const size = escapedSize(byte);
  if (size === 1) {
    target[at] = byte;
    return at + 1;
  }
  target[at] = BACKSLASH;
  if (size === 2) {
    target[at + 1] = SHORT_ESCAPES.get(byte) ?? byte;
    return at + 2;
  }
  target.write("u00", at + 1, "latin1");
  target[at + 4] = HEX[byte >> 4] ?? 0;
  target[at + 5] = HEX[byte & 15] ?? 0;
  return at + 6;
}

function parseObject(body: Buffer): JsonObject {
  const text = decodeUtf8(body);
  // JSON.parse keeps the last of two equal keys and a provider may keep the first, so this comes before it.
  assertUnambiguous(text, (reason, message) => {
    throw new BodyError(reason, message);
  });
  const root = parse(text);
  if (!isObject(root)) throw new BodyError("not_an_object", "body is not a JSON object; send one, like {}");
  return root;
}

function decodeUtf8(body: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    throw new BodyError("not_utf8", "body is not UTF-8; JSON has no other encoding (RFC 8259 section 8.1)");
  }
}

function parse(text: string): unknown {
  try {
    return sourceTextJson.parse(text, (_key, value, context) => {
      return typeof value === "number" ? sourceTextJson.rawJSON(context.source ?? String(value)) : value;
    });
  } catch {
    throw new BodyError("not_json", "body is not JSON; send a JSON object with content-type application/json");
  }
}

/** Raw numbers are objects to typeof, but they hold text, not members. */
function isObject(value: unknown): value is JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.getPrototypeOf(value) !== null;
}

/** RFC 6901 sections 3 and 4: `~1` is a slash, `~0` a tilde, in this order. */
function segmentsOf(pointer: string): string[] {
  if (!pointer.startsWith("/")) throw new Error(`internal: "${pointer}" is not a pointer to a member`);
  return pointer
    .slice(1)
    .split("/")
    .map((segment) => segment.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function ownMember(object: JsonObject, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

function parentOf(root: JsonObject, segments: readonly string[]): JsonObject | null {
  let parent = root;
  for (const segment of segments.slice(0, -1)) {
    const next = ownMember(parent, segment);
    if (!isObject(next)) return null;
    parent = next;
  }
  return parent;
}

function removeMember(root: JsonObject, segments: readonly string[]): void {
  const parent = parentOf(root, segments);
  if (parent) delete parent[segments[segments.length - 1] ?? ""];
}

function setMember(root: JsonObject, segments: readonly string[], value: string): void {
  let parent = root;
  for (const segment of segments.slice(0, -1)) {
    const next = Object.hasOwn(parent, segment) ? parent[segment] : define(parent, segment, {});
    if (!isObject(next)) throw new BodyError("pointer_blocked", `body member "${segment}" is not an object`);
    parent = next;
  }
  define(parent, segments[segments.length - 1] ?? "", value);
}

/** Defines instead of assigning, so that no name can reach a setter of the prototype. */
function define<T>(object: JsonObject, name: string, value: T): T {
  Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
  return value;
}
