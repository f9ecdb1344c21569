import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { pause } from "../support/running-sidekey.ts";
import { type StandIn, type StandInAnswer, startStandIn } from "../support/stand-in.ts";
import { FORMS, formClient } from "./form-client.ts";
import { daemonCounts, HOST, type OneRoute, oneRoute, recordsAgree } from "./one-route.ts";

const TIMEOUT = { timeout: 20_000 };

interface Setup {
  readonly standIn: StandIn;
  readonly sidekey: OneRoute;
}

async function start(t: TestContext, limit: string, handler?: () => Promise<StandInAnswer>): Promise<Setup> {
  const standIn = await startStandIn(t, { hostnames: [HOST], handler: handler ?? (() => ({ body: "ok" })) });
  return { standIn, sidekey: await oneRoute(t, standIn, `limits: [ ${limit} ]`) };
}

/** Waits until sidekey has taken `count` requests in. */
async function arrived(sidekey: OneRoute, count: number): Promise<void> {
  while (((await daemonCounts(sidekey)).inFlight ?? 0) + sidekey.requests().length < count) await pause(2);
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
  const { standIn, sidekey } = await start(t, "{ name: pace, per: [route], requests: 5/s, burst: 1, wait: 10s }");
  const order: number[] = [];
  const asked: Promise<void>[] = [];
  for (let n = 0; n < 6; n++) {
    const client = formClient(t, FORMS[n % FORMS.length] ?? "absolute", sidekey);
    const exchange = await client.open({ path: `/${n}` });
    exchange.request.end();
    asked.push(exchange.whole().then(({ status }) => void (status === 200 && order.push(n))));
    await arrived(sidekey, n + 1);
  }
  await Promise.all(asked);
  assert.deepEqual(
    standIn.requests.map(({ target }) => target),
    ["/0", "/1", "/2", "/3", "/4", "/5"],
  );
  assert.deepEqual(order, [0, 1, 2, 3, 4, 5]);
  await recordsAgree(sidekey, 6);
});

test("a wait that would be too long is refused at once", TIMEOUT, async (t) => {
  const { sidekey } = await start(t, "{ name: slow, per: [client], requests: 1/h, burst: 1, wait: 1s }");
  const client = formClient(t, "absolute", sidekey);
  assert.equal((await client.ask()).status, 200);
  const since = performance.now();
  assert.equal((await client.ask()).status, 429);
  assert.ok(performance.now() - since < 900, "it waited although that could not help");
});

test("a client that leaves while it waits gives its place to the next", TIMEOUT, async (t) => {
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { standIn, sidekey } = await start(t, "{ name: one, per: [client], concurrent: 1, wait: 10s }", async () => {
    await held;
    return { body: "ok" };
  });
  const [first, leaver, last] = await Promise.all(
    ["/first", "/leaver", "/last"].map((path) => formClient(t, "absolute", sidekey).open({ path })),
  );
  assert.ok(first && leaver && last);
  for (const [n, exchange] of [first, leaver, last].entries()) {
    exchange.request.end();
    await arrived(sidekey, n + 1);
  }
  leaver.abort();
  await sidekey.requestsLogged(1);
  release();
  assert.deepEqual([(await first.whole()).status, (await last.whole()).status], [200, 200]);
  assert.deepEqual(
    standIn.requests.map(({ target }) => target),
    ["/first", "/last"],
  );
  await recordsAgree(sidekey, 3);
  assert.deepEqual(
    sidekey.requests().map(({ outcome }) => outcome),
    ["client_closed", "ok", "ok"],
  );
});

test("a concurrent limit holds until the answer has ended, and no longer", TIMEOUT, async (t) => {
  const releases: (() => void)[] = [];
  const { standIn, sidekey } = await start(t, "{ name: open, per: [client], concurrent: 2 }", async () => {
    await new Promise<void>((resolve) => releases.push(resolve));
    return { body: "ok" };
  });
  const clients = FORMS.map((form) => formClient(t, form, sidekey));
  const running = clients.slice(0, 2).map((client) => client.ask());
  while (standIn.requests.length < 2) await pause(2);
  const denied = await clients[2]?.ask();
  assert.equal(denied?.status, 429);
  assert.deepEqual(denied?.values("ratelimit-policy"), ['"open";q=2;qu="concurrent-requests"']);
  for (const release of releases) release();
  for (const answer of await Promise.all(running)) assert.equal(answer.status, 200);
  const next = clients[3]?.ask();
  while (releases.length < 3) await pause(2);
  releases[2]?.();
  assert.equal((await next)?.status, 200);
  await recordsAgree(sidekey, 4);
});

test("a limit in shadow mode counts and lets pass", TIMEOUT, async (t) => {
  const { standIn, sidekey } = await start(t, "{ name: plan, per: [client], requests: 1/h, burst: 1, mode: shadow }");
  const client = formClient(t, "absolute", sidekey);
  for (let n = 0; n < 3; n++) {
    const answer = await client.ask();
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.values("ratelimit"), []);
  }
  assert.equal(standIn.requests.length, 3);
});

test("a restart does not forget what a limit has counted", TIMEOUT, async (t) => {
  const { standIn, sidekey } = await start(t, "{ name: plan, per: [credential], requests: 3/h, burst: 3 }");
  for (let n = 0; n < 2; n++) assert.equal((await formClient(t, "absolute", sidekey).ask()).status, 200);
  const again = { ...(await sidekey.restart()), host: HOST, route: "openai" };
  const client = formClient(t, "absolute", again);
  assert.equal((await client.ask()).status, 200);
  assert.equal((await client.ask()).status, 429);
  assert.equal(standIn.requests.length, 3);
});

test("a request that finds no provider costs nothing", TIMEOUT, async (t) => {
  const limits = "limits: [ { name: plan, per: [client], requests: 1/h, burst: 1 } ]";
  const standIn = await startStandIn(t, { hostnames: [HOST] });
  const sidekey = await oneRoute(t, { port: 1, caPem: null }, limits);
  const client = formClient(t, "absolute", sidekey);
  for (let n = 0; n < 3; n++) assert.equal((await client.ask()).status, 502);
  await recordsAgree(sidekey, 3);
  const untrusted = await oneRoute(t, { port: standIn.port, caPem: null }, limits);
  for (let n = 0; n < 3; n++) assert.equal((await formClient(t, "absolute", untrusted).ask()).status, 502);
});

test("a request that its provider cuts is counted: it may have been done", TIMEOUT, async (t) => {
  const limits = "limits: [ { name: plan, per: [client], requests: 1/h, burst: 1 } ]";
  const standIn = await startStandIn(t, { hostnames: [HOST], handler: (_request, socket) => void socket.destroy() });
  const sidekey = await oneRoute(t, standIn, limits);
  const client = formClient(t, "absolute", sidekey);
  assert.equal((await client.ask()).status, 502);
  assert.equal((await client.ask()).status, 429);
});
