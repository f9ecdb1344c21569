import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { DEFAULT_LIMITS } from "../../src/daemon/config-limits.ts";
import { pause } from "../support/running-sidekey.ts";
import { FORMS, type Form, formClient } from "./form-client.ts";
import { HOST, type OneRoute, oneRoute, recordsAgree } from "./one-route.ts";
import { type ProviderCall, type RawProvider, startRawProvider } from "./raw-provider.ts";

const TIMEOUT = { timeout: 20_000 };
const LIMITS = { ...DEFAULT_LIMITS, slowClientMs: 300 };
/** What all buffers on the way (client, sidekey, provider, kernel) may hold of one answer. */
const IN_FLIGHT = 24 * 1024 * 1024;
const CHUNK = Buffer.alloc(64 * 1024, "x");

function start(t: TestContext, provider: RawProvider): Promise<OneRoute> {
  return oneRoute(t, provider, "", { config: { limits: LIMITS } });
}

/** Answers without end, as fast as it is read; tells how much has been sent. */
function endless(): { serve: (call: ProviderCall) => void; sent: () => number } {
  let sent = 0;
  const serve = ({ socket }: ProviderCall): void => {
    socket.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    const pour = (): void => {
      while (!socket.destroyed) {
        sent += CHUNK.length;
        if (!socket.write(CHUNK)) break;
      }
    };
    socket.on("drain", pour);
    pour();
  };
  return { serve, sent: () => sent };
}

/** How the one exchange ended, and how often the reason has been counted. */
async function outcomeAndCount(sidekey: OneRoute, reason: string): Promise<string> {
  const line = (await sidekey.requestsLogged(1)).at(-1);
  const metrics = await (await fetch(`${sidekey.metricsUrl}/metrics`)).text();
  const count = new RegExp(`^sidekey_denials_total\\{reason="${reason}"\\} (\\d+)$`, "m").exec(metrics)?.[1];
  return `${line?.outcome} ${count}`;
}

for (const form of FORMS) {
  test(`${form}: a body that trickles is answered with 408, and its provider is let go`, TIMEOUT, async (t) => {
    const provider = await startRawProvider(t, HOST, ({ socket }) => void socket.resume());
    const sidekey = await start(t, provider);
    const exchange = await formClient(t, form, sidekey).open({
      method: "POST",
      body: "later",
      ...(form === "connect-h2" ? {} : { headers: { "transfer-encoding": "chunked" } }),
    });
    let answered = false;
    const whole = exchange.whole().finally(() => {
      answered = true;
    });
    while (!answered) {
      if (exchange.request.writable) exchange.request.write("x");
      await pause(30);
    }
    const answer = await whole;
    assert.equal(`${answer.status} ${answer.values("sidekey-error")}`, "408 bad_request");
    assert.equal((JSON.parse(String(answer.body)) as { reason: string }).reason, "slow_body");
    await (await provider.call(1)).closed;
    assert.equal(await outcomeAndCount(sidekey, "slow_body"), "bad_request 1");
    await recordsAgree(sidekey, 1);
  });

  test(`${form}: a body that was asked for with 100 and then trickles is cut as well`, TIMEOUT, async (t) => {
    const provider = await startRawProvider(t, HOST, ({ socket }) => void socket.resume());
    const sidekey = await start(t, provider);
    const exchange = await formClient(t, form, sidekey).open({
      method: "POST",
      headers: { expect: "100-continue", "content-length": "5000" },
      body: "later",
    });
    if ("flushHeaders" in exchange.request) (exchange.request as { flushHeaders(): void }).flushHeaders();
    while (exchange.interim.length === 0 && form !== "connect-h2") await pause(5);
    exchange.request.write("x");
    const answer = await exchange.whole();
    assert.equal(`${answer.status} ${answer.values("sidekey-error")}`, "408 bad_request");
    assert.equal(await outcomeAndCount(sidekey, "slow_body"), "bad_request 1");
  });

  test(`${form}: a body that pauses for less than the time allowed goes through`, TIMEOUT, async (t) => {
    const provider = await startRawProvider(t, HOST, ({ socket }) => {
      socket.on("data", (bytes: Buffer) => {
        if (bytes.includes("end")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      });
      socket.resume();
    });
    const sidekey = await oneRoute(t, provider);
    const exchange = await formClient(t, form, sidekey).open({ method: "POST", body: "later" });
    exchange.request.write("start");
    await pause(400);
    exchange.request.end("end");
    assert.equal((await exchange.whole()).status, 200);
  });

  for (const [reader, readsNow] of [
    ["nothing", () => {}],
    ["a byte now and then", (body: { read(size: number): unknown }) => void body.read(1)],
  ] as const) {
    test(`${form}: a client that reads ${reader} holds its provider only for a while`, TIMEOUT, async (t) => {
      const { serve, sent } = endless();
      const provider = await startRawProvider(t, HOST, serve);
      const sidekey = await start(t, provider);
      const exchange = await formClient(t, form, sidekey).open({});
      exchange.request.end();
      const { body } = await exchange.answer;
      body.on("error", () => {});
      let over = false;
      const closed = provider.call(1).then((call) => call.closed.then(() => (over = true)));
      while (!over) {
        readsNow(body);
        await pause(20);
      }
      await closed;
      assert.ok(sent() < IN_FLIGHT, `${sent()} bytes were taken for a client that reads ${reader}`);
      assert.equal(await outcomeAndCount(sidekey, "slow_reader"), "client_closed 1");
    });
  }
}

const QUIET: Form = "absolute";

test("a stream whose provider is silent for longer than that is left alone", TIMEOUT, async (t) => {
  const provider = await startRawProvider(t, HOST);
  const sidekey = await start(t, provider);
  const exchange = await formClient(t, QUIET, sidekey).open({});
  exchange.request.end();
  const { socket } = await provider.call(1);
  socket.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none");
  await exchange.answer;
  await pause(900);
  socket.write("two");
  const answer = await exchange.whole();
  assert.deepEqual([String(answer.body), answer.complete], ["onetwo", true]);
});

test("a body that waits for 100 Continue is not slow while sidekey has not asked for it", TIMEOUT, async (t) => {
  const provider = await startRawProvider(t, HOST);
  const ok = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
  const limit = "limits: [ { name: one, per: [client], concurrent: 1, wait: 10s } ]";
  const sidekey = await oneRoute(t, provider, limit, { config: { limits: LIMITS } });
  const first = formClient(t, QUIET, sidekey).ask();
  const held = await provider.call(1);
  const waiting = await formClient(t, QUIET, sidekey).open({
    method: "POST",
    headers: { expect: "100-continue", "content-length": "4" },
    body: "later",
  });
  (waiting.request as unknown as { flushHeaders(): void }).flushHeaders();
  await pause(900);
  assert.deepEqual(waiting.interim, []);
  held.socket.end(ok);
  assert.equal((await first).status, 200);
  while (waiting.interim.length === 0) await pause(10);
  waiting.request.end("body");
  (await provider.call(2)).socket.end(ok);
  assert.equal((await waiting.whole()).status, 200);
});
