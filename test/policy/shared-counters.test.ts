import assert from "node:assert/strict";
import test from "node:test";
import { problemsOf, withRoutes } from "./policy-fixture.ts";

/** Routes from line 6 on, and what an operator reads. */
const PROBLEMS: readonly [sentence: string, routes: string, ...expected: string[]][] = [
  [
    "a shared counter with two sizes",
    "  a: { provider: p, credentials: [p-main], clients: [app], limits: [{ name: plan, per: [credential], requests: 5/s }] }\n" +
      "  b: { provider: p, credentials: [p-main], clients: [batch], limits: [{ name: plan, per: [credential], requests: 6/s }] }",
    "policy.yaml:7 routes.b.limits[0]: counts together with limit plan of route a, which has other numbers or another mode; write the same, rename one, or add route to per",
  ],
];

test("limits that share a counter but not its size are refused", async (t) => {
  for (const [what, routes, ...expected] of PROBLEMS) {
    await t.test(what, () => assert.deepEqual(problemsOf(withRoutes(`${routes}\n`)), expected));
  }
});

test("a shared counter with one size, and differing ones that are told apart, are accepted", () => {
  const limited = (id: string, client: string, limit: string) =>
    `  ${id}: { provider: p, credentials: [p-main], clients: [${client}], limits: [${limit}] }\n`;
  const same = "{ name: plan, per: [credential], requests: 5/s }";
  assert.deepEqual(problemsOf(withRoutes(limited("a", "app", same) + limited("b", "batch", same))), []);
  for (const other of [
    "{ name: mine, per: [credential], requests: 6/s }",
    "{ name: plan, per: [credential, route], requests: 6/s }",
    "{ name: plan, per: [client], requests: 6/s }",
    "{ name: plan, per: [credential], concurrent: 6 }",
  ]) {
    assert.deepEqual(problemsOf(withRoutes(limited("a", "app", same) + limited("b", "batch", other))), [], other);
  }
});
