import assert from "node:assert/strict";
import { test } from "node:test";
import { createMetrics } from "../../src/daemon/metrics.ts";
import { policyJsonSchema } from "../../src/policy/json-schema.ts";
import { readPage } from "./markdown-page.ts";

const PAGE = readPage("docs/OPERATING.md");

test("every metric has a row in OPERATING, and every row is a metric", async () => {
  const text = await createMetrics().render();
  const exported = new Set([...text.matchAll(/^# TYPE (sidekey_\w+)/gm)].map(([, name = ""]) => name));
  assert.ok(exported.size > 20);
  const rows = [...PAGE.matchAll(/^\| (`sidekey_.*?) \|/gm)].flatMap(
    ([, cell = ""]) => cell.match(/sidekey_\w+/g) ?? [],
  );
  assert.deepEqual(new Set(rows), exported);
});

test("every key of a route in policy.yaml is explained in OPERATING", () => {
  const schema = JSON.parse(JSON.stringify(policyJsonSchema())) as {
    properties: { routes: { additionalProperties: { properties: Record<string, unknown> } } };
  };
  const keys = Object.keys(schema.properties.routes.additionalProperties.properties);
  assert.ok(keys.includes("provider") && keys.length > 10);
  const table = PAGE.slice(PAGE.indexOf("The parts of a route"), PAGE.indexOf("## Limits"));
  assert.deepEqual(
    keys.filter((key) => !new RegExp(`^\\|.*\`${key}\`.*\\|.*\\|.*\\|$`, "m").test(table)),
    [],
  );
});
