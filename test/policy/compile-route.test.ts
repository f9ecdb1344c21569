import assert from "node:assert/strict";
import test from "node:test";
import { compiled, problemsOf, withRoutes } from "./policy-fixture.ts";

/** Routes from line 6 on, and what an operator reads. */
const PROBLEMS: readonly [sentence: string, routes: string, ...expected: string[]][] = [
  [
    "an unknown provider",
    "  a: { provider: nope, credentials: [x], clients: [app] }",
    'policy.yaml:6 routes.a.provider: unknown provider "nope"; see: sidekey provider list',
  ],
  [
    "an unknown environment",
    "  a: { provider: p, environment: eu, credentials: [p-main], clients: [app] }",
    'policy.yaml:6 routes.a.environment: p has no environment "eu"; write one of live, paper',
  ],
  [
    "an unknown client",
    "  a: { provider: p, credentials: [p-main], clients: [ghost] }",
    'policy.yaml:6 routes.a.clients[0]: unknown client "ghost"; add it under clients, such as ghost: { token: true }',
  ],
  [
    "a wildcard provider without exact hosts",
    "  a: { provider: wild, credentials: [w-main], clients: [app] }",
    "policy.yaml:6 routes.a: wild answers on *.w.test; name the exact ones, such as hosts: [my.w.test]",
  ],
  [
    "a host of another environment",
    "  a: { provider: p, hosts: [paper.p.test], credentials: [p-main], clients: [app] }",
    'policy.yaml:6 routes.a.hosts[0]: "paper.p.test" is not a host of p (live); its hosts are api.p.test, data.p.test, api.p.test:8443',
  ],
  [
    "a port that the provider does not name",
    "  a: { provider: p, hosts: ['data.p.test:8443'], credentials: [p-main], clients: [app] }",
    'policy.yaml:6 routes.a.hosts[0]: "data.p.test:8443" is not a host of p (live); its hosts are api.p.test, data.p.test, api.p.test:8443',
  ],
  [
    "a route with the name of another provider",
    "  fmp: { provider: p, credentials: [p-main], clients: [app] }",
    "policy.yaml:6 routes.fmp: is the name of another provider, so base URLs would mislead; rename it to p-fmp",
  ],
];

test("a route that contradicts the catalog is refused with line and next step", async (t) => {
  for (const [what, routes, ...expected] of PROBLEMS) {
    await t.test(what, () => assert.deepEqual(problemsOf(withRoutes(`${routes}\n`)), expected));
  }
});

test("look-alikes of a wildcard host are not covered by it", () => {
  for (const host of ["w.test", "a.b.w.test", "evilw.test", "a.w.test.evil.test", ".w.test"]) {
    const problems = problemsOf(
      withRoutes(`  w: { provider: wild, hosts: ["${host}"], credentials: [w-main], clients: [app] }\n`),
    );
    assert.equal(problems.length, 1, host);
  }
  assert.deepEqual(
    problemsOf(withRoutes("  w: { provider: wild, hosts: [A.w.test.], credentials: [w-main], clients: [app] }\n")),
    [],
  );
});

test("a retry that needs a second credential is warned about where there is none", () => {
  const warnings = (credentials: string, retry: string) =>
    compiled(withRoutes(`  a: { provider: p, clients: [app, batch], credentials: ${credentials}, retry: ${retry} }\n`))
      .warnings;
  const advice = "name a second one under credentials, or remove retry";
  for (const on of ["[refused]", "[limited]", "[refused, limited]"]) {
    assert.deepEqual(warnings("[p-main]", `{ on: ${on} }`), [
      `policy.yaml:6 routes.a.retry.on: refused and limited are tried again with another credential, and there is none; ${advice}`,
    ]);
    assert.deepEqual(warnings("[p-main, p-spare]", `{ on: ${on} }`), []);
    assert.match(
      warnings("{ owner: user, else: p-main }", `{ on: ${on} }`)[0] ?? "",
      /routes\.a\.retry\.on: .*, and a user has only one; /,
    );
  }
  for (const on of ["[connect]", "[refused, connect]", "[limited, unavailable]"]) {
    assert.deepEqual(warnings("[p-main]", `{ on: ${on} }`), []);
  }
  assert.deepEqual(warnings("[p-main]", "{}"), [], "all reasons, some of which need no second one");
});
