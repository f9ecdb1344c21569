import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { SubmissionError, type SubmissionErrorCode } from "../../src/store/errors.ts";
import {
  checkCode,
  MAX_SUBMISSION_BYTES,
  parseSubmission,
  renderSubmission,
  type SubmissionHeader,
} from "../../src/store/submission-text.ts";

const HEADER: SubmissionHeader = {
  vault: "0123456789abcdef0123456789abcdef",
  category: "market-data",
  generation: 3,
  provider: "fmp",
  name: "fmp-main",
  hosts: ["a.example", "b.example:8443"],
  created: "2026-01-31T12:00:00.000Z",
};
const BODY = Buffer.from(Array.from({ length: 100 }, (_, index) => index * 7));

function refusal(raw: string): SubmissionErrorCode | null {
  try {
    parseSubmission(raw);
    return null;
  } catch (error) {
    assert.ok(error instanceof SubmissionError, String(error));
    return error.code;
  }
}

describe("the text of a submission", () => {
  it("reads back as what it was made of, and its digest is that of the file", () => {
    const text = renderSubmission(HEADER, BODY);
    const digest = createHash("sha256").update(text).digest("hex");
    assert.deepEqual(parseSubmission(text), { header: HEADER, body: BODY, digest });
    assert.equal(checkCode(digest), digest.slice(0, 12));
    assert.equal(Math.max(...text.split("\n").map((line) => line.length)), 64);
  });

  it("has the same digest after a journey that changed line ends and blanks around it", () => {
    const text = renderSubmission(HEADER, BODY);
    const { digest } = parseSubmission(text);
    for (const travelled of [text.trimEnd(), `\n ${text}\t\r\n\n`, text.replaceAll("\n", "\r\n")]) {
      assert.equal(parseSubmission(travelled).digest, digest);
    }
  });

  it("is refused by name: nothing, something else, cut, newer, too large", () => {
    const text = renderSubmission(HEADER, BODY);
    assert.equal(refusal(""), "not_a_submission");
    assert.equal(refusal("-----BEGIN SIDEKEY PUBLIC KEYS-----\n"), "not_a_submission");
    for (const cut of [60, 200, text.length - 50, text.length - 10]) {
      assert.equal(refusal(text.slice(0, cut)), "truncated", `cut at ${cut}`);
    }
    assert.equal(refusal(text.replace("format: 1", "format: 2")), "newer_format");
    assert.equal(refusal(text.replace("format: 1", "format: 12")), "newer_format");
    assert.equal(refusal(text + " ".repeat(MAX_SUBMISSION_BYTES)), "too_large");
    assert.throws(() => renderSubmission(HEADER, Buffer.alloc(MAX_SUBMISSION_BYTES)), { code: "too_large" });
  });

  it("has one spelling: another one of the same content is refused", () => {
    const text = renderSubmission(HEADER, BODY);
    const variants = [
      text.replace("generation: 3", "generation: 03"),
      text.replace("a.example b", "a.example  b"),
      text.replace("name: fmp-main\n", ""),
      text.replace("name: fmp-main", "name: fmp-main\nname: fmp-main"),
      text.replace("name: fmp-main", "name: fmp-main\nextra: 1"),
      text.replace("provider: fmp\nname: fmp-main", "name: fmp-main\nprovider: fmp"),
      text.replace("\n\n", "\n\n\n"),
      text.replace(/(\n\n.{10})/, "$1\n"),
      text.replace(/=+\n/, "\n"),
      text.replace("-----END", " \n-----END"),
      text.replace("2026-01-31T12:00:00.000Z", "2026-01-31T12:00:00Z"),
      `${text}${text}`,
    ];
    for (const [index, variant] of variants.entries()) {
      assert.notEqual(variant, text, `variant ${index}`);
      assert.equal(refusal(variant), "damaged", `variant ${index}`);
    }
  });
});
