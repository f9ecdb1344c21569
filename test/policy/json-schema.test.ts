import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { policyJsonSchema, pricesJsonSchema } from "../../src/policy/json-schema.ts";

const SCHEMAS: readonly [file: string, make: () => object][] = [
  ["config/policy.schema.json", policyJsonSchema],
  ["config/prices.schema.json", pricesJsonSchema],
];

for (const [file, make] of SCHEMAS) {
  test(`${file} is what the schema generates`, () => {
    const expected = `${JSON.stringify(make(), null, 2)}\n`;
    assert.equal(
      readFileSync(new URL(`../../${file}`, import.meta.url), "utf8"),
      expected,
      `write JSON.stringify(${make.name}(), null, 2) to ${file}`,
    );
  });

  test(`the schema of ${file} refuses unknown keys everywhere`, () => {
    const open: string[] = [];
    const visit = (node: unknown, path: string): void => {
      if (typeof node !== "object" || node === null) return;
      const { type, properties, additionalProperties } = node as Record<string, unknown>;
      if (type === "object" && properties !== undefined && additionalProperties !== false) open.push(path);
      for (const [key, value] of Object.entries(node)) visit(value, `${path}/${key}`);
    };
    visit(make(), "");
    assert.deepEqual(open, []);
  });
}
