import assert from "node:assert/strict";
import { test } from "node:test";
import { createGrants, routesOf } from "../../../src/daemon/monitor/grant.ts";
import type { Caller } from "../../../src/daemon/pipeline/limiter.ts";
import { NOTHING_KNOWN } from "../../../src/policy/budget.ts";
import type { PolicySnapshot } from "../../../src/policy/compile.ts";
import { bucketKey } from "../../../src/policy/limit.ts";
import { compiled, withRoutes } from "../../policy/policy-fixture.ts";
import { limiterBench } from "../../support/limiter-bench.ts";
import { storedCredential } from "./stored-credential.ts";

const MAIN = storedCredential({ name: "p-main" });

function policyWith(credentials: string, limits: string): PolicySnapshot {
  const bounded = limits === "" ? "" : `, limits: [ ${limits} ]`;
  const route = `{ provider: p, credentials: ${credentials}, clients: [app]${bounded} }`;
  return compiled(withRoutes(`  p: ${route}\n`)).snapshot;
}

const APP: Caller = { client: "app", ask: NOTHING_KNOWN, gone: () => new AbortController().signal };

test("a check counts against the credential's and the route's limits, as a request does", () => {
  const { limiter, clock } = limiterBench();
  const policy = policyWith(
    "[p-main]",
    "{ name: plan, per: [credential], requests: 3/min }, { name: all, per: [route], requests: 100/min }, " +
      "{ name: spend, per: [credential], usd: 1/month, strict: true }",
  );
  const grant = createGrants(limiter, () => policy);
  for (let n = 0; n < 3; n++) {
    const taken = grant(MAIN);
    assert.ok("release" in taken, `check ${n}`);
    taken.release();
  }
  const denied = grant(MAIN);
  assert.ok("retryMs" in denied && denied.retryMs > 0 && denied.retryMs <= 60_000);
  const [plan, all] = policy.routes[0]?.limits ?? [];
  assert.ok(plan && all);
  const ids = { client: "app", credential: "p-main", provider: "p", route: "p", user: null };
  assert.throws(() => limiter.reserve([{ spec: plan, key: bucketKey(plan, ids) }], APP), /plan/);
  clock.skip(61_000);
  assert.ok("release" in grant(MAIN));
});

test("a check never waits, even where requests may, and does not pass those that wait", async () => {
  const { limiter, clock } = limiterBench();
  const policy = policyWith("[p-main]", "{ name: plan, per: [credential], requests: 1/min, wait: 5m }");
  const grant = createGrants(limiter, () => policy);
  const [plan] = policy.routes[0]?.limits ?? [];
  assert.ok(plan);
  const key = bucketKey(plan, { client: "app", credential: "p-main", provider: "p", route: "p", user: null });
  assert.ok(!(limiter.reserve([{ spec: plan, key }], APP) instanceof Promise));
  const waiting = limiter.reserve([{ spec: plan, key }], APP);
  assert.ok(waiting instanceof Promise);
  assert.ok("retryMs" in grant(MAIN));
  assert.equal(limiter.waiting(), 1);
  await clock.advance(60_000);
  await waiting;
  assert.ok("retryMs" in grant(MAIN), "the waiting request has got the grant");
});

test("what is concurrent is given back, and limits per client or user are left alone", () => {
  const { limiter } = limiterBench();
  const policy = policyWith(
    "[p-main]",
    "{ name: open, per: [credential], concurrent: 1 }, { name: own, per: [client], requests: 1/h }",
  );
  const grant = createGrants(limiter, () => policy);
  const first = grant(MAIN);
  assert.ok("release" in first);
  assert.ok("retryMs" in grant(MAIN));
  first.release();
  const second = grant(MAIN);
  assert.ok("release" in second);
});

test("a credential on no route has no limits to keep to", () => {
  const { limiter } = limiterBench();
  const policy = policyWith("[p-main]", "{ name: plan, per: [credential], requests: 1/h }");
  const grant = createGrants(limiter, () => policy);
  for (let n = 0; n < 3; n++) assert.ok("release" in grant(storedCredential({ name: "p-spare" })));
});

test("the routes of a credential: named, as the fallback, or because it belongs to a user", () => {
  const owned = policyWith("{ owner: user, else: p-main }", "");
  const named = policyWith("[p-main]", "");
  const users = storedCredential({ name: "u7", owner: { kind: "user", id: "u7" } });
  const count = (policy: PolicySnapshot, credential = MAIN) => routesOf(policy, credential).length;
  assert.deepEqual([count(owned), count(owned, users), count(named), count(named, users)], [1, 1, 1, 0]);
  assert.equal(count(named, storedCredential({ name: "p-main", provider: "fmp" })), 0);
});
