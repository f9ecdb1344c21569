import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { globsOverlap } from "../../src/policy/glob-overlap.ts";
import { compileGlob } from "../../src/providers/glob.ts";

fc.configureGlobal({ seed: 20260901 });

/** All paths of up to five segments over a small alphabet. */
function somePaths(): string[] {
  const segments = ["", "a", "b", "ab"];
  let level = [""];
  const all: string[] = [];
  for (let depth = 0; depth < 5; depth++) {
    level = level.flatMap((path) => segments.map((segment) => `${path}/${segment}`));
    all.push(...level);
  }
  return all;
}

test("two globs overlap exactly when some path matches both", () => {
  const paths = somePaths();
  const segment = fc.constantFrom("a", "b", "*", "**", "a*", "*b", "ab");
  const glob = fc
    .tuple(fc.array(segment, { minLength: 1, maxLength: 2 }), fc.boolean())
    .map(([segments, slash]) => `/${segments.join("/")}${slash ? "/" : ""}`)
    .filter((source) => !source.includes("**/**"))
    .map(compileGlob);
  fc.assert(
    fc.property(glob, glob, (a, b) => {
      const witness = paths.find((path) => a.matches(path) && b.matches(path));
      assert.equal(globsOverlap(a, b), witness !== undefined, `${a.source} ${b.source} ${witness}`);
      assert.equal(globsOverlap(a, b), globsOverlap(b, a));
    }),
    { numRuns: 1500 },
  );
});
