import assert from "node:assert/strict";
import { test } from "node:test";
import { decodedFields, isTransferCoded, readHead, type ScrubRule } from "../../../src/daemon/pipeline/answer-head.ts";
import { Needles } from "../../../src/daemon/pipeline/needles.ts";
import { replacementFor } from "../../../src/daemon/pipeline/scrub.ts";
import { formsOf } from "../../../src/daemon/pipeline/secret-forms.ts";

const KEY = "sk-live-0123456789";
const SCRUB: ScrubRule = { needles: new Needles(formsOf(Buffer.from(KEY))), replacement: replacementFor("m") };
const STRIP = { stripCookies: true, stripAuthenticate: true };

function head(fields: readonly string[], changes: { method?: string; status?: number; scrub?: ScrubRule | null } = {}) {
  const { method = "GET", status = 200, scrub = SCRUB } = changes;
  const raw = fields.map((text) => Buffer.from(text, "latin1"));
  return readHead(status, `fine ${KEY}`, raw, { method, response: STRIP, scrub });
}

test("length and coding are read and left to the body; every other field passes, scrubbed", () => {
  const read = head(["Content-Length", "12", "Content-Encoding", "gzip", "X-Echo", `a ${KEY} b`, "X-Other", "c"]);
  assert.deepEqual(read.fields, ["X-Echo", "a [sidekey:m] b", "X-Other", "c"]);
  assert.deepEqual([read.length, read.coding, read.scrubbed], [12, "gzip", 1]);
  assert.equal(read.reason, "fine [sidekey:m]");
  assert.equal(head(["X-Echo", KEY], { scrub: null }).fields[1], KEY);
});

test("a length that is none does not count", () => {
  for (const value of ["-1", "1e3", "0x10", "12 ", "9".repeat(20), ""]) {
    assert.equal(head(["Content-Length", value]).length, null, value);
  }
  assert.equal(head(["Content-Length", "5", "Transfer-Encoding", "chunked"]).length, null);
});

test("a transfer coding is none, or `chunked` once", () => {
  const coded = (...values: readonly string[]): boolean =>
    isTransferCoded(
      ["Content-Type", "chunked", ...values.flatMap((value) => ["Transfer-ENCODING", value])].map((text) =>
        Buffer.from(text),
      ),
    );
  for (const read of [[], ["chunked"], [" Chunked "], ["identity"]]) assert.equal(coded(...read), false, String(read));
  for (const unread of [
    ["gzip"],
    ["gzip, chunked"],
    ["chunked, chunked"],
    ["xchunked"],
    ["chunked", "chunked"],
    [""],
  ]) {
    assert.equal(coded(...unread), true, String(unread));
  }
});

test("what has no content is known by method and status", () => {
  assert.ok(
    head([], { method: "HEAD" }).bodiless && head([], { status: 204 }).bodiless && head([], { status: 304 }).bodiless,
  );
  assert.ok(!head([]).bodiless);
});

test("text is everything that may be shown or parsed, and what does not say", () => {
  for (const type of [
    "",
    "text/event-stream",
    "Application/JSON; charset=utf-8",
    "application/vnd.api+json",
    "application/problem+xml",
    "application/x-ndjson",
    "application/x-www-form-urlencoded",
  ]) {
    assert.equal(head(["Content-Type", type]).binary, false, type);
  }
  for (const type of ["application/octet-stream", "image/png", "audio/mpeg", "application/zip", "video/mp4"]) {
    assert.equal(head(["Content-Type", type]).binary, true, type);
  }
});

test("fields that speak of the coded bytes go with the coding, and a strong tag becomes a weak one", () => {
  assert.deepEqual(
    decodedFields(["ETag", '"a"', "Content-MD5", "x", "Digest", "y", "Repr-Digest", "z", "X", "1", "etag", 'W/"b"']),
    ["ETag", 'W/"a"', "X", "1", "etag", 'W/"b"'],
  );
});
