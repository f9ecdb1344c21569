import assert from "node:assert/strict";
import { once } from "node:events";
import { type TestContext, test } from "node:test";
import { FORMS, type FormClient, formClient, type OpenExchange } from "./form-client.ts";
import { chatAsk, jsonAnswer, type LyingScene, lyingScene, until } from "./lying-scene.ts";
import { daemonCounts, HOST, oneRoute, outcomes } from "./one-route.ts";
import { startRawProvider } from "./raw-provider.ts";

const TIMEOUT = { timeout: 30_000 };

const CHAT = chatAsk();
const BODY = String(CHAT.body);

/** Sends a whole request, whose answer nobody waits for. */
async function send(t: TestContext, scene: LyingScene): Promise<OpenExchange> {
  const exchange = await scene.client(t).open(CHAT);
  exchange.request.on("error", () => {});
  exchange.request.end(BODY);
  return exchange;
}

/** Waits until so many requests have got as far as to their limits. */
function inFlight(scene: LyingScene, count: number): Promise<void> {
  return until(async () => (await daemonCounts(scene.sidekey)).inFlight === count);
}

/** What the log says of the next exchange that ends, and what it has cost. */
async function ended(scene: LyingScene, whatEnds: () => void | Promise<void>) {
  const { tokens } = await scene.left();
  const logged = scene.sidekey.requests().length;
  await whatEnds();
  const lines = await scene.sidekey.requestsLogged(logged + 1);
  assert.equal(lines.length, logged + 1);
  return { outcome: lines.at(-1)?.outcome, charged: tokens - (await scene.left()).tokens };
}

test(
  "who leaves while it waits for its route's limit costs nothing, and leaves the place to others",
  TIMEOUT,
  async (t) => {
    const scene = await lyingScene(t);
    let answer = (): void => {};
    scene.next((socket) => {
      answer = () => void socket.end(jsonAnswer("{}"));
    });
    const asked = scene.asked();
    const first = await send(t, scene);
    await until(() => scene.asked() === asked + 1);
    const left = await ended(scene, async () => {
      const waiting = await send(t, scene);
      await inFlight(scene, 2);
      waiting.abort();
    });
    assert.deepEqual(left, { outcome: "client_closed", charged: 0 });
    assert.equal(scene.asked(), asked + 1);
    answer();
    assert.equal((await first.whole()).status, 200);
    await scene.sidekey.requestsLogged(4);
    await scene.well();
  },
);

test("who leaves while it waits for the provider's limit costs nothing", TIMEOUT, async (t) => {
  const scene = await lyingScene(t);
  scene.next(jsonAnswer("{}", "retry-after-ms: 1800\r\n", 429));
  assert.equal((await scene.client(t).ask(CHAT)).status, 429);
  await scene.sidekey.requestsLogged(3);
  const asked = scene.asked();
  const waits = await ended(scene, async () => {
    const waiting = await send(t, scene);
    await inFlight(scene, 1);
    waiting.abort();
  });
  assert.deepEqual(waits, { outcome: "client_closed", charged: 0 });
  assert.equal(scene.asked(), asked);
  assert.equal((await scene.left()).places, 1);
});

test("who sends half a body and leaves costs nothing: nothing was sent on", TIMEOUT, async (t) => {
  const scene = await lyingScene(t);
  for (const framing of [{ "content-length": String(BODY.length) }, { "transfer-encoding": "chunked" }]) {
    const asked = scene.asked();
    const exchange = await scene.client(t).open({ ...CHAT, headers: { ...CHAT.headers, ...framing } });
    exchange.request.on("error", () => {});
    const half = await ended(scene, async () => {
      exchange.request.write(BODY.slice(0, 20));
      await inFlight(scene, 1);
      exchange.abort();
    });
    assert.deepEqual(half, { outcome: "client_closed", charged: 0 });
    assert.equal(scene.asked(), asked);
    await scene.well();
  }
});

/** Sends the head alone; its body waits for a 100. */
async function expectant(client: FormClient): Promise<OpenExchange> {
  const headers = { ...CHAT.headers, expect: "100-continue", "content-length": String(BODY.length) };
  const exchange = await client.open({ ...CHAT, headers });
  exchange.request.on("error", () => {});
  (exchange.request as { flushHeaders?: () => void }).flushHeaders?.();
  await once(exchange.request, "continue");
  return exchange;
}

for (const form of FORMS) {
  test(`${form}: a body that has to be read first is asked for with 100, and may never come`, TIMEOUT, async (t) => {
    const scene = await lyingScene(t);
    const client = formClient(t, form, scene.sidekey);
    const exchange = await expectant(client);
    exchange.request.end(BODY);
    assert.equal((await exchange.whole()).status, 200);
    await scene.sidekey.requestsLogged(3);
    const leaving = await expectant(client);
    const asked = scene.asked();
    assert.deepEqual(await ended(scene, () => leaving.abort()), { outcome: "client_closed", charged: 0 });
    assert.equal(scene.asked(), asked);
    await scene.well();
  });

  test(
    `${form}: an answer that comes before the body was sent reaches the client, and so does the next`,
    TIMEOUT,
    async (t) => {
      const provider = await startRawProvider(t, HOST, ({ socket, connection }) => {
        socket.resume();
        const status = connection === 1 ? "413 Too Large" : "200 OK";
        socket.write(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok`);
        if (connection > 1) socket.end();
      });
      const sidekey = await oneRoute(t, provider);
      const exchange = await formClient(t, form, sidekey).open({ method: "POST", body: "later", headers: {} });
      exchange.request.on("error", () => {});
      exchange.request.write("a beginning");
      const { status } = await exchange.answer;
      assert.equal(status, 413);
      exchange.request.end();
      assert.equal(String((await exchange.whole()).body), "ok");
      await (await provider.call(1)).closed;
      const next = await formClient(t, form, sidekey).ask();
      assert.equal(`${next.status} ${next.body}`, "200 ok");
      assert.deepEqual(await outcomes(sidekey, 2), ["provider_4xx", "ok"]);
    },
  );
}
