import { sha256 } from "./crypto.ts";
import { SubmissionError } from "./errors.ts";

/*
 * A sealed submission as text, for files, mails and repositories:
 *
 *   -----BEGIN SIDEKEY SEALED SUBMISSION-----
 *   format: 1
 *   vault: <32 hex digits>
 *   category: market-data
 *   generation: 1
 *   provider: fmp
 *   name: fmp-main
 *   hosts: financialmodelingprep.com                       sorted, one blank between two
 *   created: 2026-01-31T12:00:00.000Z
 *
 *   <base64 with padding, 64 characters per line>
 *   -----END SIDEKEY SEALED SUBMISSION-----
 *
 * There is one spelling per submission, so its digest stands for its content. The header is for people and for
 * choosing the key; it is bound to the sealed content and repeated in it (see submission.ts).
 */

export interface SubmissionHeader {
  readonly vault: string;
  readonly category: string;
  readonly generation: number;
  readonly provider: string;
  readonly name: string;
  readonly hosts: readonly string[];
  /** ISO 8601 in UTC, by the clock of the machine that sealed. */
  readonly created: string;
}

export interface Submission {
  readonly header: SubmissionHeader;
  /** The sealed bytes. */
  readonly body: Buffer;
  /** SHA-256 of the text, hex. */
  readonly digest: string;
}

export const SUBMISSION_FORMAT = 1;
/** Largest submission, in bytes of text. */
export const MAX_SUBMISSION_BYTES = 256 * 1024;
const BEGIN = "-----BEGIN SIDEKEY SEALED SUBMISSION-----";
const END = "-----END SIDEKEY SEALED SUBMISSION-----";
const CODE_DIGITS = 12;

const HEADER = new RegExp(
  [
    "^vault: (?<vault>[0-9a-f]{32})",
    "category: (?<category>[a-z][a-z-]{0,31})",
    "generation: (?<generation>[1-9]\\d{0,8})",
    "provider: (?<provider>[a-z0-9][a-z0-9-]{0,63})",
    "name: (?<name>[a-z0-9][a-z0-9._-]{0,63})",
    "hosts: (?<hosts>[\\x21-\\x7e]{1,300}(?: [\\x21-\\x7e]{1,300}){0,63})",
    "created: (?<created>\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z)$",
  ].join("\\n"),
);

/** @throws SubmissionError too_large */
export function renderSubmission(header: SubmissionHeader, body: Buffer): string {
  const { vault, category, generation, provider, name, hosts, created } = header;
  const facts = { vault, category, generation, provider, name, hosts: hosts.join(" "), created };
  const lines = Object.entries(facts).map(([key, value]) => `${key}: ${value}`);
  const armor = body.toString("base64").replace(/.{64}(?=.)/g, "$&\n");
  const text = [BEGIN, `format: ${SUBMISSION_FORMAT}`, ...lines, "", armor, END, ""].join("\n");
  if (text.length > MAX_SUBMISSION_BYTES) throw tooLarge();
  return text;
}

/**
 * Reads a submission without opening it. Line ends and blanks around it may have changed on the way, nothing else.
 * @throws SubmissionError not_a_submission, newer_format, too_large, truncated or damaged
 */
export function parseSubmission(raw: string): Submission {
  if (Buffer.byteLength(raw) > MAX_SUBMISSION_BYTES) throw tooLarge();
  const text = `${raw.replaceAll("\r\n", "\n").replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, "")}\n`;
  if (!text.startsWith(`${BEGIN}\n`)) {
    throw new SubmissionError("not_a_submission", `this is no sealed submission; it begins with ${BEGIN}`);
  }
  const format = /^format: ([1-9]\d{0,8})$/.exec(text.split("\n", 2)[1] ?? "")?.[1];
  if (Number(format) > SUBMISSION_FORMAT) {
    throw new SubmissionError("newer_format", `the submission has format ${format}; upgrade sidekey to accept it`);
  }
  if (!text.endsWith(`\n${END}\n`)) {
    throw new SubmissionError("truncated", "the submission is truncated: its last line is missing; copy it again");
  }
  const start = text.indexOf("\nvault: ") + 1;
  const split = text.indexOf("\n\n", start);
  const header = parseHeader(text.slice(start, split));
  const armor = text.slice(split + 2, -(END.length + 2)).replaceAll("\n", "");
  const body = Buffer.from(armor, "base64");
  // Whatever was changed, cut or added: the text made from what was read differs.
  if (header === null || renderSubmission(header, body) !== text) {
    throw new SubmissionError("damaged", "the submission was changed or damaged on the way; copy or seal it again");
  }
  return { header, body, digest: digestOf(text) };
}

function parseHeader(text: string): SubmissionHeader | null {
  const found = HEADER.exec(text)?.groups;
  if (found === undefined) return null;
  const { vault = "", category = "", generation, provider = "", name = "", hosts = "", created = "" } = found;
  return { vault, category, generation: Number(generation), provider, name, hosts: hosts.split(" "), created };
}

/** SHA-256 of the text that `renderSubmission` made, hex: what `sha256sum` says of the file. */
export function digestOf(text: string): string {
  return sha256(text).toString("hex");
}

/** What both sides show, for people to compare: the digest's first 12 digits. */
export function checkCode(digest: string): string {
  return digest.slice(0, CODE_DIGITS);
}

function tooLarge(): SubmissionError {
  return new SubmissionError("too_large", `a submission has at most ${MAX_SUBMISSION_BYTES / 1024} KiB of text`);
}
