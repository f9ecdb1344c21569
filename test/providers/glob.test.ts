import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compileGlob, MAX_GLOB_LENGTH } from "../../src/providers/glob.ts";

const table: [pattern: string, matches: string[], not: string[]][] = [
  ["/", ["/"], ["", "/a", "//"]],
  ["/v1/models", ["/v1/models"], ["/v1/models/", "/v1/model", "/V1/models", "v1/models"]],
  ["/**", ["/", "/a", "/a/b", "//"], ["", "a"]],
  ["/a/**", ["/a/", "/a/b", "/a/b/c"], ["/a", "/ab", "/ab/c", "/b/a/"]],
  ["/*", ["/a", "/%2e"], ["/", "/a/", "/a/b"]],
  ["/a/*/c", ["/a/b/c", "/a/bb/c"], ["/a//c", "/a/c", "/a/b/b/c", "/a/b/c/"]],
  ["/a/**/c", ["/a/c", "/a/b/c", "/a/b/b/c", "/a/c/c"], ["/a/b/cc", "/c", "/a/c/", "/ac"]],
  ["/**/c", ["/c", "/a/c", "/c/c"], ["/c/a", "/ac"]],
  ["/**/a/*/b/**", ["/a/x/b/", "/q/a/x/b/y", "/a/a/b/b/b/z"], ["/a/b/", "/a/x/b"]],
  ["/v*/x.json", ["/v1/x.json", "/v/x.json", "/v1.2/x.json"], ["/v1/y.json", "/w/x.json", "/v1/2/x.json"]],
  ["/a*b*c", ["/abc", "/aXbYc", "/abbcc"], ["/acb", "/ab/c", "/abcd"]],
];
for (const [pattern, matches, not] of table) {
  test(`${pattern} matches what it shows and nothing else`, () => {
    const glob = compileGlob(pattern);
    for (const path of matches) assert.equal(glob.matches(path), true, path);
    for (const path of not) assert.equal(glob.matches(path), false, path);
  });
}

test("the literal prefix ends before the first star", () => {
  assert.equal(compileGlob("/a/b").literalPrefixLength, 4);
  assert.equal(compileGlob("/a/**").literalPrefixLength, 3);
  assert.equal(compileGlob("/a*").literalPrefixLength, 2);
  assert.equal(compileGlob("/a/**").source, "/a/**");
});

const bad: [pattern: string, says: RegExp][] = [
  ["", /begin with/],
  ["a/b", /begin with/],
  ["**", /begin with/],
  ["/a**", /whole segment/],
  ["/***", /whole segment/],
  ["/**/**", /twice/],
  ["/a//b", /empty segment/],
  ["/a/../b", /segment/],
  ["/a/.", /segment/],
  ["/a?b", /\?/],
  ["/a#b", /#/],
  ["/[a-z]", /\[/],
  ["/{a,b}", /\{/],
  ["/a\\b", /wildcards/],
  ["/a b", /space/],
  ["/é", /non-ASCII/],
  ["/a%2", /hex/],
  [`/${"a".repeat(MAX_GLOB_LENGTH)}`, /longer/],
];
for (const [pattern, says] of bad) {
  test(`the pattern ${JSON.stringify(pattern.slice(0, 12))} is refused with its reason`, () => {
    assert.throws(() => compileGlob(pattern), says);
  });
}

test("patterns made to backtrack stay linear in the path", () => {
  const started = performance.now();
  const inSegment = compileGlob(`/${"a*".repeat(200)}b`);
  assert.equal(inSegment.matches(`/${"a".repeat(8000)}`), false);
  const acrossSegments = compileGlob(`${"/**/a".repeat(80)}/b`);
  assert.equal(acrossSegments.matches("/a".repeat(4000)), false);
  const both = compileGlob(`${"/**/a*a*a".repeat(40)}/b`);
  assert.equal(both.matches(`/${"a".repeat(20)}`.repeat(400)), false);
  assert.ok(performance.now() - started < 1000);
});

/** The obvious exponential definition, for short inputs. */
function reference(pattern: readonly string[], path: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return path.length === 0;
  if (first === "**") {
    if (rest.length === 0) return path.length > 0;
    return path.some((_, skipped) => reference(rest, path.slice(skipped))) || reference(rest, []);
  }
  const [segment, ...others] = path;
  if (segment === undefined) return false;
  const fits = first === "*" ? segment !== "" : new RegExp(`^${first.replaceAll("*", ".*")}$`).test(segment);
  return fits && reference(rest, others);
}

test("matching agrees with the obvious definition", () => {
  const patternSegment = fc.constantFrom("a", "b", "*", "**", "a*", "*b", "a*b", "*a*");
  const pathSegment = fc.constantFrom("", "a", "b", "ab", "aab", "ba");
  fc.assert(
    fc.property(
      fc.array(patternSegment, { minLength: 1, maxLength: 5 }).filter((list) => {
        return list.every((segment, index) => segment !== "**" || list[index + 1] !== "**");
      }),
      fc.array(pathSegment, { minLength: 1, maxLength: 6 }),
      (pattern, path) => {
        const glob = compileGlob(`/${pattern.join("/")}`);
        assert.equal(glob.matches(`/${path.join("/")}`), reference(pattern, path));
      },
    ),
    { numRuns: 3000, seed: 7 },
  );
});
