import assert from "node:assert/strict";
import test from "node:test";
import { compiled, problemsOf, withRoutes } from "./policy-fixture.ts";

/** The example of the design, without what belongs to later versions. */
const EXAMPLE = `version: 1
unmatched: deny                     # deny | tunnel
clients:
  app:      { token: true }
  batch:    { token: true, from: [10.20.0.0/16] }
  backend:  { token: true }
  legacy:   { trust: loopback }
  api:      { token: true, actsFor: users }
routes:
  fmp:
    provider: fmp
    credentials: [fmp-main]
    clients: [app, batch]
    allow: [ { methods: [GET], paths: [/stable/**, /api/v3/**] } ]
    limits:
      - { name: plan, per: [credential], requests: 300/min, burst: 30, wait: 2s }
  openai:
    provider: openai
    credentials: { use: [openai-main, openai-spare], choose: failover }
    clients: [backend]
    limits:
      - { name: rpm,    per: [credential], requests: 500/min }
      - { name: open,   per: [client], concurrent: 20, wait: 5s }
    response: { setCookie: strip }
    timeouts: { connect: 5s, headers: 300s, idle: 300s }
  personal:
    provider: openai
    environment: eu
    credentials: { owner: user, else: openai-eu }
    clients: [api, legacy]
`;

test("the design's example compiles to what it says", () => {
  const { snapshot, warnings } = compiled(EXAMPLE);
  assert.deepEqual(warnings, [
    "policy.yaml:7 clients.legacy.trust: any process at 127.0.0.0/8, ::1/128 is client legacy without a token; prefer token: true",
    'policy.yaml:29 routes.personal.credentials.else: credential "openai-eu" does not exist yet; add it with: sidekey credential add openai --name openai-eu --environment eu',
  ]);
  assert.equal(snapshot.revision, "r1");
  assert.deepEqual([...snapshot.interceptHosts], ["financialmodelingprep.com", "api.openai.com", "eu.api.openai.com"]);
  assert.deepEqual(
    [...snapshot.byAuthority.keys()],
    ["financialmodelingprep.com:443", "api.openai.com:443", "eu.api.openai.com:443"],
  );
  const fmp = snapshot.routesById.get("fmp");
  assert.deepEqual(fmp?.limits, [
    {
      name: "plan",
      kind: "requests",
      per: ["credential"],
      count: 300,
      periodMs: 60_000,
      burst: 30,
      waitMs: 2000,
      mode: "enforce",
    },
  ]);
  assert.deepEqual(
    fmp?.allow[0]?.paths?.map(({ source }) => source),
    ["/stable/**", "/api/v3/**"],
  );
  const openai = snapshot.routesById.get("openai");
  assert.deepEqual(openai?.limits[1], {
    name: "open",
    kind: "concurrent",
    per: ["client"],
    count: 20,
    periodMs: 0,
    burst: 20,
    waitMs: 5000,
    mode: "enforce",
  });
  assert.deepEqual(openai?.timeouts, { connectMs: 5000, headersMs: 300_000, idleMs: 300_000 });
  assert.deepEqual(openai?.response, { setCookie: "strip", authenticate: "strip" });
  const personal = snapshot.routesById.get("personal");
  assert.deepEqual(personal?.credentials, { use: [], choose: "failover", owner: "user", else: "openai-eu" });
  assert.deepEqual(personal?.hosts, [{ host: "eu.api.openai.com", port: 443, wildcard: false }]);
  assert.equal(snapshot.clients.get("batch")?.from[0]?.text, "10.20.0.0/16");
  assert.equal(snapshot.clients.get("api")?.actsFor, "users");
});

test("a snapshot cannot be changed, not even through its maps and sets", () => {
  const { snapshot } = compiled(EXAMPLE);
  const route = snapshot.routesById.get("fmp");
  const client = snapshot.clients.get("batch");
  assert.ok(route && client);
  const rule = route.allow[0];
  assert.ok(rule?.methods && rule.paths);
  const values = [
    snapshot,
    snapshot.routes,
    route,
    route.hosts,
    route.hosts[0],
    route.credentials,
    route.credentials.use,
  ];
  const more = [
    route.credentials.use[0],
    route.allow,
    rule,
    rule.paths,
    route.limits,
    route.limits[0],
    route.limits[0]?.per,
  ];
  const rest = [
    route.response,
    route.timeouts,
    route.private,
    client,
    client.from,
    client.from[0],
    client.from[0]?.network,
  ];
  for (const value of [...values, ...more, ...rest]) assert.equal(Object.isFrozen(value), true);
  const collections = [
    snapshot.clients,
    snapshot.routesById,
    snapshot.byAuthority,
    snapshot.interceptHosts,
    route.clients,
    rule.methods,
  ];
  for (const collection of collections) {
    const open = collection as unknown as Map<unknown, unknown> & Set<unknown>;
    assert.throws(() => open.clear(), /frozen/);
    assert.throws(() => open.delete("fmp"), /frozen/);
    assert.throws(() => (open instanceof Map ? open.set("x", 1) : (open as Set<unknown>).add("x")), /frozen/);
  }
});

/** Routes from line 6 on; what an operator reads. */
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
  [
    "a shared counter with two sizes",
    "  a: { provider: p, credentials: [p-main], clients: [app], limits: [{ name: plan, per: [credential], requests: 5/s }] }\n" +
      "  b: { provider: p, credentials: [p-main], clients: [batch], limits: [{ name: plan, per: [credential], requests: 6/s }] }",
    "policy.yaml:7 routes.b.limits[0]: counts together with limit plan of route a, which has other numbers or another mode; write the same, rename one, or add route to per",
  ],
];

test("a policy that contradicts the catalog or itself is refused with line and next step", async (t) => {
  for (const [sentence, routes, ...expected] of PROBLEMS) {
    await t.test(sentence, () => assert.deepEqual(problemsOf(withRoutes(`${routes}\n`)), expected));
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

test("what does not exist yet is a warning that says how to make it", () => {
  const { warnings } = compiled(
    "version: 1\nclients:\n  app: { token: true }\n  fresh: { token: true }\n  idle: { token: true }\n  nobody: { token: true }\nroutes:\n  a: { provider: p, credentials: { owner: user }, clients: [app, fresh] }\n",
  );
  assert.deepEqual(warnings, [
    "policy.yaml:4 clients.fresh: has no token yet; make one with: sidekey client add fresh",
    "policy.yaml:5 clients.idle: has no token yet; make one with: sidekey client add idle",
    "policy.yaml:5 clients.idle: is on no route and may use nothing; name it in the clients of a route",
    "policy.yaml:6 clients.nobody: has no token yet; make one with: sidekey client add nobody",
    "policy.yaml:6 clients.nobody: is on no route and may use nothing; name it in the clients of a route",
    "policy.yaml:8 routes.a.credentials: client app acts for no user, so it finds no key here; add actsFor: users to it, or else:",
    "policy.yaml:8 routes.a.credentials: client fresh acts for no user, so it finds no key here; add actsFor: users to it, or else:",
  ]);
});

test("an address that would be two clients is refused", () => {
  const yaml = "version: 1\nclients:\n  a: { trust: loopback }\n  b: { trust: [10.0.0.0/8, 127.0.0.1] }\nroutes: {}\n";
  assert.deepEqual(problemsOf(yaml), [
    "policy.yaml:4 clients.b.trust: 127.0.0.1/32 is also trusted as client a; an address can be one client only",
  ]);
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

test("a large policy compiles in time that grows with its size", () => {
  const routes = Array.from(
    { length: 3000 },
    (_, i) => `  r${i}: { provider: p, credentials: [p-main], clients: [app], allow: [{ paths: [/v${i}/**] }] }\n`,
  );
  const started = performance.now();
  assert.equal(compiled(withRoutes(routes.join(""))).snapshot.routes.length, 3000);
  assert.ok(performance.now() - started < 10_000);
});
