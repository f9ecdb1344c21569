import assert from "node:assert/strict";
import { test } from "node:test";
import { bucketOf, longestWaitMs } from "../../../src/daemon/pipeline/ramp.ts";
import { compiled, withRoutes } from "../../policy/policy-fixture.ts";

test("buckets are spread evenly over clients and users, whatever they are called", () => {
  for (const [what, name] of Object.entries<(n: number) => { client: string; user: string | null }>({
    clients: (n) => ({ client: `app-${n}`, user: null }),
    numbers: (n) => ({ client: String(n), user: null }),
    users: (n) => ({ client: "api", user: `user-${n}` }),
  })) {
    const counts = new Array<number>(100).fill(0);
    for (let n = 0; n < 20_000; n++) {
      const bucket = bucketOf("0123456789abcdef", name(n));
      assert.ok(Number.isInteger(bucket) && bucket >= 0 && bucket < 100);
      counts[bucket] = (counts[bucket] ?? 0) + 1;
    }
    assert.ok(Math.min(...counts) > 120 && Math.max(...counts) < 290, `${what}: ${Math.min(...counts)}`);
  }
});

test("a bucket is that of credential, client and user together, and always the same", () => {
  const of = (id: string, client: string, user: string | null) => bucketOf(id, { client, user });
  assert.equal(of("id", "app", null), of("id", "app", null));
  const all = Array.from({ length: 200 }, (_, n) => `x${n}`);
  const differ = (other: (n: string) => number) => all.filter((n) => of("id", n, null) !== other(n)).length;
  assert.ok(differ((n) => of("id2", n, null)) > 180, "another credential");
  assert.ok(differ((n) => of("id", n, "u")) > 180, "a user of it");
  assert.ok(differ((n) => of("i", `d${n}`, null)) > 180, "the same letters, split elsewhere");
});

test("the longest wait is that of the policy's limits", () => {
  const route = (limits: string) =>
    compiled(
      withRoutes(`  p: { provider: p, credentials: [p-main], clients: [app]${limits && `, limits: [${limits}]`} }\n`),
    ).snapshot;
  assert.equal(longestWaitMs(route(""), "p"), 0);
  const two = "{ name: a, per: [route], requests: 5/s, wait: 2s }, { name: b, per: [client], requests: 9/s, wait: 7s }";
  assert.equal(longestWaitMs(route(two), "p"), 7_000);
  assert.equal(longestWaitMs(route(two), "q"), 0);
});
