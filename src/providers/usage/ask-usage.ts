import { type MemberPlace, objectMembers } from "./object-members.ts";

const STREAM_OPTIONS = Buffer.from("stream_options");
const INCLUDE_USAGE = Buffer.from("include_usage");
const OPTIONS = '"stream_options":{"include_usage":true}';

/**
 * The same request for a stream, asking for its usage (`stream_options.include_usage`). Only what must change is
 * changed: every other byte stays as the client wrote it. Null when the body has no place for it that is beyond doubt.
 */
export function askForUsage(body: Buffer): Buffer | null {
  const members = objectMembers(body, 0, body.length, [STREAM_OPTIONS]);
  const last = members?.at(-1);
  if (!members || !last) return null;
  const options = members.find(({ name }) => name === "stream_options");
  if (!options) return spliced(body, last.to, last.to, `,${OPTIONS}`);
  const written = textOf(body, options);
  if (written === "null") return spliced(body, options.valueFrom, options.to, '{"include_usage":true}');
  const inside = objectMembers(body, options.valueFrom, options.to, [INCLUDE_USAGE]);
  if (inside === null) return null;
  const include = inside.find(({ name }) => name === "include_usage");
  if (include) {
    const asked = textOf(body, include);
    const mayReplace = asked === "false" || asked === "null";
    return mayReplace ? spliced(body, include.valueFrom, include.to, "true") : null;
  }
  const first = options.valueFrom + 1;
  return spliced(body, first, first, `"include_usage":true${inside.length > 0 ? "," : ""}`);
}

function textOf(body: Buffer, { valueFrom, to }: MemberPlace): string {
  return to - valueFrom > 8 ? "" : body.toString("latin1", valueFrom, to);
}

function spliced(body: Buffer, from: number, to: number, text: string): Buffer {
  return Buffer.concat([body.subarray(0, from), Buffer.from(text), body.subarray(to)]);
}
