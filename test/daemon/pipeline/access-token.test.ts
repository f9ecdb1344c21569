import assert from "node:assert/strict";
import { test } from "node:test";
import type { AccessToken } from "../../../src/daemon/pipeline/access-token.ts";
import { SecretPool } from "../../../src/daemon/pipeline/secret-pool.ts";
import type { InjectionPlan, Rendering } from "../../../src/providers/auth/plan.ts";
import { Secret } from "../../../src/secret.ts";

const RENDER: Rendering = { encoding: "raw", fields: ["access_token"] };
const PLAN: InjectionPlan = {
  headers: [{ name: "authorization", prefix: "Bearer ", suffix: "", render: RENDER }],
  query: [],
  body: null,
};

test("exchanges go on with the token that they began with while newer ones have the next, and both are wiped", async (t) => {
  const pool = new SecretPool(() => assert.fail("the stored fields are not what is injected"), 10);
  t.after(() => pool.close());
  const lent: Secret[] = [];
  const token = (serial: number): AccessToken => ({
    serial,
    open: () => {
      const secret = Secret.copyOf(Buffer.from(`token-${serial}`));
      lent.push(secret);
      return new Map([["access_token", secret]]);
    },
  });
  const first = pool.acquire({ credentialId: "c1", version: 1, plan: PLAN, token: token(1), isSecret: () => true });
  const second = pool.acquire({ credentialId: "c1", version: 1, plan: PLAN, token: token(2), isSecret: () => true });
  const again = pool.acquire({ credentialId: "c1", version: 1, plan: PLAN, token: token(2), isSecret: () => true });
  const text = (lease: typeof first) => lease.bytesFor(RENDER).use(String);
  assert.deepEqual([text(first), text(second), text(again)], ["token-1", "token-2", "token-2"]);
  assert.equal(lent.length, 2);
  assert.ok(lent.every((secret) => secret.wiped));
  const rendered = [first, second].map((lease) => lease.bytesFor(RENDER));
  for (const lease of [first, second, again]) lease.release();
  const deadline = performance.now() + 5_000;
  while (pool.size > 0 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(rendered.every((secret) => secret.wiped));
});
