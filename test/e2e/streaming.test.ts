import assert from "node:assert/strict";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { startStandIn } from "../support/stand-in.ts";
import { FORMS, formClient } from "./form-client.ts";
import { daemonCounts, HOST, oneRoute } from "./one-route.ts";
import { startRawProvider } from "./raw-provider.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const TIMEOUT = { timeout: 20_000 };
const MEGABYTE = 1024 * 1024;
/** The protocols differ in how they hold back; the other two forms are HTTP/1.1 again. */
const SIZES = { absolute: 200, origin: 50, "connect-h1": 50, "connect-h2": 200 };
const CHUNK = Buffer.alloc(64 * 1024, "0123456789abcdef");
/** What all buffers on the way (client, sidekey, provider, kernel) may hold together. */
const IN_FLIGHT = 24 * MEGABYTE;
const MAX_GROWTH = 80 * MEGABYTE;

/** Growth of this process, in which the client, sidekey and the provider all run; garbage does not count. */
function memoryGrowth(): { sample: () => void; bytes: () => number } {
  collectGarbage();
  const before = process.memoryUsage.rss();
  let highest = before;
  const sample = (): void => {
    collectGarbage();
    highest = Math.max(highest, process.memoryUsage.rss());
  };
  return { sample, bytes: () => highest - before };
}

/** Counts what `from` gives, and samples the memory now and then. */
function countBytes(from: Readable, growth: { sample: () => void }, counted: (total: number) => void): void {
  let total = 0;
  let sampledAt = 0;
  from.on("data", (chunk: Buffer) => {
    total += chunk.length;
    if (total - sampledAt > 25 * MEGABYTE) {
      sampledAt = total;
      growth.sample();
    }
    counted(total);
  });
  from.resume();
}

/** Writes `size` bytes as fast as the reader lets it, and says after each write how many are out. */
async function pour(into: Writable, size: number, written: (bytes: number) => void): Promise<void> {
  for (let sent = 0; sent < size; sent += CHUNK.length) {
    const room = into.write(CHUNK);
    written(sent + CHUNK.length);
    if (!room) await once(into, "drain");
  }
}

/** Resolves when `value` has stayed the same for a while: everything that can flow has flown. */
async function settled(value: () => number): Promise<number> {
  for (let before = -1; ; ) {
    const now = value();
    if (now === before && now > 0) return now;
    before = now;
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
}

for (const form of FORMS) {
  const size = SIZES[form] * MEGABYTE;

  test(`${form}: ${SIZES[form]} MB come down no faster than the client reads, in flat memory`, TIMEOUT, async (t) => {
    let sent = 0;
    const provider = await startRawProvider(t, HOST, ({ socket }) => {
      socket.write(`HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${size}\r\n\r\n`);
      void pour(socket, size, (bytes) => {
        sent = bytes;
      });
    });
    const sidekey = await oneRoute(t, provider);
    const start = async () => {
      const exchange = await formClient(t, form, sidekey).open({});
      exchange.request.end();
      return exchange.answer;
    };
    // What the first transfer makes stays (compiled code, a grown heap, pools); a second must add nothing to it.
    await once((await start()).body.resume(), "end");
    const answer = await start();
    const growth = memoryGrowth();
    assert.ok((await settled(() => sent)) < IN_FLIGHT, `${sent} bytes were sent to a client that reads nothing`);
    let received = 0;
    countBytes(answer.body, growth, (total) => {
      received = total;
    });
    await once(answer.body, "end");
    assert.equal(received, size);
    assert.ok(growth.bytes() < MAX_GROWTH, `memory grew by ${growth.bytes()} bytes`);
    const [line] = await sidekey.requestsLogged(1);
    assert.equal(line?.bytes_down, size);
  });

  test(`${form}: ${SIZES[form]} MB go up no faster than the provider reads, in flat memory`, TIMEOUT, async (t) => {
    const provider = await startRawProvider(t, HOST);
    const sidekey = await oneRoute(t, provider);
    const headers = { "content-length": String(size) };
    const exchange = await formClient(t, form, sidekey).open({ method: "POST", headers });
    const growth = memoryGrowth();
    let sent = 0;
    const poured = pour(exchange.request, size, (bytes) => {
      sent = bytes;
    }).then(() => exchange.request.end());
    const { socket, head, rest } = await provider.call(1);
    assert.match(head, new RegExp(`^content-length: ${size}$`, "im"));
    assert.ok((await settled(() => sent)) < IN_FLIGHT, `${sent} bytes were taken for a provider that reads nothing`);
    let received = 0;
    countBytes(socket, growth, (total) => {
      received = total + rest.length;
      if (received === size) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    await poured;
    const answer = await exchange.whole();
    assert.equal(`${answer.status} ${answer.body}`, "200 ok");
    assert.equal(received, size);
    assert.ok(growth.bytes() < MAX_GROWTH, `memory grew by ${growth.bytes()} bytes`);
    const [line] = await sidekey.requestsLogged(1);
    assert.equal(line?.bytes_up, size);
  });

  test(`${form}: the head and every server-sent event come as soon as the provider sends them`, TIMEOUT, async (t) => {
    const provider = await startRawProvider(t, HOST);
    const sidekey = await oneRoute(t, provider);
    const exchange = await formClient(t, form, sidekey).open({ headers: { accept: "text/event-stream" } });
    exchange.request.end();
    const { socket } = await provider.call(1);
    socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    const answer = await exchange.answer;
    assert.deepEqual(answer.values("content-type"), ["text/event-stream"]);
    for (const event of ["data: one\n\n", "data: two\n\n"]) {
      socket.write(`${event.length.toString(16)}\r\n${event}\r\n`);
      const [chunk] = await once(answer.body, "data");
      assert.equal(String(chunk), event);
    }
    socket.write("0\r\n\r\n");
    await once(answer.body, "end");
  });

  test(`${form}: connections are reused on both sides`, TIMEOUT, async (t) => {
    const standIn = await startStandIn(t, { hostnames: [HOST], handler: () => ({ body: ["a", "b"] }) });
    const sidekey = await oneRoute(t, standIn);
    const client = formClient(t, form, sidekey);
    for (let n = 0; n < 3; n++) {
      const answer = await client.ask({ method: n === 1 ? "POST" : "GET", ...(n === 1 ? { body: "x" } : {}) });
      assert.equal(`${answer.status} ${answer.body}`, "200 ab");
    }
    assert.deepEqual(
      standIn.requests.map(({ connection }) => connection),
      [1, 1, 1],
    );
    assert.equal((await daemonCounts(sidekey)).connections, 1);
  });
}
