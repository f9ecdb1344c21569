import assert from "node:assert/strict";
import test from "node:test";
import { problemsOf, withRoutes } from "./policy-fixture.ts";

function pair(first: string, second: string, clients: readonly [string, string] = ["app", "app"]): string[] {
  const line = (id: string, rest: string, client: string) =>
    `  ${id}: { provider: p, credentials: [p-main], clients: [${client}]${rest} }\n`;
  return problemsOf(withRoutes(line("a", first, clients[0]) + line("b", second, clients[1])));
}

test("two routes that match one request equally well are refused", () => {
  assert.deepEqual(pair("", ""), [
    "policy.yaml:7 routes.b: matches api.p.test:443/** for client app as well as route a does (/**); give b or a narrower paths, other methods or other clients",
  ]);
  const ties: readonly [string, string][] = [
    ["", ", allow: [{ paths: [/**] }]"],
    [", allow: [{ methods: [GET] }]", ", allow: [{ methods: [POST, GET] }]"],
    [", allow: [{ paths: [/v1/**] }]", ", allow: [{ paths: [/v1/*] }]"],
    [", allow: [{ paths: [/v1/*/a] }]", ", allow: [{ paths: [/v1/x*/a, /v1/**] }]"],
    [", allow: [{ paths: [/v1] }]", ", allow: [{ paths: [/v1] }]"],
  ];
  for (const [first, second] of ties) assert.equal(pair(first, second).length, 1, `${first} | ${second}`);
});

test("routes between which there is a choice, or nothing to choose, are accepted", () => {
  const fine: readonly [string, string, (readonly [string, string])?][] = [
    ["", "", ["app", "batch"]],
    ["", ", allow: [{ paths: [/v1/**] }]"],
    ["", ", allow: [{ methods: [GET] }]"],
    [", allow: [{ methods: [GET] }]", ", allow: [{ methods: [POST] }]"],
    [", allow: [{ paths: [/v1/**] }]", ", allow: [{ paths: [/v2/**] }]"],
    [", allow: [{ paths: [/v1/*/a] }]", ", allow: [{ paths: [/v1/*/b] }]"],
    [", allow: [{ paths: [/v1/] }]", ", allow: [{ paths: [/v1/*] }]"],
    [", hosts: [api.p.test]", ", hosts: [data.p.test]"],
    [", hosts: [api.p.test]", ", hosts: ['api.p.test:8443']"],
  ];
  for (const [first, second, clients] of fine)
    assert.deepEqual(pair(first, second, clients), [], `${first} | ${second}`);
});
