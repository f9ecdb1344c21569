import assert from "node:assert/strict";
import { test } from "node:test";
import { functionSpans } from "./function-spans.ts";
import { maskSource } from "./source-mask.ts";

const spans = (text: string) => functionSpans(maskSource(text).code).map(({ name, lines }) => `${name} ${lines}`);

test("functions, methods and arrow functions are measured from the parameter list", () => {
  assert.deepEqual(spans("function a(\n  b: string,\n): void {\n  c();\n}"), ["a 5"]);
  assert.deepEqual(spans("class A {\n  async #m<T>(x: T) {\n    y();\n  }\n}"), ["#m 3"]);
  assert.deepEqual(spans("const f = (a: number): number => {\n  return a;\n};"), ["(anonymous) 3"]);
  assert.deepEqual(spans("const f = (a) =>\n  g({\n    a,\n  });"), ["(anonymous) 4"]);
});

test("return types of any shape do not hide the body", () => {
  assert.ok(spans("function a(): { b: string } | null {\n}").includes("a 2"));
  assert.ok(spans("function a(): Promise<Map<string, { b: () => void }>> {\n}").includes("a 2"));
  assert.ok(spans("function a(x: X): x is Y {\n}").includes("a 2"));
  assert.ok(spans("function a(): (c: string) => void {\n}").includes("a 2"));
  assert.ok(spans('function a(): readonly ("x" | "y")[] {\n}').includes("a 2"));
});

test("the function type of a return type is not taken for a function", () => {
  assert.deepEqual(spans("function a(): (c: string) => void {\n  d({\n  });\n}"), ["a 4"]);
});

test("control flow, calls and type members are not functions", () => {
  const text =
    "if (a) {\n} else {\n}\nfor (const b of c) {\n}\nswitch (d) {\n}\ntry {\n} catch (e) {\n}\nf(g);\nh(i)\n";
  assert.deepEqual(spans(text), []);
  assert.deepEqual(spans("interface A {\n  b(c: string): void;\n  d(): { e: string };\n}"), []);
});

test("braces in strings, templates and comments do not end a function", () => {
  assert.deepEqual(spans(`function a() {\n  b("}");\n  // }\n  c(\`}$\{d}\`);\n}`), ["a 5"]);
});
