import { relative } from "node:path";
import type { PolicyProblem } from "../policy/problem.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const COLUMN_GAP = "  ";

/**
 * Makes control characters and text-direction marks visible (`\x1b`, `\u202e`). Newline and tab
 * stay: our own multi-line texts need them; cells of a table lose them too (`oneLine`).
 */
export function visible(text: string): string {
  let result = "";
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    result += isHarmless(code) ? character : escapeCode(code);
  }
  return result;
}

/** JSON whose strings cannot steer a terminal either: what `visible` would escape is written `\\u009b`. */
export function jsonText(value: unknown, indent: number): string {
  let result = "";
  for (const character of JSON.stringify(value, null, indent)) {
    const code = character.codePointAt(0) ?? 0;
    result += isHarmless(code) ? character : `\\u${code.toString(16).padStart(4, "0")}`;
  }
  return result;
}

function isHarmless(code: number): boolean {
  if (code === 0x0a || code === 0x09) return true;
  if (code < 0x20 || (code >= 0x7f && code <= 0x9f)) return false;
  if (code === 0x200e || code === 0x200f || code === 0xfeff) return false;
  return !((code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069));
}

function escapeCode(code: number): string {
  if (code <= 0xff) return `\\x${code.toString(16).padStart(2, "0")}`;
  return `\\u${code.toString(16).padStart(4, "0")}`;
}

/** As `visible`, newline and tab too: for a name that must not begin a line of its own. */
export function oneLine(text: string): string {
  return visible(text).replaceAll("\n", "\\n").replaceAll("\t", "\\t");
}

/** A table with aligned columns and a heading; no lines, no colour. `rows` have one cell per column. */
export function renderTable(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [columns.map((name) => name.toUpperCase()), ...rows.map((row) => row.map(oneLine))];
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => (line[index] ?? "").length)));
  return lines
    .map((line) =>
      line
        .map((text, index) => text.padEnd(widths[index] ?? 0))
        .join(COLUMN_GAP)
        .trimEnd(),
    )
    .join("\n");
}

/** `name  value` lines, values aligned. */
export function renderFacts(facts: readonly (readonly [string, string])[]): string {
  const width = Math.max(0, ...facts.map(([name]) => name.length));
  return facts.map(([name, value]) => `${name.padEnd(width)}${COLUMN_GAP}${oneLine(value)}`).join("\n");
}

/** Lines in a frame, for the few words a first start has to say. */
export function renderBox(title: string, lines: readonly string[]): string {
  const rule = "-".repeat(72);
  return [rule, title, rule, ...lines, rule].join("\n");
}

/** A file as messages name it: relative to where the command runs, when it lies below. */
export function shortPath(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith("..") ? path : short;
}

/** `config/policy.yaml:14:9 routes.fmp.limits[0].requests: ...`: editors jump to it. */
export function problemLine(file: string, problem: PolicyProblem): string {
  const path = problem.path === "" ? "" : ` ${problem.path}`;
  return `${file}:${problem.line}:${problem.column}${path}: ${problem.message}`;
}

/** ISO 8601 in UTC without milliseconds; `-` for null. @param ms epoch milliseconds */
export function formatTime(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "-";
  return new Date(ms).toISOString().replace(/\.\d{3}Z$/, "Z");
}

/** A span in its largest unit: `45s`, `12m`, `3h`, `90d`. @param ms milliseconds */
export function formatSpan(ms: number): string {
  if (ms < MINUTE_MS) return `${Math.floor(ms / 1000)}s`;
  if (ms < HOUR_MS) return `${Math.floor(ms / MINUTE_MS)}m`;
  if (ms < DAY_MS) return `${Math.floor(ms / HOUR_MS)}h`;
  return `${Math.floor(ms / DAY_MS)}d`;
}

/** Bytes in their largest binary unit. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

const SPAN_UNITS: Readonly<Record<string, number>> = { s: 1000, m: MINUTE_MS, h: HOUR_MS, d: DAY_MS };

/** Parses `30m`, `24h`, `90d`; null when it is no span. Returns milliseconds. */
export function parseSpan(text: string): number | null {
  const match = /^([1-9]\d{0,5})([smhd])$/.exec(text);
  if (match === null) return null;
  return Number(match[1]) * (SPAN_UNITS[match[2] ?? ""] ?? 0);
}

/**
 * Parses an expiry: a span from now (`90d`) or a date (`2027-01-31`, or a full ISO 8601 time).
 * A date alone means the end of that day in UTC: a key "good until the 31st" still works on the 31st.
 * Null when it is neither. Returns epoch milliseconds.
 */
export function parseExpiry(text: string, nowMs: number): number | null {
  const span = parseSpan(text);
  if (span !== null) return nowMs + span;
  if (/^\d{4}-\d{2}-\d{2}$/.test(text)) return validTime(`${text}T23:59:59Z`, text);
  if (/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/.test(text)) return validTime(text, text);
  return null;
}

function validTime(iso: string, written: string): number | null {
  const ms = Date.parse(iso);
  if (Number.isNaN(ms)) return null;
  // Date.parse rolls 31 February over to March; a calendar mistake must not become another day.
  const sameDay = iso.endsWith("Z") ? new Date(ms).toISOString().startsWith(written.slice(0, 10)) : true;
  return sameDay ? ms : null;
}
