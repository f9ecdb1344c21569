import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { DEFAULT_LIMITS } from "../../src/daemon/config-limits.ts";
import { pause } from "../support/running-sidekey.ts";
import { proxyAuthorization } from "./form-client.ts";
import { daemonCounts, HOST, type OneRoute, oneRoute, recordsAgree } from "./one-route.ts";
import { type ProviderCall, startRawProvider } from "./raw-provider.ts";

const TIMEOUT = { timeout: 60_000 };
const STREAMS = 300;
const BEGIN = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/** Sockets, timers and the like that keep the event loop alive, and open files. */
function resources(): { sockets: number; timers: number; descriptors: number } {
  const active = process.getActiveResourcesInfo();
  const count = (...types: string[]): number => active.filter((type) => types.includes(type)).length;
  return {
    sockets: count("TCPSocketWrap", "TLSWrap"),
    timers: count("Timeout"),
    descriptors: readdirSync("/proc/self/fd").length,
  };
}

async function openStream(t: TestContext, sidekey: OneRoute): Promise<Socket> {
  const socket = connect(sidekey.port, "127.0.0.1");
  t.after(() => socket.destroy());
  socket.on("error", () => {});
  socket.write(
    `GET http://${HOST}/v1/stream HTTP/1.1\r\nHost: ${HOST}\r\nProxy-Authorization: ${proxyAuthorization(sidekey)}\r\n\r\n`,
  );
  const [head] = (await once(socket, "data")) as [Buffer];
  assert.match(head.toString("latin1"), /^HTTP\/1\.1 200 /);
  return socket;
}

test(
  `${STREAMS} idle event streams of one client cost two sockets each in sidekey, and give back everything`,
  TIMEOUT,
  async (t) => {
    const calls: ProviderCall[] = [];
    const provider = await startRawProvider(t, HOST, (call) => {
      calls.push(call);
      call.socket.resume().write(BEGIN);
    });
    const limits = { ...DEFAULT_LIMITS, connectionsPerClient: STREAMS, socketsPerPool: STREAMS };
    const sidekey = await oneRoute(t, provider, "", { config: { limits } });
    // What the first stream makes stays: an opened secret, compiled code.
    (await openStream(t, sidekey)).destroy();
    while ((await daemonCounts(sidekey)).upstreamPools !== 0) await pause(10);
    const before = resources();

    const clients: Socket[] = [];
    for (let n = 0; n < STREAMS; n++) clients.push(await openStream(t, sidekey));
    assert.equal(calls.length, STREAMS + 1);
    const open = resources();
    // Two ends each of the client's connection and of the provider's.
    assert.equal(open.descriptors - before.descriptors, 4 * STREAMS);
    assert.ok(open.timers - before.timers <= 2 * STREAMS, `${open.timers - before.timers} timers`);
    const counts = await daemonCounts(sidekey);
    assert.deepEqual([counts.inFlight, counts.upstreamPools], [STREAMS, 1]);

    // Half of the clients go, half of the streams come to their end.
    for (const client of clients.slice(0, STREAMS / 2)) client.destroy();
    for (const { socket } of calls.slice(1 + STREAMS / 2)) socket.end("0\r\n\r\n");
    for (const client of clients.slice(STREAMS / 2)) client.end();
    const back = (): boolean => {
      const now = resources();
      return (
        now.descriptors <= before.descriptors + 5 && now.sockets <= before.sockets && now.timers <= before.timers + 2
      );
    };
    for (const deadline = performance.now() + 15_000; !back() && performance.now() < deadline; ) await pause(20);
    assert.ok(back(), `${JSON.stringify(before)} became ${JSON.stringify(resources())}`);
    const after = await daemonCounts(sidekey);
    assert.deepEqual([after.inFlight, after.connections, after.upstreamPools], [0, 0, 0]);
    await recordsAgree(sidekey, STREAMS + 1);
  },
);
