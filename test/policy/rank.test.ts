import assert from "node:assert/strict";
import test from "node:test";
import { coversPath, restrictsPaths, routeRank, ruleRank } from "../../src/policy/rank.ts";
import { compileGlob } from "../../src/providers/glob.ts";
import { compiled, withRoutes } from "./policy-fixture.ts";

const GET: ReadonlySet<string> = new Set(["GET"]);

test("a longer literal beginning counts before an exact pattern, and that before named methods", () => {
  const rank = (source: string | null, methods: ReadonlySet<string> | null = null) =>
    ruleRank(methods, source === null ? null : compileGlob(source));
  const ascending = [
    rank(null),
    rank(null, GET),
    rank("/", null),
    rank("/v*", GET),
    rank("/v1/**"),
    rank("/v1/**", GET),
    rank("/v1/"),
    rank("/v1/", GET),
    rank("/v1/a*"),
    rank("/v1/a"),
  ];
  assert.deepEqual(
    [...ascending].sort((a, b) => a - b),
    ascending,
  );
  assert.equal(new Set(ascending).size, ascending.length);
  assert.equal(rank(null), rank("/**"), "no pattern means every path");
});

function route(allow: string) {
  const found = compiled(
    withRoutes(`  a: { provider: p, credentials: [p-main], clients: [app]${allow} }\n`),
  ).snapshot.routesById.get("a");
  assert.ok(found);
  return found;
}

test("a route counts by its narrowest rule that allows the request", () => {
  const wide = route("");
  const ruled = route(", allow: [{ paths: [/v1/**] }, { methods: [GET], paths: [/v1/a, /v1/a*] }, { methods: [PUT] }]");
  assert.equal(routeRank(wide, "GET", "/x"), ruleRank(null, null));
  assert.equal(routeRank(ruled, "GET", "/v1/a"), ruleRank(GET, compileGlob("/v1/a")));
  assert.equal(routeRank(ruled, "POST", "/v1/a"), ruleRank(null, compileGlob("/v1/**")));
  assert.equal(routeRank(ruled, "PUT", "/x"), ruleRank(GET, null));
  assert.equal(routeRank(ruled, "GET", "/x"), -1);
});

test("what a route covers and whether it restricts paths", () => {
  const ruled = route(", allow: [{ methods: [GET], paths: [/v1/**] }]");
  assert.deepEqual([coversPath(ruled, "/v1/x"), coversPath(ruled, "/v2")], [true, false]);
  assert.deepEqual(
    [restrictsPaths(ruled), restrictsPaths(route("")), restrictsPaths(route(", allow: [{ methods: [GET] }]"))],
    [true, false, false],
  );
});
