import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DEFAULT_LIMITS } from "../../src/daemon/config-limits.ts";
import { ROOT, readPage } from "./markdown-page.ts";

const section = /^## Bounds\n([\s\S]*?)^## /m.exec(readPage("docs/OPERATING.md"))?.[1] ?? "";
const rows = section.split("\n").filter((line) => /^\| (?!what |-)/.test(line));

test("every bound of the table names tests that exist", () => {
  assert.ok(rows.length >= 25, `only ${rows.length} bounds were found`);
  for (const row of rows) {
    const named = [...row.matchAll(/`(test\/[^`]+)`([^`]*(?:`(?!test\/)[^`]*`[^`]*)*)/g)];
    assert.ok(named.length > 0, `no test: ${row}`);
    for (const [, path = "", titles = ""] of named) {
      assert.ok(existsSync(join(ROOT, path)), path);
      const text = readFileSync(join(ROOT, path), "utf8");
      const quoted = [...titles.matchAll(/"([^"]+)"/g)].map(([, title = ""]) => title);
      assert.ok(quoted.length > 0, `no test of ${path} is named: ${row}`);
      for (const title of quoted) assert.ok(text.includes(title), `${path} has no test "${title}"`);
    }
  }
});

test("every key of `limits` is in the table of bounds and in the table of daemon.yaml", () => {
  const keys = Object.keys(DEFAULT_LIMITS).map((key) => `limits.${key.replace(/Ms$/, "")}`);
  const page = readPage("docs/OPERATING.md");
  for (const key of keys) {
    assert.ok(section.includes(`\`${key}\``), `${key} is not among the bounds`);
    assert.match(page, new RegExp(`^\\| \`${key.replace(".", "\\.")}\` \\|`, "m"));
  }
});
