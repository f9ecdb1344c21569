import assert from "node:assert/strict";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { queryUsage } from "../../src/store/usage-query.ts";
import { connectRaw } from "../support/raw-client.ts";
import { startStandIn } from "../support/stand-in.ts";
import { FORMS, formClient } from "./form-client.ts";
import { daemonCounts, HOST, oneRoute, recordsAgree } from "./one-route.ts";
import { startRawProvider } from "./raw-provider.ts";

const TIMEOUT = { timeout: 20_000 };
const MEGABYTE = 1024 * 1024;

for (const form of FORMS) {
  test(`${form}: what is in flight when sidekey stops finishes; what comes then is refused`, TIMEOUT, async (t) => {
    const provider = await startRawProvider(t, HOST);
    const sidekey = await oneRoute(t, provider);
    const running = await formClient(t, form, sidekey).open({});
    running.request.end();
    const { socket } = await provider.call(1);
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none");
    const answer = await running.answer;
    const chunks: Buffer[] = [];
    const whole = once(
      answer.body.on("data", (chunk: Buffer) => chunks.push(chunk)),
      "end",
    );
    const stopped = sidekey.daemon.stop();
    const tunnel = await connectRaw(t, { port: sidekey.port });
    await tunnel.write("CONNECT unrouted.example:443 HTTP/1.1\r\nHost: unrouted.example:443\r\n\r\n");
    const refused = (await tunnel.read((bytes) => bytes.includes("\r\n\r\n"))).bytes.toString("latin1");
    assert.match(refused, /^HTTP\/1\.1 503 .*\r\nretry-after: 1\r\n/is);
    const late = await formClient(t, "absolute", sidekey).ask();
    assert.equal(`${late.status} ${late.values("sidekey-error")}`, "503 overloaded");
    assert.deepEqual(late.values("retry-after"), ["1"]);
    assert.equal(provider.connections(), 1);
    socket.write("two");
    await whole;
    assert.equal(String(Buffer.concat(chunks)), "onetwo");
    await stopped;
    assert.deepEqual(
      sidekey
        .requests()
        .map(({ outcome, code }) => `${outcome} ${code}`)
        .sort(),
      ["ok null", "overloaded draining", "overloaded draining"],
    );
    await recordsAgree(sidekey, 3);
  });
}

for (const form of FORMS) {
  test(`${form}: an answer whose provider is done still reaches a slow client whole`, TIMEOUT, async (t) => {
    const size = 8 * MEGABYTE;
    const provider = await startRawProvider(t, HOST, ({ socket }) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
      socket.write(Buffer.alloc(size));
    });
    const sidekey = await oneRoute(t, provider);
    const exchange = await formClient(t, form, sidekey).open({});
    exchange.request.end();
    const { body } = await exchange.answer;
    let received = 0;
    let stopped: Promise<void> | null = null;
    body.on("data", (chunk: Buffer) => {
      received += chunk.length;
      if (received < size / 2 || stopped) return;
      // Everything that fits into the buffers on the way goes there before the rest is read.
      body.pause();
      stopped = sidekey.daemon.stop();
      setTimeout(() => body.resume(), 300);
    });
    await once(body, "end");
    assert.equal(received, size);
    await stopped;
    await recordsAgree(sidekey, 1);
  });
}

test("an exchange that has ended for sidekey but not for its client is waited for, too", TIMEOUT, async (t) => {
  // More than the window that an HTTP/2 client opens before it reads, less than what sidekey's stream buffers besides.
  const size = 65_535 + 12_000;
  const provider = await startRawProvider(t, HOST, ({ socket }) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
    socket.write(Buffer.alloc(size));
  });
  const sidekey = await oneRoute(t, provider);
  const exchange = await formClient(t, "connect-h2", sidekey).open({});
  exchange.request.end();
  await exchange.answer;
  await sidekey.requestsLogged(1);
  const stopped = sidekey.daemon.stop();
  const refused = await formClient(t, "absolute", sidekey).ask();
  assert.equal(refused.status, 503);
  const answer = await exchange.whole();
  assert.deepEqual([answer.complete, answer.body.length], [true, size]);
  await stopped;
});

test("stopping is bounded: what does not end in time is cut, and leaves its record", TIMEOUT, async (t) => {
  const provider = await startRawProvider(
    t,
    HOST,
    ({ socket }) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun"),
  );
  const sidekey = await oneRoute(t, provider, "", { config: { drainMs: 200 } });
  const cut = await Promise.all(
    FORMS.map(async (form) => {
      const exchange = await formClient(t, form, sidekey).open({});
      exchange.request.end();
      await once((await exchange.answer).body, "data");
      return exchange.whole();
    }).map((whole) => ({ whole })),
  );
  const since = performance.now();
  while (((await daemonCounts(sidekey)).inFlight ?? 0) < FORMS.length) await new Promise(setImmediate);
  await sidekey.daemon.stop();
  assert.ok(performance.now() - since < 3_000, "it took too long to stop");
  for (const { whole } of cut) assert.equal((await whole).complete, false);
  await recordsAgree(sidekey, FORMS.length);
  assert.ok(sidekey.requests().every(({ outcome }) => outcome === "truncated" || outcome === "client_closed"));
});

test("an idle sidekey stops at once, with idle clients and providers connected", TIMEOUT, async (t) => {
  const standIn = await startStandIn(t, { hostnames: [HOST], handler: () => ({ body: "ok" }) });
  const sidekey = await oneRoute(t, standIn);
  for (const form of FORMS) assert.equal((await formClient(t, form, sidekey).ask()).status, 200);
  const idle = await connectRaw(t, { port: sidekey.port });
  const since = performance.now();
  await sidekey.daemon.stop();
  assert.ok(performance.now() - since < 2_000, "it took too long to stop");
  assert.notEqual((await idle.read()).ended, "timeout");
  const rows = queryUsage(join(sidekey.dataDir, "usage.db"), { by: "route", sinceMs: 0 });
  assert.deepEqual(
    rows.map(({ key, requests, errors, denied }) => [key, requests, errors, denied]),
    [["openai", FORMS.length, 0, 0]],
  );
});
