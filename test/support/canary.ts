import { randomBytes } from "node:crypto";

const PREFIX = "skcanary";
const HALF_LENGTH = 16;

export interface Canary {
  /** The key as a string, for test code only: sidekey itself never makes one. */
  readonly text: string;
  readonly bytes: Buffer;
}

export interface CanaryHit {
  readonly form: string;
  /** Index into the list of buffers that was searched. */
  readonly buffer: number;
  /** Offset in bytes, in the searched (perhaps percent-decoded or lower-cased) form of that buffer. */
  readonly offset: number;
}

/**
 * A random key that is recognisable in any haystack. `special: true` adds characters that percent, JSON and form
 * encodings change, so that those forms differ from the raw one. All characters are in 0x21-0x7e.
 */
export function makeCanary(options: { special?: boolean } = {}): Canary {
  const random = randomBytes(24).toString("hex");
  const text = options.special
    ? `${PREFIX}+/=&%"\\${random.slice(0, 24)}<'?#${random.slice(24)}`
    : `${PREFIX}${random}`;
  return { text, bytes: Buffer.from(text, "latin1") };
}

/**
 * Looks for `canary` in every buffer: raw, as UTF-16, base64 and base64url at any alignment, percent-encoded in whole
 * or in part, hex, JSON-escaped, and its first and last 16 bytes alone. Returns every form that was found.
 */
export function findCanary(buffers: readonly (Uint8Array | string)[], canary: Canary): CanaryHit[] {
  const hits: CanaryHit[] = [];
  const needles = needlesOf(canary);
  for (const [index, item] of buffers.entries()) {
    const raw = typeof item === "string" ? Buffer.from(item, "utf8") : Buffer.from(item);
    const unescaped = percentDecoded(raw);
    for (const needle of needles) {
      const offset = haystackFor(needle, raw, unescaped).indexOf(needle.bytes);
      if (offset >= 0) hits.push({ form: needle.form, buffer: index, offset });
    }
  }
  return hits;
}

interface Needle {
  readonly form: string;
  readonly bytes: Buffer;
  readonly view: "raw" | "percent" | "lower";
}

function haystackFor(needle: Needle, raw: Buffer, unescaped: Buffer | null): Buffer {
  if (needle.view === "lower") return Buffer.from(raw.toString("latin1").toLowerCase(), "latin1");
  if (needle.view === "percent") return unescaped ?? Buffer.alloc(0);
  return raw;
}

function needlesOf({ text, bytes }: Canary): Needle[] {
  const needles: Needle[] = [
    { form: "raw", bytes, view: "raw" },
    { form: "first half", bytes: bytes.subarray(0, HALF_LENGTH), view: "raw" },
    { form: "last half", bytes: bytes.subarray(-HALF_LENGTH), view: "raw" },
    { form: "utf-16", bytes: Buffer.from(text, "utf16le"), view: "raw" },
    { form: "percent", bytes, view: "percent" },
    { form: "hex", bytes: Buffer.from(bytes.toString("hex")), view: "lower" },
    { form: "json", bytes: Buffer.from(JSON.stringify(text).slice(1, -1)), view: "raw" },
  ];
  for (const alignment of [0, 1, 2]) {
    needles.push({ form: "base64", bytes: base64Core(bytes, alignment, "base64"), view: "raw" });
    needles.push({ form: "base64url", bytes: base64Core(bytes, alignment, "base64url"), view: "raw" });
  }
  return needles.filter((needle, at) => !needles.slice(0, at).some((earlier) => sameNeedle(earlier, needle)));
}

function sameNeedle(a: Needle, b: Needle): boolean {
  return a.view === b.view && a.bytes.equals(b.bytes);
}

// What surrounds the key decides how its bytes fall into groups of three, and the first and last characters mix
// with the neighbours; what lies between is the same in every surrounding.
function base64Core(bytes: Buffer, alignment: number, encoding: "base64" | "base64url"): Buffer {
  const padded = Buffer.concat([Buffer.alloc(alignment), bytes]);
  const whole = padded.subarray(0, padded.length - (padded.length % 3));
  const encoded = whole.toString(encoding);
  return Buffer.from(alignment === 0 ? encoded : encoded.slice(4));
}

// Null when nothing was encoded, so that a raw hit is not reported a second time as a percent-encoded one.
function percentDecoded(raw: Buffer): Buffer | null {
  const text = raw.toString("latin1");
  const decoded = text.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return decoded === text ? null : Buffer.from(decoded, "latin1");
}
