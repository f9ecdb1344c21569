import assert from "node:assert/strict";
import { test } from "node:test";
import { pause } from "../support/running-sidekey.ts";
import { startStandIn } from "../support/stand-in.ts";
import { FORMS, formClient } from "./form-client.ts";
import { HOST, oneRoute } from "./one-route.ts";
import { twoKeys } from "./two-keys.ts";

const TIMEOUT = { timeout: 20_000 };

/** OpenAI's own fields. */
function told(limit: number, remaining: number, reset: string): Record<string, string> {
  return {
    "x-ratelimit-limit-requests": String(limit),
    "x-ratelimit-remaining-requests": String(remaining),
    "x-ratelimit-reset-requests": reset,
  };
}

test(
  "what an answer tells of the provider's limits is in /metrics, and in the next start's memory",
  TIMEOUT,
  async (t) => {
    const standIn = await startStandIn(t, {
      hostnames: [HOST],
      handler: () => ({ headers: told(500, 123, "60s"), body: "ok" }),
    });
    const sidekey = await oneRoute(t, standIn);
    assert.equal((await formClient(t, "absolute", sidekey).ask()).status, 200);
    const metrics = async (url: string) => (await fetch(`${url}/metrics`)).text();
    const before = await metrics(sidekey.metricsUrl);
    assert.match(before, /^sidekey_provider_limit\{credential="main",kind="requests"\} 500$/m);
    assert.match(before, /^sidekey_provider_remaining\{credential="main",kind="requests"\} 123$/m);
    assert.match(before, /^sidekey_provider_held\{credential="main"\} 0$/m);
    const restarted = await sidekey.restart();
    assert.match(
      await metrics(restarted.metricsUrl),
      /^sidekey_provider_remaining\{credential="main",kind="requests"\} 123$/m,
    );
  },
);

test("after a 429 no client is let through until the provider said, and then the first one is", TIMEOUT, async (t) => {
  let limited = true;
  const { sidekey, asked, standIn } = await twoKeys(t, "", () =>
    limited ? { status: 429, headers: { "retry-after": "3" }, body: "slow" } : { body: "ok" },
  );
  const ask = (form: (typeof FORMS)[number], client: string) =>
    formClient(t, form, { ...sidekey, client }).ask({ path: "/v1/x" });
  for (const client of ["app", "other"]) assert.equal((await ask("absolute", client)).status, 429);
  assert.equal(asked().length, 2, "each key was told once");
  for (const form of FORMS) {
    const held = await ask(form, "other");
    assert.deepEqual([held.status, held.values("sidekey-error")], [429, ["limit_exceeded"]]);
    assert.ok(Number(held.values("retry-after")[0]) >= 1);
  }
  assert.equal(asked().length, 2);
  limited = false;
  let answer = await ask("absolute", "other");
  while (answer.status !== 200) {
    await pause(100);
    answer = await ask("absolute", "other");
  }
  assert.ok(standIn.requests.length >= 3);
});

test("with `pace` requests slow down before the provider's limit, and none is refused by it", TIMEOUT, async (t) => {
  // A provider that allows 10 requests in each 2 seconds, and says so.
  let used = 0;
  let endsAt = 0;
  let refused = 0;
  const standIn = await startStandIn(t, {
    hostnames: [HOST],
    handler: () => {
      const now = performance.now();
      if (now >= endsAt) [used, endsAt] = [0, now + 2_000];
      const status = used < 10 ? 200 : 429;
      if (status === 200) used++;
      else refused++;
      return { status, headers: told(10, 10 - used, `${Math.ceil(endsAt - now)}ms`), body: "ok" };
    },
  });
  const sidekey = await oneRoute(t, standIn, "pace: on");
  // From the first answer on it is known.
  assert.equal((await formClient(t, "absolute", sidekey).ask({ path: "/v1/x" })).status, 200);
  const answers = await Promise.all(
    Array.from({ length: 23 }, () => formClient(t, "absolute", sidekey).ask({ path: "/v1/x" })),
  );
  const seen = answers.map(({ status }) => status);
  assert.equal(refused, 0, `${refused} went too far: ${seen}`);
  assert.ok(seen.filter((status) => status === 200).length >= 20, seen.join());
});
