import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type StandIn, type StandInAnswer, startStandIn } from "../support/stand-in.ts";
import { FORMS, formClient } from "./form-client.ts";
import { HOST, type OneRoute, oneRoute, recordsAgree } from "./one-route.ts";

const TIMEOUT = { timeout: 20_000 };

interface Setup {
  readonly standIn: StandIn;
  readonly sidekey: OneRoute;
}

async function start(t: TestContext, limit: string, handler?: () => Promise<StandInAnswer>): Promise<Setup> {
  const standIn = await startStandIn(t, { hostnames: [HOST], handler: handler ?? (() => ({ body: "ok" })) });
  return { standIn, sidekey: await oneRoute(t, standIn, `limits: [ ${limit} ]`) };
}

for (const form of FORMS) {
  test(`${form}: what is over a limit gets 429, and when to come back`, TIMEOUT, async (t) => {
    const { standIn, sidekey } = await start(t, "{ name: plan, per: [credential], requests: 2/h, burst: 2 }");
    const client = formClient(t, form, sidekey);
    for (let n = 0; n < 2; n++) assert.equal((await client.ask()).status, 200);
    const denied = await client.ask();
    assert.equal(`${denied.status} ${denied.values("sidekey-error")}`, "429 limit_exceeded");
    const [after] = denied.values("retry-after");
    assert.ok(Number(after) > 0 && Number(after) <= 3600, `Retry-After is ${after}`);
    assert.deepEqual(denied.values("ratelimit-policy"), ['"plan";q=2;w=3600']);
    assert.match(denied.values("ratelimit").join(), /^"plan";r=0;t=\d+$/);
    assert.deepEqual(denied.values("content-type"), ["application/problem+json"]);
    assert.equal(JSON.parse(String(denied.body)).code, "limit_exceeded");
    assert.equal(standIn.requests.length, 2);
    await recordsAgree(sidekey, 3);
    assert.equal(sidekey.requests().at(-1)?.outcome, "limit_exceeded");
  });
}

test("requests wait for a limit in the order in which they came", TIMEOUT, async (t) => {
  const { standIn, sidekey } = await start(t, "{ name: pace, per: [route], requests: 20/s, burst: 1, wait: 10s }");
  const order: number[] = [];
  const asked: Promise<void>[] = [];
  for (let n = 0; n < 6; n++) {
    const client = formClient(t, FORMS[n % FORMS.length] ?? "absolute", sidekey);
    const exchange = await client.open({ path: `/${n}` });
    exchange.request.end();
    asked.push(exchange.whole().then(({ status }) => void (status === 200 && order.push(n))));
    while ((await waiting(sidekey)) < n) await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(asked);
  assert.deepEqual(
    standIn.requests.map(({ target }) => target),
    ["/0", "/1", "/2", "/3", "/4", "/5"],
  );
  assert.deepEqual(order, [0, 1, 2, 3, 4, 5]);
  await recordsAgree(sidekey, 6);
});
