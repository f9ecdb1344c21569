import assert from "node:assert/strict";
import { test } from "node:test";
import { denial } from "../../../src/daemon/pipeline/denial.ts";
import { decide, type PolicyQuery } from "../../../src/policy/decide.ts";
import { compiled, withRoutes } from "../../policy/policy-fixture.ts";

const POLICY = compiled(
  withRoutes(
    "  p: { provider: p, credentials: [p-main], clients: [app], allow: [{ methods: [GET], paths: [/v1/**] }] }\n",
  ),
).snapshot;
const ALLOWED: PolicyQuery = {
  host: "api.p.test",
  port: 443,
  path: "/v1/x",
  method: "GET",
  client: "app",
  phase: "request",
};

test("every reason is said in words of its own, with code, route and the next step", () => {
  const cases: readonly [Partial<PolicyQuery>, string, string, RegExp][] = [
    [{ host: "evil.test" }, "no_route", "host_not_in_policy", /^no route leads to this host;/],
    [{ port: 8444 }, "no_route", "port_not_in_policy", /this port/],
    [{ client: "batch" }, "not_allowed", "client_not_on_route", /client batch is not on a route/],
    [{ method: "POST" }, "not_allowed", "method_not_on_route", /route p does not allow this method/],
    [{ path: "/v2" }, "not_allowed", "path_not_on_route", /route p does not allow this path/],
    [{ path: "/v1/../v2" }, "bad_request", "path_ambiguous", /two ways/],
    [{ method: "TRACE" }, "method_not_allowed", "trace_refused", /TRACE/],
  ];
  for (const [change, code, reason, words] of cases) {
    const decision = decide(POLICY, { ...ALLOWED, ...change });
    assert.ok(!decision.allow);
    const error = denial(decision, change.client ?? "app");
    assert.deepEqual([error.code, error.reason, error.route], [code, reason, decision.route?.id ?? null]);
    assert.match(error.publicMessage, words);
    assert.match(error.publicMessage, /sidekey policy explain/);
  }
});
