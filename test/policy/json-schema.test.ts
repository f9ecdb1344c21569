import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { policyJsonSchema } from "../../src/policy/json-schema.ts";

const FILE = new URL("../../config/policy.schema.json", import.meta.url);

test("config/policy.schema.json is what the schema generates", () => {
  const expected = `${JSON.stringify(policyJsonSchema(), null, 2)}\n`;
  assert.equal(
    readFileSync(FILE, "utf8"),
    expected,
    "write JSON.stringify(policyJsonSchema(), null, 2) to config/policy.schema.json",
  );
});

test("the generated schema refuses unknown keys everywhere", () => {
  const open: string[] = [];
  const visit = (node: unknown, path: string): void => {
    if (typeof node !== "object" || node === null) return;
    const { type, properties, additionalProperties } = node as Record<string, unknown>;
    if (type === "object" && properties !== undefined && additionalProperties !== false) open.push(path);
    for (const [key, value] of Object.entries(node)) visit(value, `${path}/${key}`);
  };
  visit(policyJsonSchema(), "");
  assert.deepEqual(open, []);
});
