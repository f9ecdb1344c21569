import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_YAML_BYTES, parseYamlStrict, YamlProblem } from "../../src/providers/yaml-document.ts";

function problemOf(text: string): YamlProblem {
  try {
    parseYamlStrict(text, "x.yaml");
  } catch (error) {
    if (error instanceof YamlProblem) return error;
    throw error;
  }
  throw new assert.AssertionError({ message: `accepted: ${text.slice(0, 60)}` });
}

test("plain maps, lists and scalars become plain values", () => {
  const { value } = parseYamlStrict("a: 1\nb: [x, true, null]\nc: { d: 0x10 }\n", "x.yaml");
  assert.deepEqual(value, { a: 1, b: ["x", true, null], c: { d: 16 } });
  assert.equal(parseYamlStrict("", "x.yaml").value, null);
});

test("a position is that of the key or item, and of the nearest parent when it is missing", () => {
  const { lineOf } = parseYamlStrict("a: 1\nb:\n  c:\n    - one\n    - d: 2\n", "x.yaml");
  assert.deepEqual(lineOf(["a"]), { line: 1, column: 1 });
  assert.deepEqual(lineOf(["b", "c"]), { line: 3, column: 3 });
  assert.deepEqual(lineOf(["b", "c", 1, "d"]), { line: 5, column: 7 });
  assert.deepEqual(lineOf(["b", "c", 1, "missing", "deeper"]), { line: 5, column: 7 });
  assert.deepEqual(lineOf(["b", "c", 9]), { line: 3, column: 3 });
  assert.deepEqual(lineOf(["missing"]), { line: 1, column: 1 });
});

const refused: [name: string, text: string, line: number, says: RegExp][] = [
  ["an alias", "a: 1\nb: *x\n", 2, /alias \*x/],
  ["an anchor", "a: &x 1\n", 1, /anchor &x/],
  ["an anchor on a map", "a: &x\n  b: 1\n", 2, /anchor &x/],
  ["a merge key", "a: 1\n<<: { b: 1 }\n", 2, /merge key/],
  ["a tag", "a: !!binary aGk=\n", 1, /tag/],
  ["an unknown tag", "a: !js x\n", 1, /tag/i],
  ["a directive", "%YAML 1.1\n---\na: 1\n", 1, /directive/],
  ["a second document", "a: 1\n---\nb: 1\n", 2, /documents/],
  ["a duplicate key", "a: 1\nb: 1\na: 2\n", 3, /duplicate key "a"/],
  ["a duplicate key that is written differently", "a: 1\n'a': 2\n", 2, /duplicate key "a"/],
  ["__proto__", "__proto__: { a: 1 }\n", 1, /__proto__/],
  ["a list as key", "? [a, b]\n: 1\n", 1, /string/],
  ["broken syntax", "a: 1\nb: [\n", 3, /./],
];
for (const [name, text, line, says] of refused) {
  test(`${name} is refused with its line`, () => {
    const problem = problemOf(text);
    assert.match(problem.problem, says);
    assert.equal(problem.line, line);
    assert.equal(problem.message, `x.yaml:${line}: ${problem.problem}`);
  });
}

test("an alias bomb is refused before it grows", () => {
  const layers = ["a: &a [x, x, x, x, x, x, x, x, x]"];
  for (let level = 1; level < 10; level++) {
    const below = `*${String.fromCharCode(96 + level)}`;
    layers.push(
      `${String.fromCharCode(97 + level)}: &${String.fromCharCode(97 + level)} [${Array(9).fill(below).join(", ")}]`,
    );
  }
  assert.match(problemOf(layers.join("\n")).problem, /alias|anchor/);
});

test("nesting is accepted to 20 levels and refused at 21", () => {
  const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;
  assert.ok(parseYamlStrict(nested(20), "x.yaml"));
  assert.match(problemOf(nested(21)).problem, /nested deeper than 20/);
});

test("files over the size limit are refused by their bytes", () => {
  assert.match(problemOf("#".repeat(MAX_YAML_BYTES + 1)).problem, /larger than/);
  assert.match(problemOf(`# ${"é".repeat(MAX_YAML_BYTES / 2)}`).problem, /larger than/);
});

test("very deep and very wide files are answered in bounded time", () => {
  const started = performance.now();
  assert.match(problemOf("[".repeat(100_000)).problem, /nested deeper/);
  assert.match(problemOf("- ".repeat(50_000)).problem, /nested deeper/);
  parseYamlStrict(Array.from({ length: 20_000 }, (_, index) => `k${index}: 1`).join("\n"), "x.yaml");
  assert.ok(performance.now() - started < 10_000);
});
