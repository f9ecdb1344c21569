import assert from "node:assert/strict";
import test from "node:test";
import { problemsOf, withRoutes } from "./policy-fixture.ts";

/** Routes from line 6 on, and what an operator reads. */
const PROBLEMS: readonly [sentence: string, routes: string, ...expected: string[]][] = [
  [
    "a shared counter with two sizes",
    "  a: { provider: p, credentials: [p-main], clients: [app], limits: [{ name: plan, per: [credential], requests: 5/s }] }\n" +
      "  b: { provider: p, credentials: [p-main], clients: [batch], limits: [{ name: plan, per: [credential], requests: 6/s }] }",
    "policy.yaml:7 routes.b.limits[0]: counts together with limit plan of route a, which has other numbers or settings; write the same, rename one, or add route to per",
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

test("limits that share a budget agree about everything it promises", () => {
  const limited = (id: string, client: string, more: string) =>
    `  ${id}: { provider: p, credentials: [p-main], clients: [${client}], limits: [{ name: spend, per: [provider], ${more} }] }\n`;
  const first = limited("a", "app", "usd: 25/day");
  for (const same of ["usd: 25/day", "usd: 25.00/day, zone: UTC, warn: [95, 80, 50]", "tokens: 25/day"]) {
    assert.deepEqual(problemsOf(withRoutes(first + limited("b", "batch", same))), [], same);
  }
  for (const other of [
    "usd: 26/day",
    "usd: 25/d",
    "usd: 25/month",
    "usd: 25/day, zone: Europe/Berlin",
    "usd: 25/day, strict: true",
    "usd: 25/day, unpriced: allow",
    "usd: 25/day, warn: [90]",
    "usd: 25/day, mode: shadow",
  ]) {
    const [problem = "", ...more] = problemsOf(withRoutes(first + limited("b", "batch", other)));
    assert.match(problem, /counts together with limit spend of route a/, other);
    assert.deepEqual(more, []);
  }
});
