import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { compileModelPattern, patternsOverlap } from "../../src/policy/model-pattern.ts";

const CASES: readonly [pattern: string, matching: string[], other: string[]][] = [
  ["gpt-4o", ["gpt-4o"], ["gpt-4o-mini", "GPT-4o", "gpt-4", ""]],
  ["gpt-4o-20*", ["gpt-4o-2024-08-06", "gpt-4o-20"], ["gpt-4o", "gpt-4o-mini-2024-07-18", "gpt-4o-audio-preview-2024"]],
  ["*", ["", "a", "openai/gpt-oss-120b"], []],
  ["*-latest", ["-latest", "a/b-latest"], ["latest", "a-latest-1"]],
  ["a*b*c", ["abc", "aXbXc", "abbc", "abcbc"], ["ab", "acb", "aXc", "abcX"]],
  ["aa*aa", ["aaaa", "aaXaa"], ["aaa", "aa"]],
  ["a*a", ["aa", "aba"], ["a", "ab"]],
  ["__proto__", ["__proto__"], ["constructor"]],
];

test("a star stands for any characters, none and slashes included, and the rest for itself", () => {
  for (const [source, matching, other] of CASES) {
    const pattern = compileModelPattern(source);
    for (const model of matching) assert.ok(pattern.matches(model), `${source} and ${model}`);
    for (const model of other) assert.ok(!pattern.matches(model), `${source} but not ${model}`);
  }
});

test("a name with spaces, control characters or two stars in a row is refused", () => {
  for (const text of ["", "a b", "a\u0000", "\u00e4", "a\n", "x".repeat(201)]) {
    assert.throws(() => compileModelPattern(text), { message: /is not a model's name/ }, JSON.stringify(text));
  }
  assert.throws(() => compileModelPattern("a**"), { message: /one \* already stands for any characters/ });
});

const SHORT = fc.string({ unit: fc.constantFrom("a", "b", "*"), minLength: 1, maxLength: 6 });
const SOURCE = SHORT.map((text) => text.replace(/\*+/g, "*"));
/** Every word of a and b up to this length; two patterns of six characters that overlap do so in one of them. */
const WORDS = Array.from({ length: 11 }, (_, length) =>
  Array.from({ length: 2 ** length }, (_, bits) => [...bits.toString(2).padStart(length, "0")].slice(0, length)),
)
  .flat()
  .map((bits) => bits.map((bit) => (bit === "0" ? "a" : "b")).join(""));

test("a pattern matches what the regular expression of the same meaning does", () => {
  fc.assert(
    fc.property(SOURCE, (source) => {
      const expected = new RegExp(`^${source.replaceAll("*", ".*")}$`);
      const pattern = compileModelPattern(source);
      for (const word of WORDS) assert.equal(pattern.matches(word), expected.test(word), `${source} and ${word}`);
    }),
    { numRuns: 60 },
  );
});

test("two patterns overlap exactly when some name matches both", () => {
  fc.assert(
    fc.property(SOURCE, SOURCE, (left, right) => {
      const [a, b] = [compileModelPattern(left), compileModelPattern(right)];
      const common = WORDS.find((word) => a.matches(word) && b.matches(word));
      assert.equal(patternsOverlap(a, b), common !== undefined, `${left} and ${right}: ${common}`);
      assert.equal(patternsOverlap(b, a), patternsOverlap(a, b));
    }),
    { numRuns: 300 },
  );
});

test("matching a long name against many stars takes no time that grows with their product", () => {
  const pattern = compileModelPattern(`${"a*".repeat(90)}b`);
  assert.equal(pattern.matches("a".repeat(200)), false);
});
