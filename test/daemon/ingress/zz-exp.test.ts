import assert from "node:assert/strict";
import { test } from "node:test";
import * as http2 from "node:http2";
import { startIngress } from "./running-ingress.ts";
import { connectRaw, sendRaw } from "../../support/raw-client.ts";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";

const sleep = (ms: number) => new Promise((r) => setTimeout(r, ms));

test("basic absolute", async (t) => {
  const run = await startIngress(t);
  const reply = await sendRaw(t, { port: run.port, bytes: "GET http://api.p.test/x HTTP/1.1\r\nHost: api.p.test\r\nConnection: close\r\n\r\n" });
  console.log(reply.text);
});
test("connect h1", async (t) => {
  const run = await startIngress(t);
  const c = await run.connect(t);
  const s = await c.startTls({ ca: run.caPem, servername: "api.p.test" });
  await s.write("GET /x HTTP/1.1\r\nHost: api.p.test\r\n\r\n");
  console.log((await s.read((b) => b.includes("/x"), 1000)).text);
});
test("pipelined connect behind pending", async (t) => {
  for (const second of ["CONNECT api.p.test:443 HTTP/1.1\r\nHost: api.p.test:443\r\n\r\n", "CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n", "GET http://api.p.test/ HTTP/1.1\r\nHost: api.p.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"]) {
  const run = await startIngress(t, async (incoming, parsed) => { parsed(); await sleep(100); incoming.downstream.sendHead(200, "", ["Content-Length", "2"], true); incoming.downstream.write(Buffer.from("ok")); incoming.downstream.end([]); });
  const reply = await sendRaw(t, { port: run.port, bytes: "GET http://api.p.test/slow HTTP/1.1\r\nHost: api.p.test\r\n\r\n" + second, timeoutMs: 500 });
  console.log(JSON.stringify(reply.text), reply.ended, run.seen.map((x) => x.form));
  }
});
test("handshake failure refused", async (t) => {
  const run = await startIngress(t);
  for (const name of ["evil.test", undefined]) {
  const c = await run.connect(t);
  await c.startTls({ ca: run.caPem, servername: name as string }).then(() => console.log("?!"), (e) => console.log(name, e.message));
  }
  const c = await run.connect(t);
  await c.write("SSH-2.0\r\n");
  console.log((await c.read()).ended, run.refusals);
});
test("stopAccepting closes idle inner", async (t) => {
  const run = await startIngress(t);
  const c = await run.connect(t);
  const s = await c.startTls({ ca: run.caPem, servername: "api.p.test" });
  await s.write("GET /x HTTP/1.1\r\nHost: api.p.test\r\n\r\n");
  await s.read((b) => b.includes("/x"), 1000);
  run.ingress.stopAccepting();
  console.log((await s.read(undefined, 1000)).ended);
});
function session(t: any, c: any, ca: string) {
  const tls = require("node:tls");
}
