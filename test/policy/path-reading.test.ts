import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { readPath } from "../../src/policy/path-reading.ts";

fc.configureGlobal({ seed: 20260901 });

const READINGS = {
  plain: [
    "/",
    "/v1/x",
    "/v1/",
    "/a..b",
    "/...",
    "/.well-known/x",
    "/a;b=c/d",
    "/%41",
    "/a%2ejson",
    "/a:b@c!$&'()*+,=~",
    "/%",
  ],
  "dot-segments": [
    ...["/.", "/..", "/../", "/a/../b", "/a/./b", "/%2e", "/%2E%2e/x", "/.%2e/x", "/a/..;x/b", "/a/..;/b", "/..%3b/x"],
    ...["/a\\..\\b", "/a%5c..%5cb", "/a%2f..%2fb", "/%252e%252e/x", "/%25252e./x", "/..%00/x"],
  ],
  decodable: ["//", "/a//b", "/a%2fb", "/a%2Fb", "/a%5cb", "/a\\b", "/a%00", "/a%25b", "/a%252fb"],
  malformed: ["", "*", "a", "?", "/a?b", "/a#b", "/a b", "/a\tb", "/ü", "/a\0", "/a\r\nHost: x", "http://h/"],
} as const;

test("a path has one reading, or is told apart by how it could have two", () => {
  for (const [reading, paths] of Object.entries(READINGS)) {
    for (const path of paths) assert.equal(readPath(path), reading, JSON.stringify(path));
  }
});

test("a plain path stays itself when a server decodes, merges and resolves it", () => {
  const piece = fc.constantFrom(
    "a",
    ".",
    "..",
    "%2e",
    "%2E",
    "%2f",
    "%5c",
    "\\",
    "/",
    "//",
    ";",
    "%3b",
    "%25",
    "%00",
    "%41",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const path = `/${pieces.join("")}`;
      if (readPath(path) !== "plain") return;
      const decoded = decodeURIComponent(decodeURIComponent(path));
      const resolved = new URL(`http://h.test${decoded.replace(/;[^/]*/g, "")}`).pathname;
      const segments = (text: string) => text.split("/").length;
      assert.equal(segments(resolved), segments(path), path);
      assert.ok(!decoded.includes("\\") && !decoded.includes("//"), path);
    }),
    { numRuns: 3000 },
  );
});
