import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { importsOf, matches, readTree, resolveImport, sourceFile, valueNames } from "./source-file.ts";
import { tempDir } from "./temp-dir.ts";

const imports = (text: string) => importsOf(sourceFile("src/a/b.ts", text));

test("every form of import is seen, with the line it is on", () => {
  const text = [
    'import a, { b, type C } from "x";',
    'import type { D } from "./d.ts";',
    'import "side";',
    'export * from "../e.ts";',
    'const f = await import("node:net");',
    "import {",
    "  g,",
    '} from "long";',
  ].join("\n");
  assert.deepEqual(
    imports(text).map(({ specifier, typeOnly, kind, line }) => [specifier, typeOnly, kind, line]),
    [
      ["x", false, "import", 1],
      ["./d.ts", true, "import", 2],
      ["side", false, "import", 3],
      ["../e.ts", false, "re-export", 4],
      ["long", false, "import", 6],
      ["node:net", false, "dynamic", 5],
    ],
  );
});

test("imports in strings and comments, and exports of values, are none", () => {
  assert.deepEqual(imports('const s = `import a from "x"`; // import "y"\nexport const t = "z";\nexport { s };'), []);
});

test("an import of types alone is known however it is written", () => {
  assert.equal(imports('import { type A, type B } from "x";')[0]?.typeOnly, true);
  assert.equal(imports('import { type A, b } from "x";')[0]?.typeOnly, false);
});

test("value names are told from types, aliases and namespaces", () => {
  assert.deepEqual(valueNames("net, { connect as dial, type Socket }"), [
    ["connect", "dial"],
    ["*", "net"],
  ]);
  assert.deepEqual(valueNames("* as tls"), [["*", "tls"]]);
  assert.deepEqual(valueNames("type { A }"), []);
});

test("a relative import resolves from the repository root", () => {
  const file = sourceFile("src/a/b.ts", "");
  assert.equal(resolveImport(file, "../c.ts"), "src/c.ts");
  assert.equal(resolveImport(file, "undici"), null);
});

test("matches name path and line", () => {
  assert.deepEqual(matches(sourceFile("a.ts", "x;\n  y();"), "code", /y\(\)/g), ["a.ts:2 y()"]);
});

test("the tree is read without what does not belong to the repository", (t) => {
  const root = tempDir(t);
  for (const folder of ["src/deep", "node_modules/x", ".git"]) mkdirSync(join(root, folder), { recursive: true });
  for (const path of ["src/deep/a.ts", "README.md", "node_modules/x/i.js", ".git/HEAD", "run.log", "logo.png"]) {
    writeFileSync(join(root, path), "");
  }
  assert.deepEqual(
    readTree(root).map(({ path }) => path),
    ["README.md", "src/deep/a.ts"],
  );
});
