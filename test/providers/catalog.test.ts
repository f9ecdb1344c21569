import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { CatalogError, loadCatalog } from "../../src/providers/catalog.ts";

const directories: string[] = [];
after(() => {
  for (const directory of directories) rmSync(directory, { recursive: true });
});

function directoryWith(files: Record<string, string>): string {
  const directory = mkdtempSync(join(tmpdir(), "sidekey-catalog-"));
  directories.push(directory);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  return directory;
}

function provider(id: string): string {
  return `id: ${id}
name: ${id}
category: demo
docs: https://${id}.example/
sources: [test]
environments: { live: { hosts: [api.shared.example] } }
fields: { api_key: { label: Key, secret: true } }
auth: [{ scheme: query, query: { key: api_key } }]
`;
}

function errorOf(directory: string): CatalogError {
  try {
    loadCatalog(directory);
  } catch (error) {
    if (error instanceof CatalogError) return error;
    throw error;
  }
  throw new assert.AssertionError({ message: "the catalog was accepted" });
}

test("the shipped catalog loads, ordered by name, with its source text", () => {
  const { providers, sourceText } = loadCatalog(join(import.meta.dirname, "../../config/providers"));
  const ids = [...providers.keys()];
  for (const id of [
    "demo",
    "fmp",
    "taapi",
    "alpha-vantage",
    "polygon",
    "ibkr",
    "alpaca",
    "openai",
    "anthropic",
    "gemini",
  ]) {
    assert.ok(ids.includes(id), id);
  }
  assert.ok(sourceText.includes("id: fmp\n"));
});

test("two providers may share a host; other files are ignored", () => {
  const directory = directoryWith({
    "b.yaml": provider("b"),
    "a.yaml": provider("a"),
    "notes.md": "x",
    ".a.yaml": "x",
  });
  const { providers, sourceText } = loadCatalog(directory);
  assert.deepEqual([...providers.keys()], ["a", "b"]);
  assert.equal(sourceText, `# a.yaml\n${provider("a")}\n# b.yaml\n${provider("b")}\n`);
});

test("every bad file is reported in one error", () => {
  const directory = directoryWith({
    "good.yaml": provider("good"),
    "huge.yaml": "#".repeat(2 * 1024 * 1024),
    "twice.yaml": `${provider("twice")}name: again\n`,
    "wrong.yaml": provider("right"),
  });
  const error = errorOf(directory);
  assert.deepEqual(
    error.problems.map(({ file, line }) => [file.slice(directory.length + 1), line]),
    [
      ["huge.yaml", 1],
      ["twice.yaml", 9],
      ["wrong.yaml", 1],
    ],
  );
  assert.match(error.message, /huge\.yaml:1 larger than 1048576 bytes/);
  assert.equal(error.message.split("\n").length, 3);
});

test("a directory that is missing or empty says so", () => {
  assert.match(errorOf(join(directoryWith({}), "nowhere")).message, /nowhere:1 cannot be read \(ENOENT\)/);
  assert.match(errorOf(directoryWith({ "readme.txt": "" })).message, /has no \*\.yaml file/);
});
