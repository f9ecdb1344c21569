import assert from "node:assert/strict";
import test from "node:test";
import { compiled, problemsOf, withRoutes } from "./policy-fixture.ts";

/** Routes from line 6 on, and what an operator reads. */
const PROBLEMS: readonly [sentence: string, routes: string, ...expected: string[]][] = [
  [
    "a credential of another provider",
    "  a: { provider: p, credentials: [fmp-main], clients: [app] }",
    'policy.yaml:6 routes.a.credentials[0]: credential "fmp-main" belongs to fmp, not to p; name one of p',
  ],
  [
    "a credential of another environment",
    "  a: { provider: p, credentials: [p-paper], clients: [app] }",
    'policy.yaml:6 routes.a.credentials[0]: credential "p-paper" is for paper, but the route goes to live; write environment: paper or name another',
  ],
  [
    "no credential where one is needed",
    "  a: { provider: p, credentials: [], clients: [app] }",
    "policy.yaml:6 routes.a.credentials: is empty, but p needs a key; name a credential",
  ],
  [
    "a credential where none is taken",
    "  a: { provider: local, credentials: [p-main], clients: [app] }",
    "policy.yaml:6 routes.a.credentials: local takes no key; write credentials: []",
    'policy.yaml:6 routes.a.credentials[0]: credential "p-main" belongs to p, not to local; name one of local',
  ],
  [
    "a key over plain http",
    "  a: { provider: p, upstream: http, credentials: [p-main], clients: [app] }",
    "policy.yaml:6 routes.a.upstream: keys only go over verified TLS; write https or remove the key",
  ],
  [
    "a credential named twice",
    "  a: { provider: p, credentials: [p-main, p-main], clients: [app] }",
    "policy.yaml:6 routes.a.credentials: names a credential twice; remove one",
  ],
];

test("credentials that cannot serve their route are refused with line and next step", async (t) => {
  for (const [what, routes, ...expected] of PROBLEMS) {
    await t.test(what, () => assert.deepEqual(problemsOf(withRoutes(`${routes}\n`)), expected));
  }
});

test("weights, fallbacks and the users' own credentials compile to one shape", () => {
  const credentials = (yaml: string) =>
    compiled(withRoutes(`  a: { provider: p, credentials: ${yaml}, clients: [app] }\n`)).snapshot.routesById.get("a")
      ?.credentials;
  const [main, spare] = [
    { name: "p-main", weight: 1 },
    { name: "p-spare", weight: 1 },
  ];
  const plain = { choose: "failover", owner: null, else: null };
  assert.deepEqual(credentials("[p-main, p-spare]"), { ...plain, use: [main, spare] });
  assert.deepEqual(credentials("{ use: [p-main, p-spare], choose: round-robin }"), {
    ...plain,
    use: [main, spare],
    choose: "round-robin",
  });
  assert.deepEqual(credentials("{ use: [p-main, { name: p-spare, weight: 9 }], choose: weighted }"), {
    ...plain,
    use: [main, { name: "p-spare", weight: 9 }],
    choose: "weighted",
  });
  assert.deepEqual(credentials("{ owner: user, else: p-main }"), { ...plain, use: [], owner: "user", else: "p-main" });
});
