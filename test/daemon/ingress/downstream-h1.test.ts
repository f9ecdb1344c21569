import assert from "node:assert/strict";
import type { Readable } from "node:stream";
import { type TestContext, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { Incoming } from "../../../src/daemon/pipeline/exchange.ts";
import { connectRaw, sendRaw } from "../../support/raw-client.ts";
import { startIngress } from "./running-ingress.ts";

function request(method = "GET", fields = ""): string {
  return `${method} http://api.p.test/ HTTP/1.1\r\nHost: api.p.test\r\n${fields}\r\n`;
}

/** The bytes of one answer that `answer` gives through the downstream. */
async function answered(t: TestContext, answer: (incoming: Incoming) => void, bytes = request()): Promise<string> {
  const run = await startIngress(t, (incoming) => answer(incoming));
  const reply = await sendRaw(t, { port: run.port, bytes, timeoutMs: 300 });
  return reply.text;
}

test("head, reason, fields in their case and order, and the body arrive as given; no Date is invented", async (t) => {
  const text = await answered(t, ({ downstream }) => {
    assert.equal(downstream.headSent, false);
    downstream.sendHead(299, "All Well", ["X-One", "1", "Link", "<a>", "link", "<b>", "Content-Length", "5"], false);
    assert.equal(downstream.headSent, true);
    downstream.write(Buffer.from("hello"));
    downstream.end([]);
  });
  assert.equal(
    text,
    "HTTP/1.1 299 All Well\r\nX-One: 1\r\nLink: <a>\r\nlink: <b>\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
  );
});

test("an answer without a length is chunked and may have trailers", async (t) => {
  const text = await answered(t, ({ downstream }) => {
    downstream.sendHead(200, "", [], false);
    downstream.write(Buffer.from("ab"));
    downstream.end(["X-Sum", "1", "x-sum", "2"]);
  });
  assert.match(text, /transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n$/i);
});

test("a connection is kept for the next request unless the answer says otherwise", async (t) => {
  for (const reuse of [true, false]) {
    const run = await startIngress(t, ({ downstream }) => {
      downstream.sendHead(204, "", [], reuse);
      downstream.end([]);
    });
    const reply = await sendRaw(t, { port: run.port, bytes: request() + request(), timeoutMs: 200 });
    assert.deepEqual([run.seen.length, reply.ended], reuse ? [2, "timeout"] : [1, "close"]);
  }
});

test("what comes behind the last answer is never a request, also while the rest of a body is dropped", async (t) => {
  const run = await startIngress(t, ({ downstream }) => {
    downstream.sendHead(400, "", ["Content-Length", "0"], false);
    downstream.end([]);
  });
  const connection = await connectRaw(t, { port: run.port });
  await connection.write(request("POST", "Content-Length: 10\r\n"));
  await pause(20);
  await connection.write(`0123456789${request()}`);
  const reply = await connection.read();
  assert.deepEqual([run.seen.length, reply.text.match(/HTTP\/1\.1/g)?.length], [1, 1]);
});

test("the rest of a refused body is read and dropped, however much there is, so that its client reads the answer", async (t) => {
  const size = 20 * 1024 * 1024;
  let body: Readable | null = null;
  const run = await startIngress(t, ({ downstream }, parsed) => {
    ({ body } = parsed());
    downstream.sendHead(403, "", ["Content-Length", "0"], false);
    downstream.end([]);
  });
  const connection = await connectRaw(t, { port: run.port });
  await connection.write([request("POST", `Content-Length: ${size}\r\n`), Buffer.alloc(size, "x")]);
  const reply = await connection.read();
  assert.match(reply.text, /^HTTP\/1\.1 403 /);
  assert.deepEqual([reply.ended, reply.error, connection.socket.writableLength], ["close", null, 0]);
  // Else it would fill up, and stop the rest until the time for dropping it is over.
  assert.equal((body as Readable | null)?.destroyed, true);
});

test("HEAD keeps the length that it tells about, and gets no content", async (t) => {
  const text = await answered(
    t,
    ({ downstream }) => {
      downstream.sendHead(200, "", ["Content-Length", "5"], false);
      downstream.end([]);
    },
    request("HEAD"),
  );
  assert.equal(text, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n");
});

test("interim answers: 100, 102 and 103 with its links go out before the final one; others do not exist", async (t) => {
  const text = await answered(t, ({ downstream }) => {
    downstream.sendContinue();
    downstream.sendInformational(102, []);
    downstream.sendInformational(103, ["Link", "</a>; rel=preload", "X-Other", "1"]);
    downstream.sendInformational(199, ["X-Other", "1"]);
    assert.equal(downstream.headSent, false);
    downstream.sendHead(204, "", [], false);
    downstream.end([]);
  });
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1]);
  assert.deepEqual(statuses, ["100", "102", "103", "204"]);
  assert.match(text, /103 Early Hints\r\nLink: <\/a>; rel=preload\r\n/);
});

test("interim answers without anything to say, or with a link that Node refuses, do not end the exchange", async (t) => {
  const text = await answered(t, ({ downstream }) => {
    downstream.sendInformational(103, []);
    downstream.sendInformational(103, ["Link", "not a link <"]);
    downstream.sendHead(204, "", [], false);
    downstream.end([]);
  });
  assert.match(text, /HTTP\/1\.1 204/);
});

test("a cut answer never looks complete", async (t) => {
  const run = await startIngress(t, async ({ downstream }) => {
    downstream.sendHead(200, "", [], true);
    downstream.write(Buffer.from("half"));
    await pause(20);
    downstream.abort();
  });
  const reply = await sendRaw(t, { port: run.port, bytes: request() });
  assert.ok(reply.text.endsWith("4\r\nhalf\r\n"));
  assert.notEqual(reply.ended, "timeout");
});

test("onClose tells once when the client goes before the end, also when it has gone already, and never after it", async (t) => {
  const events: string[] = [];
  const run = await startIngress(t, async ({ downstream, fields }) => {
    if (fields.includes("late")) await pause(50);
    downstream.onClose(() => events.push("gone"));
    if (!fields.includes("whole")) return;
    downstream.sendHead(204, "", [], false);
    downstream.end([]);
    events.push("whole");
  });
  for (const kind of ["early", "late", "whole"]) {
    const connection = await connectRaw(t, { port: run.port });
    await connection.write(request("GET", `X: ${kind}\r\n`));
    if (kind === "whole") await connection.read();
    else await pause(20);
    connection.close();
    await pause(80);
  }
  assert.deepEqual(events, ["gone", "gone", "whole"]);
});

test("write says when the client is slower, and onDrain when to go on", async (t) => {
  const order: string[] = [];
  const run = await startIngress(t, ({ downstream }) => {
    downstream.sendHead(200, "", [], false);
    const chunk = Buffer.alloc(1024 * 1024);
    let sent = 0;
    const more = (): void => {
      while (sent < 6) {
        sent++;
        if (downstream.write(chunk)) continue;
        order.push("full");
        downstream.onDrain(more);
        return;
      }
      downstream.end([]);
    };
    more();
  });
  const reply = await sendRaw(t, { port: run.port, bytes: request() });
  assert.ok(reply.bytes.length > 6 * 1024 * 1024);
  assert.ok(order.length > 0);
});

test("101 hands over the raw socket, with nothing between head and bytes", async (t) => {
  const fields =
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  const run = await startIngress(t, ({ downstream }) => {
    const socket = downstream.switchProtocols(["Upgrade", "websocket", "Connection", "Upgrade"]);
    assert.equal(downstream.headSent, true);
    socket.on("data", (chunk: Buffer) => socket.write(chunk.toString().toUpperCase()));
  });
  const connection = await connectRaw(t, { port: run.port });
  await connection.write(request("GET", fields));
  await connection.read((bytes) => bytes.includes("\r\n\r\n"));
  await connection.write("raw");
  const reply = await connection.read((bytes) => bytes.includes("RAW"));
  assert.equal(reply.text, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nRAW");
});
