import assert from "node:assert/strict";
import { test } from "node:test";
import { authorityCarriers } from "../../../src/daemon/pipeline/carriers.ts";
import { compilePolicy } from "../../../src/policy/compile.ts";
import { parsePolicy } from "../../../src/policy/parse.ts";
import { parseProvider } from "../../../src/providers/schema.ts";
import { CATALOG, KNOWN } from "../../policy/policy-fixture.ts";

const OTHER = parseProvider(
  `id: other
name: other
category: demo
docs: https://docs.p.test/
sources: ["made up for tests (D)"]
environments: { live: { hosts: [api.p.test] } }
fields: { key: { label: Key, secret: true } }
auth: [{ scheme: query, query: { apikey: key } }]
carriers: { headers: [x-other], cookies: [sid] }
`,
  "other.yaml",
);
const POLICY = compilePolicy(
  parsePolicy(
    `version: 1
clients: { app: { token: true }, batch: { token: true } }
routes:
  p: { provider: p, credentials: [p-main], clients: [app] }
  other: { provider: other, credentials: [other-main], clients: [batch] }
`,
    "policy.yaml",
  ),
  { providers: new Map([...CATALOG.providers, ["other", OTHER]]) },
  KNOWN,
  "r1",
).snapshot;

test("every provider behind an authority counts, and the union is made once", () => {
  const both = authorityCarriers(POLICY, "api.p.test", 443);
  assert.deepEqual([...(both?.headers ?? [])].sort(), ["x-key", "x-other"]);
  assert.deepEqual([[...(both?.query ?? [])], [...(both?.cookies ?? [])]], [["apikey"], ["sid"]]);
  assert.equal(authorityCarriers(POLICY, "api.p.test", 443), both);
  assert.deepEqual([...(authorityCarriers(POLICY, "data.p.test", 443)?.headers ?? [])], ["x-key"]);
});

test("a host or port that no route names has none", () => {
  assert.equal(authorityCarriers(POLICY, "evil.test", 443), null);
  assert.equal(authorityCarriers(POLICY, "data.p.test", 8443), null);
});
