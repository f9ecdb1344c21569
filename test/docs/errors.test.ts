import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ERROR_STATUS } from "../../src/daemon/pipeline/errors.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/errors.md"), "utf8");
const sections = new Map(
  page
    .split(/^## /m)
    .slice(1)
    .map((section) => [section.slice(0, section.indexOf("\n")).trim(), section]),
);

test("every error code has a section, and every section is an error code", () => {
  assert.deepEqual([...sections.keys()].sort(), Object.keys(ERROR_STATUS).sort());
});

test("every section states the status of its code and a next step", () => {
  for (const [code, status] of Object.entries(ERROR_STATUS)) {
    const section = sections.get(code) ?? "";
    assert.match(section, new RegExp(`\\b${status}\\b`), `${code}: the status ${status} is not mentioned`);
    assert.match(section, /\bNext:/, `${code}: no next step`);
  }
});
