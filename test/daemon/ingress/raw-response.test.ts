import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { responseOn } from "../../../src/daemon/ingress/raw-response.ts";
import { sendRaw } from "../../support/raw-client.ts";

async function reply(t: TestContext, onConnect: (request: IncomingMessage, socket: Socket) => void, bytes: string) {
  const server = createServer(() => {});
  server.on("connect", (request, socket) => onConnect(request, socket as Socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return sendRaw(t, { port: (server.address() as AddressInfo).port, bytes });
}

const CONNECT = "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n";

test("an answer on a socket that Node handed over is whole, and the last on it", async (t) => {
  const body = "x".repeat(300_000);
  const answer = await reply(
    t,
    (request, socket) => {
      responseOn(request, socket)?.writeHead(403, { "content-length": body.length }).end(body);
    },
    CONNECT + CONNECT,
  );
  assert.equal(answer.ended, "close");
  assert.equal(answer.text.match(/HTTP\/1\.1 403/g)?.length, 1);
  assert.match(answer.text, /connection: close\r\n/i);
  assert.ok(answer.text.endsWith(`\r\n\r\n${body}`));
});

test("a socket with an unanswered request gets no second answer: it is destroyed", async (t) => {
  const results: unknown[] = [];
  const pending = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
  const answer = await reply(t, (request, socket) => results.push(responseOn(request, socket)), pending + CONNECT);
  assert.deepEqual([results, answer.text, answer.ended], [[null], "", "close"]);
});
