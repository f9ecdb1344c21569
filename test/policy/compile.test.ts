import assert from "node:assert/strict";
import test from "node:test";
import { compiled, withRoutes } from "./policy-fixture.ts";

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
      budget: null,
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
    budget: null,
  });
  assert.deepEqual(openai?.timeouts, { connectMs: 5000, headersMs: 300_000, idleMs: 300_000 });
  assert.deepEqual(openai?.response, {
    scrub: true,
    setCookie: "strip",
    authenticate: "strip",
    tokens: "strip",
    rateLimit: true,
  });
  assert.deepEqual([openai?.retry, openai?.pace, openai?.askUsage], [null, false, true]);
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

test("a large policy compiles in time that grows with its size", () => {
  const routes = Array.from(
    { length: 1000 },
    (_, i) => `  r${i}: { provider: p, credentials: [p-main], clients: [app], allow: [{ paths: [/v${i}/**] }] }\n`,
  );
  const started = performance.now();
  assert.equal(compiled(withRoutes(routes.join(""))).snapshot.routes.length, 1000);
  assert.ok(performance.now() - started < 10_000);
});
