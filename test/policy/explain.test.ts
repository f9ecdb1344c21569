import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { decide, type PolicyQuery } from "../../src/policy/decide.ts";
import { explain } from "../../src/policy/explain.ts";
import { compiled, withRoutes } from "./policy-fixture.ts";

fc.configureGlobal({ seed: 20260901 });

const { snapshot } = compiled(
  withRoutes(`  p: { provider: p, hosts: [api.p.test], credentials: { use: [p-main, { name: p-spare, weight: 3 }], choose: weighted }, clients: [app], allow: [{ methods: [GET], paths: [/v1/**] }], limits: [{ name: plan, per: [credential], requests: 300/min, burst: 30, wait: 2s }, { name: open, per: [client, route], concurrent: 4, mode: shadow }] }
  personal: { provider: p, hosts: [data.p.test], credentials: { owner: user, else: p-main }, clients: [batch] }
`),
);

function steps(overrides: Partial<PolicyQuery>): string[] {
  const query: PolicyQuery = {
    host: "api.p.test",
    port: 443,
    path: "/v1/x",
    method: "GET",
    client: "app",
    phase: "request",
    ...overrides,
  };
  return explain(snapshot, query).steps.map(({ rule, ok, text }) => `${rule} ${ok ? "ok" : "NO"}: ${text}`);
}

test("an allowed request is explained rule by rule, down to credential and limits", () => {
  assert.deepEqual(steps({}), [
    "host ok: api.p.test is named by the policy",
    "port ok: port 443 is named with it",
    "client ok: app may use a route there",
    "path ok: /v1/x is on route p",
    "method ok: GET is allowed by route p",
    "credential ok: p-main (weight 1), p-spare (weight 3) by weighted",
    "limit ok: plan: 300 per 60 s, 30 in a row per credential, waits up to 2000 ms",
    "limit ok: open: 4 at once per client and route, only reported",
  ]);
  assert.equal(
    steps({ host: "data.p.test", client: "batch" }).at(-1),
    "credential ok: the user's own credential of p, else p-main",
  );
});

test("a denial names the rule that denied and stops there", () => {
  const last = (overrides: Partial<PolicyQuery>) => steps(overrides).at(-1);
  assert.equal(
    last({ host: "x.test" }),
    "host NO: no route names x.test; add it to the hosts of a route, or check the spelling",
  );
  assert.equal(last({ port: 80 }), "port NO: no route names port 80 of api.p.test; named is api.p.test:443");
  assert.equal(last({ client: "batch" }), "client NO: batch is in the clients of none of p");
  assert.equal(last({ path: "/v2" }), "path NO: /v2 is not among p: GET on /v1/**");
  assert.equal(last({ method: "PUT" }), "method NO: PUT is not among p: GET on /v1/**");
  assert.deepEqual(steps({ method: "TRACE" }), [
    "method NO: TRACE is never forwarded: its answer would contain the key",
  ]);
  assert.deepEqual(
    steps({ phase: "connect", client: null }).at(-1),
    "client ok: the client has to show its token inside",
  );
});

test("explain never says anything else than decide", () => {
  const query = fc.record({
    host: fc.constantFrom("api.p.test", "data.p.test", "x.test"),
    port: fc.constantFrom(443, 80),
    path: fc.constantFrom("/v1/x", "/v2", "/v1/../x", "/v1//x", "", "*"),
    method: fc.constantFrom("GET", "POST", "TRACE", "OPTIONS"),
    client: fc.constantFrom("app", "batch", "ghost", null),
    phase: fc.constantFrom("request" as const, "connect" as const),
  });
  fc.assert(
    fc.property(query, (asked) => {
      const explanation = explain(snapshot, asked);
      assert.deepEqual(explanation.decision, decide(snapshot, asked));
      assert.equal(
        explanation.steps.every(({ ok }) => ok),
        explanation.decision.allow,
      );
    }),
    { numRuns: 1000 },
  );
});
