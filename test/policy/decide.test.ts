import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { decide, type PolicyQuery, routeForSegment } from "../../src/policy/decide.ts";
import { compiled, withRoutes } from "./policy-fixture.ts";

fc.configureGlobal({ seed: 20260901 });

const { snapshot } = compiled(
  withRoutes(`  p: { provider: p, hosts: [api.p.test], credentials: [p-main], clients: [app], allow: [{ methods: [GET], paths: [/v1/**] }, { methods: [POST], paths: [/v1/orders] }] }
  p-wide: { provider: p, hosts: [api.p.test, data.p.test], credentials: [p-spare], clients: [batch] }
  p-admin: { provider: p, hosts: [api.p.test], credentials: [p-main], clients: [app, batch], allow: [{ paths: [/v1/admin/**] }] }
  fmp: { provider: fmp, credentials: [fmp-main], clients: [app] }
`),
);

function ask(overrides: Partial<PolicyQuery>): string {
  const query: PolicyQuery = {
    host: "api.p.test",
    port: 443,
    path: "/v1/x",
    method: "GET",
    client: "app",
    phase: "request",
    ...overrides,
  };
  const decision = decide(snapshot, query);
  if (decision.allow) return decision.route.id;
  return `${decision.code} ${decision.reason} ${decision.route?.id ?? "-"}`;
}

const CASES: readonly [sentence: string, query: Partial<PolicyQuery>, expected: string][] = [
  ["allows what the route allows", {}, "p"],
  ["prefers the route with the narrower path", { path: "/v1/admin/keys" }, "p-admin"],
  ["prefers it for another client too", { path: "/v1/admin/keys", client: "batch" }, "p-admin"],
  ["takes a route without rules for everything", { path: "/anything", method: "DELETE", client: "batch" }, "p-wide"],
  ["takes the exact path of another rule", { method: "POST", path: "/v1/orders" }, "p"],
  ["denies an unknown host", { host: "api.q.test" }, "no_route host_not_in_policy -"],
  ["denies another port of a known host", { port: 8443 }, "no_route port_not_in_policy -"],
  ["denies a known name with a suffix", { host: "api.p.test.evil.test" }, "no_route host_not_in_policy -"],
  ["denies a known name with a prefix", { host: "evilapi.p.test" }, "no_route host_not_in_policy -"],
  ["denies a label in front of a known name", { host: "x.api.p.test" }, "no_route host_not_in_policy -"],
  ["denies the parent of a known name", { host: "p.test" }, "no_route host_not_in_policy -"],
  ["denies a spelling that is not canonical", { host: "API.p.test" }, "no_route host_not_in_policy -"],
  [
    "denies a client of another route",
    { host: "financialmodelingprep.com", client: "batch" },
    "not_allowed client_not_on_route fmp",
  ],
  ["denies a client that does not exist", { client: "ghost" }, "not_allowed client_not_on_route -"],
  ["denies nobody", { client: null }, "not_allowed client_not_on_route -"],
  [
    "denies another method on an allowed path",
    { method: "DELETE", path: "/v1/orders" },
    "not_allowed method_not_on_route p",
  ],
  ["denies another path", { path: "/v2/x" }, "not_allowed path_not_on_route -"],
  ["denies the prefix itself without its slash", { path: "/v1" }, "not_allowed path_not_on_route -"],
  ["compares paths by case", { path: "/V1/x" }, "not_allowed path_not_on_route -"],
  ["refuses TRACE before anything else", { method: "TRACE", host: "x.test" }, "method_not_allowed trace_refused -"],
  ["refuses TRACE in any case of letters", { method: "tRaCe", client: "batch" }, "method_not_allowed trace_refused -"],
  ["refuses a dot segment", { path: "/v1/../admin" }, "bad_request path_ambiguous -"],
  ["refuses an encoded dot segment", { path: "/v1/%2E%2e/admin" }, "bad_request path_ambiguous -"],
  ["refuses a doubly encoded dot segment", { path: "/v1/%252e%252e/admin" }, "bad_request path_ambiguous -"],
  ["refuses a dot segment at the end", { path: "/v1/.." }, "bad_request path_ambiguous -"],
  ["refuses a single dot", { path: "/v1/./x" }, "bad_request path_ambiguous -"],
  ["refuses a dot segment with a parameter", { path: "/v1/..;a=b/admin" }, "bad_request path_ambiguous -"],
  ["refuses a dot segment with an encoded parameter", { path: "/v1/..%3Ba/admin" }, "bad_request path_ambiguous -"],
  ["refuses a dot segment between encoded slashes", { path: "/v1/x%2f..%2Fadmin" }, "bad_request path_ambiguous -"],
  ["refuses a dot segment between backslashes", { path: "/v1\\..\\admin" }, "bad_request path_ambiguous -"],
  [
    "refuses dot segments where no path is restricted",
    { client: "batch", host: "data.p.test", path: "/a/%2e%2e/b" },
    "bad_request path_ambiguous p-wide",
  ],
  ["refuses a path that does not begin with a slash", { path: "v1/x" }, "bad_request path_ambiguous -"],
  ["refuses an empty path", { path: "" }, "bad_request path_ambiguous -"],
  ["refuses a query in the path", { path: "/v1/x?a" }, "bad_request path_ambiguous -"],
  ["refuses a fragment in the path", { path: "/v1/x#a" }, "bad_request path_ambiguous -"],
  ["refuses a space in the path", { path: "/v1/x y" }, "bad_request path_ambiguous -"],
  ["refuses a non-ASCII path", { path: "/v1/ü" }, "bad_request path_ambiguous -"],
  ["denies an encoded slash where paths are restricted", { path: "/v1/a%2fb" }, "not_allowed path_ambiguous p"],
  ["denies an encoded backslash where paths are restricted", { path: "/v1/a%5Cb" }, "not_allowed path_ambiguous p"],
  ["denies a backslash where paths are restricted", { path: "/v1/a\\b" }, "not_allowed path_ambiguous p"],
  ["denies an empty segment where paths are restricted", { path: "/v1//b" }, "not_allowed path_ambiguous p"],
  [
    "denies an encoded percent sign where paths are restricted",
    { path: "/v1/a%252fb" },
    "not_allowed path_ambiguous p",
  ],
  [
    "denies it as well when another route of the client restricts paths",
    { client: "batch", path: "/a//v1/admin/x" },
    "not_allowed path_ambiguous p-wide",
  ],
  [
    "allows an encoded slash where nothing is restricted",
    { client: "batch", host: "data.p.test", path: "/a%2Fb//c" },
    "p-wide",
  ],
  ["allows dots that are part of a name", { path: "/v1/a..b/.well-known/..." }, "p"],
  ["allows an encoded dot that is part of a name", { path: "/v1/a%2ejson" }, "p"],
  [
    "allows OPTIONS * where everything is allowed",
    { client: "batch", host: "data.p.test", method: "OPTIONS", path: "*" },
    "p-wide",
  ],
  ["denies OPTIONS * where paths are restricted", { method: "OPTIONS", path: "*" }, "not_allowed path_not_on_route -"],
  [
    "refuses * with another method",
    { client: "batch", host: "data.p.test", method: "GET", path: "*" },
    "bad_request path_ambiguous p-wide",
  ],
  [
    "accepts a CONNECT to a known authority from a client that may use it",
    { phase: "connect", path: "", method: "CONNECT" },
    "p",
  ],
  [
    "accepts a CONNECT for the time being when nobody has shown a token",
    { phase: "connect", client: null, path: "", method: "CONNECT" },
    "p",
  ],
  [
    "denies a CONNECT from a client that is on no route there",
    { phase: "connect", client: "ghost", path: "" },
    "not_allowed client_not_on_route -",
  ],
  ["denies a CONNECT to an unknown host", { phase: "connect", host: "x.test" }, "no_route host_not_in_policy -"],
  ["denies a CONNECT to another port", { phase: "connect", port: 80 }, "no_route port_not_in_policy -"],
];

test("decide", async (t) => {
  for (const [sentence, query, expected] of CASES) await t.test(sentence, () => assert.equal(ask(query), expected));
});

const anyQuery = fc.record({
  host: fc.oneof(fc.constantFrom("api.p.test", "data.p.test", "financialmodelingprep.com", "x.test"), fc.domain()),
  port: fc.constantFrom(443, 80, 8443),
  path: fc.oneof(
    fc
      .array(fc.constantFrom("v1", "admin", "orders", "..", "%2e%2e", "%2f", "", "a", "\\"), { maxLength: 6 })
      .map((parts) => `/${parts.join("/")}`),
    fc.string({ maxLength: 20 }),
  ),
  method: fc.constantFrom("GET", "POST", "DELETE", "TRACE", "OPTIONS", "get"),
  client: fc.oneof(fc.constantFrom("app", "batch", "ghost", ""), fc.constant(null)),
  phase: fc.constantFrom("request" as const, "connect" as const),
});

test("an allowed request always has its client on the route, its authority and its path too", () => {
  fc.assert(
    fc.property(anyQuery, (query) => {
      const decision = decide(snapshot, query);
      if (!decision.allow) return;
      const { route } = decision;
      assert.ok(route.hosts.some(({ host, port }) => host === query.host && port === query.port));
      if (query.client === null) assert.equal(query.phase, "connect");
      else assert.ok(route.clients.has(query.client));
      if (query.phase === "connect" || route.allow.length === 0) return;
      const covers = route.allow.some(({ methods, paths }) => {
        return (methods?.has(query.method) ?? true) && (paths?.some((glob) => glob.matches(query.path)) ?? true);
      });
      assert.ok(covers);
      assert.ok(!/\.\.|%2e|%2f|\\|\/\//i.test(query.path), query.path);
    }),
    { numRuns: 5000 },
  );
});

test("no host but an exact one ever matches", () => {
  const decoration = fc.stringMatching(/^[a-z0-9.-]{1,12}$/);
  fc.assert(
    fc.property(decoration, decoration, (before, after) => {
      for (const host of [`${before}api.p.test`, `api.p.test${after}`, `${before}api.p.test${after}`]) {
        assert.equal(ask({ host }).startsWith("no_route"), true, host);
      }
    }),
  );
});

test("a decision costs the same among a thousand routes as among four", () => {
  const routes = Array.from(
    { length: 1000 },
    (_, i) => `  w${i}: { provider: wild, hosts: [h${i}.w.test], credentials: [w-main], clients: [app] }\n`,
  );
  const { snapshot: large } = compiled(withRoutes(routes.join("")));
  const query: PolicyQuery = {
    host: "h999.w.test",
    port: 443,
    path: "/x",
    method: "GET",
    client: "app",
    phase: "request",
  };
  let compared = 0;
  const counting = new Proxy(large.byAuthority, {
    get(target, key) {
      compared++;
      const value: unknown = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  assert.equal(decide({ ...large, byAuthority: counting, routes: [] }, query).allow, true);
  assert.equal(compared, 1);
});

test("the first segment of a base URL names a route, else the routes to a provider", () => {
  const ids = (segment: string) => routeForSegment(snapshot, segment).map(({ id }) => id);
  assert.deepEqual(ids("p"), ["p", "p-wide", "p-admin"]);
  assert.deepEqual(ids("p-wide"), ["p-wide"]);
  assert.deepEqual(ids("fmp"), ["fmp"]);
  assert.deepEqual(ids("openai"), []);
  assert.deepEqual(ids("constructor"), []);
});
