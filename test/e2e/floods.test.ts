import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { pause } from "../support/running-sidekey.ts";
import { type FloodedDaemon, startFlooded } from "./flooded-daemon.ts";
import { type FormTarget, proxyAuthorization, tunnelSocket } from "./form-client.ts";
import { floodsOf } from "./h2-floods.ts";
import { openingFrames } from "./h2-frames.ts";

/** Each flood meets a daemon of its own process; it must go on serving, and be as it was when the flood is over. */

const TIMEOUT = { timeout: 60_000 };
const MANY = 300;
/** What a flood may add to the daemon's memory: far less than its connections could send. */
const MAX_GROWTH = 120 * 1024 * 1024;

function openSockets(t: TestContext, daemon: FloodedDaemon, count: number): Socket[] {
  const sockets = Array.from({ length: count }, () => {
    const socket = connect(daemon.port, "127.0.0.1");
    return socket.on("error", () => {});
  });
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  return sockets;
}

/** Waits until the daemon has closed all of them. */
async function allClosed(sockets: readonly Socket[]): Promise<void> {
  await Promise.all(sockets.map((socket) => (socket.destroyed ? null : once(socket.resume(), "close"))));
}

/** Connections to the provider that are kept for the next request are closed by it, also those that come late. */
async function over(daemon: FloodedDaemon): Promise<void> {
  assert.equal(await daemon.surplusDescriptors(daemon.dropUpstream), 0, "descriptors that are left");
  assert.equal(await daemon.served(), 200);
}

function head(target: FormTarget, method: string, more: string): string {
  return `${method} http://${target.host}/x HTTP/1.1\r\nHost: ${target.host}\r\nProxy-Authorization: ${proxyAuthorization(target)}\r\n${more}`;
}

test("heads that never end hold nothing up, and nothing is left when their clients go", TIMEOUT, async (t) => {
  const daemon = await startFlooded(t, {});
  const sockets = openSockets(t, daemon, MANY);
  for (const socket of sockets) socket.write("GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
  while (daemon.descriptors() < MANY) await pause(10);
  for (let n = 0; n < 5; n++) {
    for (const socket of sockets) socket.write("a");
    assert.equal(await daemon.served(), 200);
  }
  for (const socket of sockets) socket.destroy();
  await over(daemon);
});

test("bodies that trickle are cut, and their connections to the provider with them", TIMEOUT, async (t) => {
  const daemon = await startFlooded(t, { slowClientMs: 500 });
  const sockets = openSockets(t, daemon, 60);
  for (const socket of sockets) socket.write(head(daemon.flood, "POST", "Content-Length: 100000\r\n\r\n"));
  const trickle = setInterval(() => {
    for (const socket of sockets) if (socket.writable) socket.write("x");
  }, 30);
  t.after(() => clearInterval(trickle));
  assert.equal(await daemon.served(), 200);
  await allClosed(sockets);
  clearInterval(trickle);
  assert.equal(await daemon.denials("slow_body"), 60);
  await over(daemon);
});

test("clients that read nothing of an endless answer are cut, and hold little until then", TIMEOUT, async (t) => {
  const chunk = `10000\r\n${"x".repeat(0x10000)}\r\n`;
  const daemon = await startFlooded(t, { slowClientMs: 500 }, (_request, socket) => {
    socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    const pour = (): void => {
      while (!socket.destroyed && socket.write(chunk));
    };
    socket.on("drain", pour);
    pour();
  });
  const before = daemon.residentBytes();
  const sockets = openSockets(t, daemon, 40);
  for (const socket of sockets) socket.pause().write(head(daemon.flood, "GET", "\r\n"));
  let highest = 0;
  const deadline = performance.now() + 30_000;
  while ((await daemon.denials("slow_reader")) < 40 && performance.now() < deadline) {
    highest = Math.max(highest, daemon.residentBytes());
    assert.equal(await daemon.served(), 200);
    await pause(50);
  }
  assert.equal(await daemon.denials("slow_reader"), 40);
  assert.ok(highest - before < MAX_GROWTH, `memory grew by ${highest - before} bytes`);
  for (const socket of sockets) socket.destroy();
  await over(daemon);
});

test("idle connections beyond the bound make room for the one who has something to ask", TIMEOUT, async (t) => {
  const daemon = await startFlooded(t, { connections: 100 });
  const sockets = openSockets(t, daemon, MANY);
  await Promise.all(sockets.map((socket) => (socket.connecting ? once(socket, "connect") : null)));
  for (let n = 0; n < 5; n++) assert.equal(await daemon.served(), 200);
  assert.ok(daemon.descriptors() < 200, `${daemon.descriptors()} descriptors`);
  assert.ok((await daemon.denials("connection_evicted")) >= MANY - 100);
  for (const socket of sockets) socket.destroy();
  await over(daemon);
});

test("one connection after the other leaves nothing behind, whatever each began", TIMEOUT, async (t) => {
  const daemon = await startFlooded(t, {});
  const begun = [
    "",
    "GET / HT",
    "\x16\x03\x01",
    `CONNECT ${daemon.flood.host}:443 HTTP/1.1\r\nHost: ${daemon.flood.host}:443\r\n\r\n\x16\x03\x01`,
    head(daemon.flood, "GET", "\r\n"),
    head(daemon.flood, "POST", "Content-Length: 10\r\n\r\nab"),
  ];
  for (let round = 0; round < 10; round++) {
    const sockets = openSockets(t, daemon, 60);
    for (const [n, socket] of sockets.entries()) socket.write(begun[n % begun.length] ?? "", "latin1");
    await pause(20);
    for (const socket of sockets) round % 2 === 0 ? socket.destroy() : socket.resetAndDestroy();
  }
  await over(daemon);
});

test("a client at its own bound is refused early; its places come back when its requests end", TIMEOUT, async (t) => {
  const release = Promise.withResolvers<void>();
  const daemon = await startFlooded(t, { connectionsPerClient: 20 }, async () => {
    await release.promise;
    return { body: "late" };
  });
  const sockets = openSockets(t, daemon, 100);
  const answers = sockets.map((socket) => firstBytes(socket));
  for (const socket of sockets) socket.write(head(daemon.flood, "GET", "\r\n"));
  while (daemon.log().split('"code":"client_concurrency"').length <= 80) await pause(20);
  assert.equal(await daemon.served(), 200);
  release.resolve();
  const texts = await Promise.all(answers);
  const refused = texts.filter((text) => text.startsWith("HTTP/1.1 503 "));
  assert.equal(refused.length, 80);
  assert.ok(refused.every((text) => /\r\nRetry-After: 1\r\n/.test(text) && text.includes('"client_concurrency"')));
  assert.equal(texts.filter((text) => text.startsWith("HTTP/1.1 200 ")).length, 20);
  for (const socket of sockets) socket.destroy();
  await over(daemon);
});

async function firstBytes(socket: Socket): Promise<string> {
  const [bytes] = (await once(socket, "data")) as [Buffer];
  return bytes.toString("latin1");
}

test(
  "when all places are taken, the client that has them is refused early and another one is served",
  TIMEOUT,
  async (t) => {
    const release = Promise.withResolvers<void>();
    const daemon = await startFlooded(t, { connections: 20 }, async () => {
      await release.promise;
      return { body: "late" };
    });
    const socket = await tunnelSocket(t, daemon.flood, "h2");
    const session = connectHttp2(`https://${daemon.flood.host}`, { createConnection: () => socket });
    t.after(() => session.destroy());
    const statuses: number[] = [];
    for (let n = 0; n < 60; n++) {
      const stream = session.request({ ":path": "/x", "proxy-authorization": proxyAuthorization(daemon.flood) });
      stream.on("response", (headers) => {
        statuses.push(Number(headers[":status"]));
        if (headers[":status"] === 503) assert.equal(headers["retry-after"], "1");
      });
      stream.resume();
    }
    while (statuses.length < 40) await pause(10);
    assert.deepEqual([...new Set(statuses)], [503]);
    while (daemon.log().split('"code":"saturated"').length <= 40) await pause(10);
    for (let n = 0; n < 5; n++) assert.equal(await daemon.served(), 200);
    release.resolve();
    while (statuses.length < 60) await pause(10);
    assert.equal(statuses.filter((status) => status === 200).length, 20);
    session.close();
    await over(daemon);
  },
);

test("floods of HTTP/2 frames of every kind end their own connections", TIMEOUT, async (t) => {
  const daemon = await startFlooded(t, {});
  const floods = floodsOf({
    ":method": "GET",
    ":scheme": "https",
    ":authority": daemon.flood.host,
    ":path": "/x",
    "proxy-authorization": proxyAuthorization(daemon.flood),
  });
  for (const { piece } of Object.values(floods)) {
    const session = await tunnelSocket(t, daemon.flood, "h2");
    session.write(openingFrames());
    session.resume();
    for (let n = 0; !session.destroyed; n += 50) {
      session.write(Buffer.concat(Array.from({ length: 50 }, (_, i) => piece(n + i))));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(await daemon.served(), 200);
  }
  await over(daemon);
});
