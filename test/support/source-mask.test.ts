import assert from "node:assert/strict";
import { test } from "node:test";
import { maskSource } from "./source-mask.ts";

const code = (text: string): string => maskSource(text).code;

test("comments and string contents are blanked and offsets stay", () => {
  const text = "a(\"x{\"); // b {\n/* c\n{ */ d('e\\'{');";
  assert.equal(code(text), "a(\"  \");       \n    \n     d('    ');");
  assert.equal(code(text).length, text.length);
  assert.match(maskSource(text).withStrings, /^a\("x\{"\); +\n/);
});

test("code inside a template is code again, text around it is not", () => {
  const open = ["$", "{"].join("");
  const template = (outer: string, inner: string, tail: string): string =>
    `\`${outer}${open} f({ b: \`${inner}${open}d}\` }) }${tail}\` + {`;
  assert.equal(code(template("a{", "c}", "e}")), template("  ", "  ", "  "));
});

test("a regular expression is blanked and a division is not", () => {
  assert.equal(code("return /[/{]\\/}/g.test(a / b / c)"), "return /       /g.test(a / b / c)");
  assert.equal(code("x = (a) / 2 + b[1] / 3; // {"), "x = (a) / 2 + b[1] / 3;     ");
});

test("a quote inside a regular expression starts no string", () => {
  assert.equal(code("split(/[\"'`]/); f({"), "split(/     /); f({");
});
